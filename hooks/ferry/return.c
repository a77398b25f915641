/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Gives a loan's devices back to the host. */

#include "return.h"
#include "loan_life.h"

#include "conf/pve/reservation.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/loan/lock.h"
#include "kmod-helper/operation/binding.h"
#include "kmod-helper/plan/plan.h"
#include "make_room.h"
#include "operations.h"
#include "stop_step.h"
#include "story.h"
#include "vm_state.h"
#include <errno.h>
#include <string.h>
#include <time.h>

/* True when the device that we moved was at its address at the last look: only then there is
 * something to do. */
static bool is_to_return(const struct loan_function *function)
{
	return function->use == LOAN_TAKEN && function->presence == LOAN_PRESENT;
}

/* True when no loan has the function and no other VM has reserved it. Its driver must be read
 * before: a VM that takes the function writes its loan first. */
static bool is_free(struct context *context, const struct loan *loan, const char *address)
{
	cleanup(reservations_done) struct reservations reservations = {0};
	cleanup(loans_done) struct loans loans = {0};
	struct error ignored;

	return loans_read(&context->kernel.root, &loans, &ignored) == 0 &&
		reservations_read(&context->kernel.root, &reservations, &ignored) == 0 &&
		!loans_find(&loans, address) &&
		!reservation_owner(&reservations, &context->kernel.root, address, loan->owner.vmid,
			time(NULL), NULL);
}

/* True when the function is nobody else's: an alternative that no loan has and no VM has reserved,
 * or one that we have taken and whose steps an earlier return has undone. */
static bool is_ours(
	struct context *context, const struct loan *loan, const struct loan_function *function)
{
	if (function->presence != LOAN_PRESENT)
		return false;
	if (function->use == LOAN_TAKEN)
		return !binding_has_step(&loan->steps, function->address);
	return function->use == LOAN_ALTERNATIVE &&
		strcmp(function->home_driver, function->target) != 0 &&
		is_free(context, loan, function->address);
}

/* Adopts what Proxmox bound to vfio-pci itself and left there: it has no steps yet. Where Proxmox
 * only tried, an id is left. */
static int claim_recorded(struct context *context, struct loan *loan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < loan->function_count; i++) {
		struct loan_function *function = &loan->functions[i];
		char now[PCI_DRIVER_SIZE];

		if (pci_read_driver(&context->kernel, function->address, now, sizeof(now)) < 0 ||
			!is_ours(context, loan, function))
			continue;
		r = strcmp(now, function->target) == 0
			? loan_life_adopt(context, loan, function)
			: binding_plan_id(&context->kernel, function->address, &loan->steps);
	}
	return r;
}

/* Is @now the device of @left, which came back at another address? It has no driver_override any
 * more: that went with the device. */
static bool is_same_device(
	struct context *context, const struct loan_function *left, const struct pci_function *now)
{
	char identity[PCI_IDENTITY_SIZE], override[PCI_DRIVER_SIZE];

	pci_read_identity(&context->kernel, now->address, identity);
	return *identity && strcmp(identity, left->identity) == 0 &&
		now->address[strlen(now->address) - 1] ==
		left->address[strlen(left->address) - 1] &&
		pci_read_override(&context->kernel, now->address, override, sizeof(override)) ==
		0 &&
		!*override;
}

/* Adopts a device that left and came back at another address, to vfio-pci: an id that Proxmox gave
 * that driver was still there. */
static int claim_moved(struct context *context, const struct pci_functions *host, struct loan *loan,
	const struct loan_function *left)
{
	for (size_t i = 0; i < host->count; i++) {
		struct loan_function anew = *left;
		const struct pci_function *now = &host->items[i];

		if (strcmp(now->driver, left->target) != 0 || loan_find(loan, now->address) ||
			!is_same_device(context, left, now) ||
			!is_free(context, loan, now->address))
			continue;
		log_step(&context->log, LOG_NOTICE, now->address, NULL,
			"%s came back as %s, on %s: it goes home from there", left->address,
			now->address, now->driver);
		strcpy(anew.address, now->address);
		anew.iommu_group = now->iommu_group;
		anew.presence = LOAN_PRESENT;
		anew.driver_override[0] = '\0';
		anew.record = NULL;
		return loan_add_function(loan, &anew) < 0
			? -ENOMEM
			: loan_life_adopt(
				  context, loan, &loan->functions[loan->function_count - 1]);
	}
	return 0;
}

static int claim_all_moved(struct context *context, struct loan *loan)
{
	cleanup(pci_functions_done) struct pci_functions host = {0};
	size_t count = loan->function_count;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct loan_function function = loan->functions[i];

		if (function.use != LOAN_TAKEN || is_to_return(&function) ||
			(!host.count && pci_scan(&context->kernel, &host, NULL) < 0))
			continue;
		r = claim_moved(context, &host, loan, &function);
	}
	return r;
}

/* Puts into the loan what belongs to it, but is not in it yet. */
static int claim_strays(struct context *context, struct loan *loan)
{
	int r = claim_recorded(context, loan);

	return r < 0 ? r : claim_all_moved(context, loan);
}

/* The group that a function has now: a device that left and came back may have another. */
static long group_now(struct context *context, const struct loan_function *function)
{
	return is_to_return(function) ? pci_read_group(&context->kernel, function->address)
				      : PCI_NO_GROUP;
}

static bool is_earlier(const long *groups, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (groups[i] == groups[index])
			return true;
	}
	return false;
}

static int await_groups(struct context *context, const struct loan *loan, struct error *error)
{
	auto_free long *groups = calloc(loan->function_count + 1, sizeof(*groups));
	unsigned long long end = clock_milliseconds() + loan->return_wait_ms;

	if (!groups)
		return error_set_errno(error, -ENOMEM, "wait for the users of the devices");
	for (size_t i = 0; i < loan->function_count; i++)
		groups[i] = group_now(context, &loan->functions[i]);
	for (size_t i = 0; i < loan->function_count; i++) {
		unsigned long long now = clock_milliseconds();
		int r;

		if (groups[i] == PCI_NO_GROUP || is_earlier(groups, i))
			continue;
		r = holders_await_group(&context->kernel, groups[i],
			now < end ? (unsigned int)(end - now) : 0, error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Refuses when a device is in use that `bind --driver` gave to one of the host's drivers. It is
 * used like any other device, for any length of time: so we do not wait, and change nothing. */
static int refuse_held(struct context *context, const struct loan *loan, struct error *error)
{
	auto_free const char **addresses = calloc(loan->function_count + 1, sizeof(*addresses));
	cleanup(holders_done) struct holders holders = {0};
	char now[PCI_DRIVER_SIZE], text[HOLDERS_TEXT_SIZE];
	size_t count = 0;
	int r;

	if (!addresses)
		return error_set_errno(error, -ENOMEM, "look for holders");
	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];

		if (is_to_return(function) && !pci_driver_is_vfio(function->target) &&
			pci_read_driver(&context->kernel, function->address, now, sizeof(now)) ==
				0 &&
			strcmp(now, function->target) == 0)
			addresses[count++] = function->address;
	}
	r = count
		? holders_that_stay(&context->kernel, NULL, addresses, count, NULL, &holders, error)
		: 0;
	holders_drop_kernel(&holders);
	if (r == 0 && !holders.count && *holders.unknown)
		return error_set(error, -EBUSY, "gpu-ferry %s", holders.unknown);
	if (r < 0 || !holders.count)
		return r;
	holders_format(&holders, text, sizeof(text));
	return error_set(error, -EBUSY, "it is in use by %s: end that first", text);
}

/* Warns about devices that came back but do not answer: a driver may bind even a device that fell
 * off the bus. */
static void tell_dead(struct context *context, const struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		const char *address = loan->functions[i].address;

		if (is_to_return(&loan->functions[i]) && !loan_find_stuck(loan, address) &&
			pci_is_dead(&context->kernel, address))
			log_step(&context->log, LOG_WARNING, address, NULL,
				"%s came back, but does not answer (its configuration space reads "
				"ff): it fell off the bus; power the host off and on",
				address);
	}
}

/* The number that NVIDIA's driver gives a card, in nodes_format's "nvidia0=195:0"; "" none. */
static void find_number(const char *nodes, char *ret, size_t size)
{
	const char *word = strstr(nodes, "nvidia");

	snprintf(ret, size, "%.*s", word ? (int)strcspn(word, "=") : 0, word ? word : "");
}

/* Each card gets the lowest number that is free: with another one away it may be that one's. */
static void tell_number(
	struct context *context, const struct loan_function *function, const char *nodes)
{
	char was[32], is[32];

	find_number(function->nodes, was, sizeof(was));
	find_number(nodes, is, sizeof(is));
	if (*was && *is && strcmp(was, is) != 0)
		log_step(&context->log, LOG_WARNING, function->address, NULL,
			"%s is /dev/%s now, and was /dev/%s before: what names that node "
			"(a container's dev0) means another card now, until the next reboot",
			function->address, is, was);
}

/* The function's own node of DRM among @nodes, "card0" or "renderD128"; NULL when it has none. */
static const char *find_drm(const char *nodes)
{
	const char *word = nodes;

	while (strncmp(word, "card", 4) != 0 && strncmp(word, "renderD", 7) != 0) {
		word = strchr(word, ' ');
		if (!word++)
			return NULL;
	}
	return word;
}

/* NVIDIA's nvidia_drm makes nodes only for the cards that the driver has when it is loaded. */
static void tell_drm(
	struct context *context, const struct loan_function *function, const char *nodes)
{
	const char *was = find_drm(function->nodes);
	const char *address = function->address;
	char now[PCI_DRIVER_SIZE];

	if (!was || find_drm(nodes) ||
		pci_read_driver(&context->kernel, address, now, sizeof(now)) < 0 || !*now ||
		strcmp(now, function->home_driver) != 0)
		return;
	log_step(&context->log, LOG_WARNING, address, NULL,
		"%s had /dev/dri/%.*s before, and has no such node now: %s", address,
		(int)strcspn(was, "="), was,
		strcmp(now, "nvidia") == 0
			? "nvidia_drm was loaded before the card came home; run `rmmod nvidia_drm; "
			  "modprobe nvidia_drm` when nothing uses it"
			: "see `dmesg`");
}

static void tell_nodes(struct context *context, const struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];
		const char *address = function->address;
		char text[NODES_TEXT_SIZE];
		cleanup(nodes_done) struct nodes nodes = {0};

		if (!*function->nodes || !is_to_return(function) ||
			loan_find_stuck(loan, address) ||
			nodes_collect(&context->kernel, &address, 1, &nodes) < 0)
			continue;
		nodes_format(&nodes, address, text, sizeof(text));
		tell_number(context, function, text);
		tell_drm(context, function, text);
	}
}

static int end_loan(struct context *context, const struct loan *loan, struct error *error)
{
	struct error why = {0};
	int r = loan_remove(&context->kernel.root, &loan->owner, &why);

	return r < 0
		? error_set(error, r,
			  "all devices of the loan are home, but its record stays: %s: make /run "
			  "writable, then run `gpu-ferry reconcile`",
			  why.message)
		: 0;
}

int return_steps(struct context *context, struct loan *loan, struct error *error)
{
	struct executor executor = operations_executor(context);
	unsigned long long begin = clock_milliseconds();
	struct error later = {0};
	int r;

	if (loan->state != LOAN_OVERDUE)
		loan->state = LOAN_RETURNING;
	executor.limit = stop_steps_count(&loan->steps);
	r = executor_undo(&executor, loan, NULL, error);
	loan_look(&context->kernel, loan);
	tell_dead(context, loan);
	tell_nodes(context, loan);
	if (r == 0)
		story_tell_home(context, loan, begin);
	if (r == 0 && loan->steps.count == 0)
		return end_loan(context, loan, error);
	/* what is home is nobody's any more: a VM that made room takes it when it is started */
	while (r == 0 && loan->function_count)
		loan_drop_function(loan, loan->functions[0].address);
	if (loan->state != LOAN_OVERDUE)
		loan->state = LOAN_OWED;
	if (loan_write(&context->kernel.root, loan, &later) < 0)
		log_write(&context->log, LOG_ERR, "%s", later.message);
	return r;
}

static void tell_static(struct context *context, const struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];

		if (function->presence != LOAN_PRESENT)
			continue;
		if (function->use == LOAN_STATIC)
			log_step(&context->log, LOG_INFO, function->address, NULL,
				"%s stays on %s, where it was before", function->address,
				function->target);
		else if (function->use == LOAN_BORROWED)
			log_step(&context->log, LOG_INFO, function->address, NULL,
				"%s stays on %s: it is lent by hand", function->address,
				function->target);
	}
}

/* Says of a card that is at home already why nothing is done to it. */
static void tell_home(struct context *context, const struct loan *loan)
{
	const char *told = NULL;

	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];
		const char *address = function->address;
		char now[PCI_DRIVER_SIZE];

		if (!is_to_return(function) || !*function->home_driver ||
			(told && pci_same_card(told, address)) ||
			pci_read_driver(&context->kernel, address, now, sizeof(now)) < 0 ||
			strcmp(now, function->home_driver) != 0)
			continue;
		told = address;
		log_step(&context->log, LOG_NOTICE, address, NULL,
			"%s is on %s already: it left the bus and came back, or another program "
			"bound it",
			address, now);
	}
}

/* Reads the loan again, now that it is locked: others may have changed it while we waited. */
static int return_locked(
	struct context *context, const struct loan_owner *owner, bool if_due, struct error *error)
{
	cleanup(loan_done) struct loan loan = {0};
	int r = loan_read(&context->kernel.root, owner, &loan, error);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = loan_life_settle(context, &loan, error);
	if (r < 0 || (if_due && !loan_life_is_due(context, &loan)))
		return r;
	r = loan_life_check_borrowers(context, &loan, error);
	if (r < 0)
		return r;
	loan_look(&context->kernel, &loan);
	if (claim_strays(context, &loan) < 0)
		return error_set_errno(error, -ENOMEM, "return the devices");
	tell_static(context, &loan);
	if (loan.state == LOAN_LENT)
		tell_home(context, &loan);
	return return_steps(context, &loan, error);
}

/* Waits for the users of the devices, with nothing locked. */
static int await_users(struct context *context, const struct loan_owner *owner, struct error *error)
{
	cleanup(loan_done) struct loan loan = {0};
	int r = loan_read(&context->kernel.root, owner, &loan, error);

	if (r == 0)
		r = loan_life_check_borrowers(context, &loan, error);
	if (r < 0)
		return r;
	loan_look(&context->kernel, &loan);
	r = claim_strays(context, &loan);
	if (r == 0)
		r = await_groups(context, &loan, error);
	if (r == 0)
		r = refuse_held(context, &loan, error);
	return r;
}

/* A return needs no disk: on a full or read-only one it does without a lock that nobody has made.
 */
static int allow_unlocked(struct context *context, int r, const struct error *error)
{
	if (!lock_cannot_be_made(r))
		return r;
	log_write(&context->log, LOG_WARNING,
		"%s; the devices are returned without it: no other gpu-ferry can take it now",
		error->message);
	return 0;
}

/* Locks the group of a loan by hand: a VM that starts looks at such a loan under its group's lock,
 * and then borrows from it. A VM's own loan is taken over under that VM's lock alone. */
static int lock_hand_group(struct context *context, const struct loan_owner *owner,
	struct locks *ret, struct error *error)
{
	return owner->kind == LOAN_OWNER_HAND
		? locks_take_groups(
			  &context->kernel.root, &owner->iommu_group, 1, LOAN_LOCK_MS, ret, error)
		: 0;
}

static int return_any(
	struct context *context, const struct loan_owner *owner, bool if_due, struct error *error)
{
	cleanup(locks_done) struct locks group = {0};
	auto_close int lock = -1;
	char name[32];
	int r = await_users(context, owner, error);

	loan_owner_format(owner, name, sizeof(name));
	if (r == -ENOENT)
		return 0;
	if (r == 0) {
		lock = loan_life_lock(context, owner, error);
		r = lock < 0 ? lock : lock_hand_group(context, owner, &group, error);
		r = allow_unlocked(context, r, error);
	}
	if (r == 0)
		r = return_locked(context, owner, if_due, error);
	/* with no group locked: a VM that is started takes its own */
	locks_done(&group);
	if (r == 0)
		r = make_room_undo(context, owner, error);
	/* store the time of the return: later it shows whether the VM ran just before a backup */
	if (r == 0)
		lock_mark(lock);
	return r < 0 ? error_wrap(error, r, "return the devices lent (%s)", name) : 0;
}

int return_loan(struct context *context, const struct loan_owner *owner, struct error *error)
{
	return return_any(context, owner, false, error);
}

int return_if_due(struct context *context, const struct loan_owner *owner, struct error *error)
{
	return return_any(context, owner, true, error);
}

int return_gone(struct context *context, const struct loan_owner *except, unsigned int *ret_count,
	struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	unsigned int count = 0;
	int first = loans_read(&context->kernel.root, &loans, error);

	if (first < 0)
		return first;
	for (size_t i = 0; i < loans.count; i++) {
		const struct loan *loan = &loans.items[i];
		struct error why = {0};
		int r;

		if ((except && loan_owner_equal(&loan->owner, except)) ||
			!loan_life_is_due(context, loan))
			continue;
		count++;
		r = return_if_due(context, &loan->owner, &why);
		if (r < 0 && first == 0) {
			first = r;
			*error = why;
		}
	}
	if (first == 0)
		first = loans_check(&loans, error);
	if (ret_count)
		*ret_count = count;
	return first;
}
