/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Takes devices from the host: locks, plans, waits for users, and runs the plan. */

#include "take.h"

#include "conf/pve/reservation.h"
#include "conf/pve/vm_process.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/device/vfio_variant.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/loan/lock.h"
#include "kmod-helper/operation/binding.h"
#include "loan_life.h"
#include "make_room.h"
#include "operations.h"
#include "return.h"
#include "stop_step.h"
#include "story.h"
#include "vm_state.h"
#include "windows.h"
#include "wishes.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define GROUP_LOCK_MS 5000
#define HOME_AGAIN_MS 200
#define MAKE_ROOM_TIMES 3 /* after one holder was stopped, another one may use the card */

/* The loan of another owner that has the function, alternatives not counted; NULL: none. */
static const struct loan *find_foreign(
	const struct loans *loans, const struct loan_owner *owner, const char *address)
{
	const struct loan *found = NULL;

	for (size_t i = 0; i < loans->count; i++) {
		const struct loan *loan = &loans->items[i];
		const struct loan_function *function = loan_find(loan, address);

		if (!function || function->use == LOAN_ALTERNATIVE ||
			loan_owner_equal(&loan->owner, owner))
			continue;
		/* when a VM has borrowed a card that was lent by hand, the VM's loan counts */
		if (!found || loan->owner.kind == LOAN_OWNER_VM)
			found = loan;
	}
	return found;
}

static bool is_gone(struct context *context, const struct loan *loan)
{
	return loan->owner.kind == LOAN_OWNER_VM && !loan_is_busy(&context->kernel.root, loan) &&
		vm_is_gone(&context->kernel, loan->owner.vmid);
}

/* True when this card was reported already: one line for a card, not one for each function. @told:
 * the last address that was reported. */
static bool is_told(const char *told, const char *address)
{
	return told && pci_same_card(told, address);
}

static bool is_borrowable(const struct loan *foreign, const struct plan_function *function)
{
	return foreign->owner.kind == LOAN_OWNER_HAND && function->loan.use == LOAN_BORROWED;
}

static bool is_first_of_group(const struct plan *plan, const struct plan_function *function)
{
	const struct plan_function *first = plan->functions;

	while (first->now.iommu_group != function->now.iommu_group)
		first++;
	return first == function;
}

/* Blocks a card of a gone VM that somebody has open all the same: it cannot go straight over. */
static int block_open(struct context *context, const struct loan *from,
	const struct plan_function *function, struct plan *plan)
{
	cleanup(holders_done) struct holders holders = {0};
	char text[HOLDERS_TEXT_SIZE];

	if (!is_first_of_group(plan, function) ||
		holders_of_group(&context->kernel, function->now.iommu_group, &holders, NULL) < 0 ||
		!holders.count)
		return 0;
	holders_format(&holders, text, sizeof(text));
	return plan_block(plan, BLOCKER_HELD,
		"%s was lent to VM %u, which has ended, but its IOMMU group is still open: %s: "
		"end that first",
		function->now.address, from->owner.vmid, text);
}

/* The VM that has lent the function and makes room: it is shut down first; 0: none. */
static unsigned int find_yielding(struct context *context, const struct take_request *request,
	const struct loans *loans, const struct reservations *reservations, const char *address)
{
	const struct loan *foreign = find_foreign(loans, &request->owner, address);
	unsigned int own = request->owner.kind == LOAN_OWNER_VM ? request->owner.vmid : 0;
	unsigned int vmid = foreign && foreign->owner.kind == LOAN_OWNER_VM
		? foreign->owner.vmid
		: reservation_owner(
			  reservations, &context->kernel.root, address, own, time(NULL), NULL);

	return vmid && make_room_of_vm(&context->kernel.root, request->settings, vmid) ? vmid : 0;
}

static int block_reserved(struct context *context, const struct take_request *request,
	const struct loans *loans, const struct plan_function *function, const char **told,
	struct plan *plan)
{
	const char *address = function->now.address;
	const struct loan *foreign = find_foreign(loans, &request->owner, address);
	char name[32];

	if (is_told(*told, address) || function->loan.use == LOAN_ALTERNATIVE)
		return 0;
	if (!foreign || is_borrowable(foreign, function))
		return 0;
	if (is_gone(context, foreign))
		return block_open(context, foreign, function, plan);
	if (foreign->owner.kind == LOAN_OWNER_VM &&
		make_room_of_vm(&context->kernel.root, request->settings, foreign->owner.vmid))
		return 0;
	*told = address;
	loan_owner_format(&foreign->owner, name, sizeof(name));
	if (loan_life_is_returning(context, foreign)) {
		plan->is_returning = true;
		return plan_block(plan, BLOCKER_RESERVED,
			"%s was lent (%s) and is being returned: a start waits for that", address,
			name);
	}
	if (foreign->owner.kind == LOAN_OWNER_HAND)
		return plan_block(plan, BLOCKER_RESERVED,
			"%s is lent (%s, on %s) since %s: `gpu-ferry unbind` it first", address,
			name, function->now.driver, foreign->since);
	return plan_block(plan, BLOCKER_RESERVED,
		"%s is lent (%s, on %s) since %s: stop that VM first, or let a start stop it: "
		"make_room = ( { vm = %u; } ); in /" SETTINGS_PATH,
		address, name, function->now.driver, foreign->since, foreign->owner.vmid);
}

static int block_reservations(struct context *context, const struct take_request *request,
	const struct reservations *reservations, struct plan *plan)
{
	unsigned int own = request->owner.kind == LOAN_OWNER_VM ? request->owner.vmid : 0;
	const char *told = NULL;

	for (size_t i = 0; i < plan->function_count; i++) {
		const char *address = plan->functions[i].now.address;
		unsigned int vmid;

		if (plan->functions[i].loan.use == LOAN_ALTERNATIVE || is_told(told, address))
			continue;
		vmid = reservation_owner(
			reservations, &context->kernel.root, address, own, time(NULL), NULL);
		if (!vmid || make_room_of_vm(&context->kernel.root, request->settings, vmid))
			continue;
		told = address;
		if (plan_block(plan, BLOCKER_RESERVED,
			    "%s is reserved by VM %u "
			    "(/run/qemu-server/pci-id-reservations)",
			    address, vmid) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool is_on_target(const struct plan_function *function)
{
	return strcmp(function->now.driver, function->loan.target) == 0;
}

/* Records the drivers' device nodes now: a driver that does not let go hides them later. */
static void record_nodes(struct plan *plan, const struct nodes *nodes)
{
	for (size_t i = 0; i < plan->function_count; i++) {
		struct loan_function *function = &plan->functions[i].loan;

		if (*function->address && !is_on_target(&plan->functions[i]))
			nodes_format(
				nodes, function->address, function->nodes, sizeof(function->nodes));
	}
}

static int find_held(
	struct context *context, const struct loans *loans, struct plan *plan, struct error *error)
{
	auto_free const char **addresses = calloc(plan->function_count + 1, sizeof(*addresses));
	cleanup(nodes_done) struct nodes nodes = {0};
	size_t count = 0;
	int r;

	if (!addresses)
		return error_set_errno(error, -ENOMEM, "look for holders");
	/* functions that stay on their driver (static, borrowed, taken before) may be held by their
	 * own QEMU */
	for (size_t i = 0; i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];

		if (function->loan.use == LOAN_TAKEN && !is_on_target(function))
			addresses[count++] = function->now.address;
	}
	holders_done(&plan->holders);
	if (count == 0)
		return 0;
	r = holders_that_stay(
		&context->kernel, loans, addresses, count, &nodes, &plan->holders, error);
	if (r == 0)
		record_nodes(plan, &nodes);
	return r;
}

/* A module's use count does not say which card is used. `allow` may override it; it never overrides
 * a process that has the card open. */
static bool is_allowed(const void *data, const struct holder *holder)
{
	const struct settings *settings = data;

	for (size_t i = 0; holder->kind == HOLDER_KERNEL && i < settings->allow.count; i++) {
		if (pci_device_has(settings->allow.names[i], holder->address))
			return true;
	}
	return false;
}

/* Counts a VM that has a card and makes room among the holders. */
static int add_yielding(struct context *context, const struct take_request *request,
	const struct loans *loans, const struct reservations *reservations, struct plan *plan)
{
	const char *told = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const char *address = plan->functions[i].now.address;
		struct holder holder = {.kind = HOLDER_VM, .command = "kvm"};

		if (plan->functions[i].loan.use == LOAN_ALTERNATIVE)
			continue;
		holder.guest = find_yielding(context, request, loans, reservations, address);
		if (!holder.guest)
			continue;
		holder.pid = vm_process_find(&context->kernel.root, holder.guest);
		snprintf(holder.address, sizeof(holder.address), "%s", address);
		r = holders_add(&plan->holders, &holder);
		if (r == 0 && !is_told(told, address))
			r = plan_add_notice(plan, address,
				"VM %u has %s and is shut down first; the steps that move the card "
				"follow then",
				holder.guest, address);
		told = address;
	}
	return r;
}

static int add_held(struct context *context, const struct take_request *request,
	const struct loans *loans, const struct reservations *reservations, struct plan *plan,
	struct error *error)
{
	int r = find_held(context, loans, plan, error);

	if (r < 0)
		return r;
	holders_drop(&plan->holders, is_allowed, request->settings);
	binding_accept_counts(&context->kernel, &plan->holders, &plan->steps);
	r = add_yielding(context, request, loans, reservations, plan);
	if (r == 0)
		r = make_room_plan(request->settings, plan);
	return r < 0 ? error_set_errno(error, r, "plan the handover") : 0;
}

static bool has_blocker(const struct plan *plan, enum blocker_code code)
{
	for (size_t i = 0; i < plan->blocker_count; i++) {
		if (plan->blockers[i].code == code)
			return true;
	}
	return false;
}

static bool is_vm(const void *vmid, const struct holder *holder)
{
	return holder->kind == HOLDER_VM && holder->guest == *(const unsigned int *)vmid;
}

/* A card that was lent by hand may be in use by what it was lent for: then QEMU cannot open it. */
static int block_borrowed(struct context *context, const struct take_request *request,
	struct plan *plan, struct error *error)
{
	long last = PCI_NO_GROUP;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];
		cleanup(holders_done) struct holders holders = {0};
		char text[HOLDERS_TEXT_SIZE];

		if (function->loan.use != LOAN_BORROWED || function->now.iommu_group == last)
			continue;
		last = function->now.iommu_group;
		r = holders_of_group(&context->kernel, last, &holders, error);
		holders_drop(&holders, is_vm, &request->owner.vmid);
		if (r < 0 || !holders.count)
			continue;
		holders_format(&holders, text, sizeof(text));
		if (plan_block(plan, BLOCKER_HELD,
			    "%s is lent by hand and in use by %s: end that first",
			    function->now.address, text) < 0)
			r = error_set_errno(error, -ENOMEM, "plan the handover");
	}
	return r;
}

/* What to do about a blocker of the lower floor's, which knows no settings. */
static const struct {
	enum blocker_code code;
	const char *advice;
} advices[] = {
	{BLOCKER_NO_DEVICE, " (see `gpu-ferry list --all`)"},
	{BLOCKER_VFS, ": end that first, or give the VM a virtual function instead"},
	{BLOCKER_OVERDUE, "; `gpu-ferry status` shows who uses it and how to free it"},
	{BLOCKER_FOREIGN_MEMBER,
		"; take another slot, or another card; only where the host can do without them, "
		"name them in `allow` in /" SETTINGS_PATH},
	{BLOCKER_BOOT_DISPLAY, ", and boot_display = \"refuse\" is set"},
	{BLOCKER_HOST_USE, "; to give it to the VM anyway, name it in `allow` in /" SETTINGS_PATH},
	{BLOCKER_NO_ATTRIBUTE, ": take it out of `devices` in /" SETTINGS_PATH},
};

static void add_advice(struct blocker *blocker)
{
	size_t used = strlen(blocker->message);

	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		if (advices[i].code == blocker->code)
			snprintf(blocker->message + used, sizeof(blocker->message) - used, "%s",
				advices[i].advice);
	}
}

/* Who has a virtual function: "reserved by VM 105", or the processes; "" nobody. */
static int find_virtual_user(struct context *context, const struct reservations *reservations,
	const struct holders *holders, const char *address, char *ret, size_t size)
{
	cleanup(holders_done) struct holders own = {0};
	unsigned int vmid = reservation_owner(
		reservations, &context->kernel.root, address, 0, time(NULL), NULL);

	*ret = '\0';
	if (vmid)
		snprintf(ret, size, "reserved by VM %u", vmid);
	for (size_t i = 0; !vmid && i < holders->count; i++) {
		if (strcmp(holders->items[i].address, address) == 0 &&
			holders_add(&own, &holders->items[i]) < 0)
			return -ENOMEM;
	}
	if (own.count)
		holders_format(&own, ret, size);
	return 0;
}

/* Blocks a physical function one of whose virtual functions Proxmox has reserved for a VM that has
 * no loan, or a process uses. The plan has looked at loans and drivers already. */
static int block_used_virtual(struct context *context, const struct take_request *request,
	const struct loans *loans, const struct reservations *reservations,
	const struct plan_function *physical, struct plan *plan)
{
	auto_free const char **virtuals = calloc(request->host->count + 1, sizeof(*virtuals));
	cleanup(holders_done) struct holders holders = {0};
	size_t count = 0;
	int r;

	if (!virtuals)
		return -ENOMEM;
	for (size_t i = 0; i < request->host->count; i++) {
		if (strcmp(request->host->items[i].parent, physical->now.address) == 0)
			virtuals[count++] = request->host->items[i].address;
	}
	r = count ? holders_of_functions(
			    &context->kernel, loans, virtuals, count, NULL, &holders, NULL)
		  : 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		char user[HOLDERS_TEXT_SIZE];

		r = find_virtual_user(
			context, reservations, &holders, virtuals[i], user, sizeof(user));
		if (r < 0 || !*user)
			continue;
		r = plan_block(plan, BLOCKER_VFS,
			"%s cannot leave its driver, which would remove its virtual functions: %s "
			"(%s)",
			physical->now.address, virtuals[i], user);
		if (r == 0)
			add_advice(&plan->blockers[plan->blocker_count - 1]);
		return r;
	}
	return r;
}

static int block_virtual(struct context *context, const struct take_request *request,
	const struct loans *loans, const struct reservations *reservations, struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];

		if (function->loan.use == LOAN_TAKEN && !is_on_target(function) &&
			!has_blocker(plan, BLOCKER_VFS))
			r = block_used_virtual(
				context, request, loans, reservations, function, plan);
	}
	return r;
}

/* Blocks what Proxmox has reserved for other VMs, and physical functions whose virtual ones are in
 * use. */
static int block_by_others(struct context *context, const struct take_request *request,
	const struct loans *loans, const struct reservations *reservations, struct plan *plan,
	struct error *error)
{
	int r = block_reservations(context, request, reservations, plan);

	if (r < 0)
		return error_set_errno(error, r, "plan the handover");
	r = block_virtual(context, request, loans, reservations, plan);
	return r < 0 ? error_set_errno(error, r, "look for users of virtual functions") : 0;
}

/* A file of quirks that cannot be used stops no start. */
static int add_problems(const struct quirks *quirks, struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && quirks && i < quirks->problem_count; i++)
		r = plan_add_notice(
			plan, "", "not used as quirks: %s", quirks->problems[i].why.message);
	return r;
}

int take_plan(struct context *context, const struct take_request *request,
	const struct loans *loans, struct plan *plan, struct error *error)
{
	const struct wishes_source source = {.settings = request->settings,
		.quirks = request->quirks,
		.host = request->host,
		.loans = loans};
	cleanup(wishes_done) struct wishes wishes = {0};
	cleanup(reservations_done) struct reservations reservations = {0};
	struct plan_request plan_request = {
		.host = request->host,
		.wants = request->wants,
		.want_count = request->want_count,
		.allow = (const char *const *)request->settings->allow.names,
		.allow_count = request->settings->allow.count,
		.refuse_boot_display = request->settings->boot_display == BOOT_DISPLAY_REFUSE,
		.own = loans_find_owner(loans, &request->owner),
		.loans = loans,
	};
	/* those before are the caller's, and say what to do themselves */
	size_t first = plan->blocker_count;
	const char *told = NULL;
	int r = wishes_make(&context->kernel, &source, &wishes, error);

	if (r == 0)
		r = reservations_read(&context->kernel.root, &reservations, error);
	if (r < 0)
		return r;
	plan_request.attributes = (struct attribute_wishes){
		.items = wishes.attributes, .count = wishes.attribute_count};
	plan_request.quirks = wishes.quirks;
	plan_request.quirk_count = wishes.quirk_count;
	r = plan_make(&context->kernel, &plan_request, plan, error);
	if (r == 0 && add_problems(request->quirks, plan) < 0)
		r = error_set_errno(error, -ENOMEM, "plan the handover");
	for (size_t i = first; i < plan->blocker_count; i++)
		add_advice(&plan->blockers[i]);
	if (r == 0 && request->windows)
		r = windows_plan(context, request->settings->windows_blacklist, request->owner.vmid,
			plan, error);
	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		r = block_reserved(context, request, loans, &plan->functions[i], &told, plan);
		if (r < 0)
			error_set_errno(error, r, "plan the handover");
	}
	if (r == 0)
		r = block_by_others(context, request, loans, &reservations, plan, error);
	if (r == 0)
		r = add_held(context, request, loans, &reservations, plan, error);
	/* a VM that has it is told already */
	if (r == 0 && !has_blocker(plan, BLOCKER_RESERVED))
		r = block_borrowed(context, request, plan, error);
	if (r == 0 && drain_plan(&request->drained, plan) < 0)
		r = error_set_errno(error, -ENOMEM, "plan the handover");
	return r;
}

int take_refusal(const struct plan *plan, struct error *error)
{
	if (plan->blocker_count == 1)
		return error_set(error, -EBUSY, "%s", plan->blockers[0].message);
	return error_set(error, -EBUSY, "%s (and %zu more: gpu-ferry plan)",
		plan->blockers[0].message, plan->blocker_count - 1);
}

/* True for a virtual function whose physical one is asked for: nobody may take it meanwhile. */
static bool is_virtual_of_want(
	const struct take_request *request, const struct pci_function *function)
{
	for (size_t i = 0; *function->parent && i < request->want_count; i++) {
		if (strcmp(request->wants[i].address, function->parent) == 0)
			return true;
	}
	return false;
}

/* The groups of what is asked for. The caller frees it; NULL without memory. */
static long *find_groups(
	struct context *context, const struct take_request *request, size_t *ret_count)
{
	long *groups = calloc(request->want_count + request->host->count + 1, sizeof(*groups));
	size_t count = 0;

	if (!groups)
		return NULL;
	for (size_t i = 0; i < request->want_count; i++) {
		long group = pci_read_group(&context->kernel, request->wants[i].address);

		if (!request->wants[i].alternative && group != PCI_NO_GROUP)
			groups[count++] = group;
	}
	for (size_t i = 0; i < request->host->count; i++) {
		const struct pci_function *function = &request->host->items[i];

		if (is_virtual_of_want(request, function) && function->iommu_group != PCI_NO_GROUP)
			groups[count++] = function->iommu_group;
	}
	*ret_count = count;
	return groups;
}

static int lock_groups(struct context *context, const struct take_request *request,
	struct locks *ret, struct error *error)
{
	size_t count = 0;
	auto_free long *groups = find_groups(context, request, &count);

	return groups
		? locks_take_groups(&context->kernel.root, groups, count, GROUP_LOCK_MS, ret, error)
		: error_set_errno(error, -ENOMEM, "take the groups' locks");
}

/* Locks another owner's loan and reads it again. -EAGAIN when it is no longer the loan that the
 * plan was made with, because a return was under way. */
static int lock_lender(struct context *context, const struct loan *seen, int *ret_lock,
	struct loan *ret, struct error *error)
{
	int r;

	*ret_lock = loan_life_lock(context, &seen->owner, error);
	if (*ret_lock < 0)
		return *ret_lock;
	r = loan_read(&context->kernel.root, &seen->owner, ret, error);
	if (r == -ENOENT)
		return -EAGAIN;
	if (r == 0 &&
		(ret->state != seen->state || strcmp(ret->since, seen->since) != 0 ||
			ret->steps.count != seen->steps.count))
		return -EAGAIN;
	return r;
}

/* The entry for @function in a gone VM's loan; NULL when the function does not come from there. Our
 * loan may have it too: a process was killed after it had written one loan and before the other. */
static const struct loan_function *find_inherited(
	const struct kernel *kernel, const struct plan_function *function, const struct loan *from)
{
	const struct loan_function *found = loan_find(from, function->now.address);

	return found && found->use != LOAN_ALTERNATIVE && function->loan.use != LOAN_ALTERNATIVE &&
			loan_function_presence(kernel, found) == LOAN_PRESENT
		? found
		: NULL;
}

static bool has_inheritance(
	const struct kernel *kernel, const struct plan *plan, const struct loan *from)
{
	for (size_t i = 0; i < plan->function_count; i++) {
		if (find_inherited(kernel, &plan->functions[i], from))
			return true;
	}
	return false;
}

/* Moves whole groups to our loan. Ours is written first: if we are killed in between, nothing is
 * lost. */
static int inherit_from(struct context *context, const struct loan *seen, const struct plan *plan,
	struct loan *loan, struct error *error)
{
	cleanup(loan_done) struct loan from = {0};
	auto_close int lock = -1;
	int r = lock_lender(context, seen, &lock, &from, error);

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const char *address = plan->functions[i].now.address;
		const struct loan_function *function =
			find_inherited(&context->kernel, &plan->functions[i], &from);

		if (!function)
			continue;
		log_step(&context->log, LOG_INFO, address, NULL,
			"%s and its group are taken over directly from VM %u", address,
			from.owner.vmid);
		if (loan_move_group(&from, loan, function->iommu_group) < 0)
			r = error_set_errno(error, -ENOMEM, "take over %s", address);
	}
	/* we may have made room for that VM */
	if (loan->owner.kind == LOAN_OWNER_VM)
		stop_steps_forget_vm(&loan->steps, loan->owner.vmid);
	if (r == 0)
		r = loan_write(&context->kernel.root, loan, error);
	if (r < 0)
		return r;
	return from.function_count ? loan_write(&context->kernel.root, &from, error)
				   : loan_remove(&context->kernel.root, &from.owner, error);
}

/* Takes a card over directly from a gone VM that has not returned it: the owner changes, the home
 * drivers stay recorded. The plan has already checked that the VM is gone. */
static int inherit(struct context *context, const struct loans *loans, const struct plan *plan,
	struct loan *loan, struct error *error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < loans->count; i++) {
		const struct loan *from = &loans->items[i];

		if (from->owner.kind == LOAN_OWNER_VM &&
			!loan_owner_equal(&from->owner, &loan->owner) &&
			has_inheritance(&context->kernel, plan, from))
			r = inherit_from(context, from, plan, loan, error);
	}
	return r;
}

static bool is_wanted(
	const struct kernel *kernel, const struct plan *plan, const struct loan_function *function)
{
	if (loan_function_presence(kernel, function) != LOAN_PRESENT)
		return false;
	for (size_t i = 0; i < plan->function_count; i++) {
		if (strcmp(plan->functions[i].now.address, function->address) == 0)
			return plan->functions[i].loan.use != LOAN_ALTERNATIVE ||
				function->use == LOAN_ALTERNATIVE;
	}
	return false;
}

/* Returns what our earlier loan has and this start does not ask for any more. */
static int drop_unwanted(struct context *context, const struct executor *executor,
	const struct plan *plan, struct loan *loan, struct error *error)
{
	int first = 0;

	for (size_t i = loan->function_count; i-- > 0;) {
		char address[PCI_ADDRESS_SIZE];

		if (is_wanted(&context->kernel, plan, &loan->functions[i]))
			continue;
		strcpy(address, loan->functions[i].address);
		if (loan_function_presence(&context->kernel, &loan->functions[i]) == LOAN_PRESENT)
			log_step(&context->log, LOG_INFO, address, NULL,
				"%s is no longer used by the VM: it goes home", address);
		if (executor_undo(executor, loan, address, first ? NULL : error) < 0)
			first = -EIO;
		else
			loan_drop_function(loan, address);
	}
	return first;
}

/* Nothing but what sysfs shows is believed, neither a step that said yes nor the plan: whatever
 * else moves devices must not leave the VM with half a card. */
static int check_targets(struct context *context, const struct loan *loan, struct error *error)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];
		char now[PCI_DRIVER_SIZE];
		int r;

		if (function->use == LOAN_ALTERNATIVE)
			continue;
		r = pci_read_driver(&context->kernel, function->address, now, sizeof(now));
		if (r < 0)
			return error_set_errno(
				error, r, "read back the driver of %s", function->address);
		if (strcmp(now, function->target) != 0)
			return error_set(error, -EIO,
				"%s is on %s now, not on %s: another program moved it; try again",
				function->address, *now ? now : "no driver", function->target);
	}
	return 0;
}

static int run_plan(
	struct context *context, const struct plan *plan, struct loan *loan, struct error *error)
{
	struct executor executor = operations_executor(context);
	struct error later = {0};
	int r;

	executor.stop = &stop_requested;
	loan->state = LOAN_TAKING;
	loan->has_started = 0;
	r = drop_unwanted(context, &executor, plan, loan, error);
	if (r == 0)
		r = windows_drop(&executor, plan, loan, error);
	if (r == 0 && plan_record(plan, loan) < 0)
		r = error_set_errno(error, -ENOMEM, "record the loan");
	if (r == 0)
		r = executor_apply(&executor, loan, error);
	if (r == 0)
		r = check_targets(context, loan, error);
	if (r == 0) {
		loan->state = LOAN_LENT;
		r = loan_write(&context->kernel.root, loan, error);
	}
	if (r == 0)
		return 0;
	if (return_steps(context, loan, &later) < 0)
		log_write(&context->log, LOG_ERR, "still owed: %s", later.message);
	return r;
}

static void tell_notice(struct context *context, const struct plan_notice *notice)
{
	const char *address = *notice->address ? notice->address : NULL;

	log_step(&context->log, notice->is_warning ? LOG_WARNING : LOG_NOTICE, address, NULL,
		"%s: %s", notice->is_warning ? "WARNING" : "NOTICE", notice->message);
}

static void tell_notices(struct context *context, const struct plan *plan)
{
	for (size_t i = 0; i < plan->notice_count; i++)
		tell_notice(context, &plan->notices[i]);
}

/* The result of take_locked when the plan begins with steps that stop holders: these run first. */
#define MAKE_ROOM_FIRST 1

static int take_locked(struct context *context, const struct take_request *request,
	struct plan *plan, struct error *error)
{
	cleanup(pci_functions_done) struct pci_functions host = {0};
	cleanup(loans_done) struct loans loans = {0};
	cleanup(loan_done) struct loan loan = {0};
	struct take_request now = *request;
	int r = loans_read(&context->kernel.root, &loans, error);

	if (r == 0)
		r = loans_check(&loans, error);
	/* after the loans: a return that has removed its loan is seen in the scan */
	if (r == 0)
		r = pci_scan(&context->kernel, &host, error);
	now.host = &host;
	if (r == 0)
		r = take_plan(context, &now, &loans, plan, error);
	if (r == 0 && plan->blocker_count)
		r = take_refusal(plan, error);
	if (r < 0)
		return r;
	if (make_room_is_needed(plan))
		return MAKE_ROOM_FIRST;
	r = loan_life_begin(context, &request->owner, request->settings, &loan, error);
	if (r == 0)
		r = inherit(context, &loans, plan, &loan, error);
	if (r < 0)
		return r;
	tell_notices(context, plan);
	make_room_sort(&loan.steps);
	stop_steps_settle(&loan.steps);
	return run_plan(context, plan, &loan, error);
}

/* Puts the owner into the error: the loans say who has had a group's lock for so long, which is
 * better than the name of the lock. */
static void refuse_by_name(
	struct context *context, const struct take_request *request, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	cleanup(plan_done) struct plan plan = {0};

	if (loans_read(&context->kernel.root, &loans, NULL) == 0 &&
		take_plan(context, request, &loans, &plan, NULL) == 0 && plan.blocker_count)
		take_refusal(&plan, error);
}

/* Tries once to take the devices, with the groups locked. */
static int try_to_take(struct context *context, const struct take_request *request,
	struct plan *plan, struct error *error)
{
	cleanup(locks_done) struct locks groups = {0};
	int r = lock_groups(context, request, &groups, error);

	if (r == -EBUSY)
		refuse_by_name(context, request, error);
	if (r < 0)
		return r;
	r = take_locked(context, request, plan, error);
	if (r != -EAGAIN)
		return r;
	/* another process was returning a gone VM's card: that is over now */
	plan_done(plan);
	r = take_locked(context, request, plan, error);
	return r == -EAGAIN ? error_set(error, -EBUSY,
				      "the card is being returned by another process: try again")
			    : r;
}

/* For a taking that needs several tries: between them others have to end, to be stopped, or to
 * return what they had. */
struct patience {
	unsigned long long end, home_end;
	bool has_waited, has_waited_for_home;
	unsigned int room_count;
};

static bool may_wait(const struct take_request *request, const struct plan *plan, int r,
	const struct patience *patience)
{
	return r == -EBUSY && plan->is_held && plan->blocker_count == 1 &&
		request->settings->busy == BUSY_WAIT && clock_milliseconds() < patience->end;
}

static void wait_a_while(struct context *context, const struct take_request *request,
	const struct plan *plan, struct patience *patience)
{
	char text[HOLDERS_TEXT_SIZE];

	if (!patience->has_waited) {
		holders_format(&plan->holders, text, sizeof(text));
		log_write(&context->log, LOG_NOTICE,
			"the card is in use by %s: waiting up to %u s for that to end", text,
			request->settings->busy_wait_seconds);
	}
	patience->has_waited = true;
	make_room_wait(&plan->holders);
}

/* True while it makes sense to wait for another return: it ends, or becomes overdue, and then we do
 * not wait any more. */
static bool may_wait_for_home(const struct plan *plan, int r, const struct patience *patience)
{
	return r == -EBUSY && plan->is_returning && clock_milliseconds() < patience->home_end;
}

static void wait_for_home(
	struct context *context, const struct error *error, struct patience *patience)
{
	if (!patience->has_waited_for_home)
		log_write(&context->log, LOG_NOTICE, "%s", error->message);
	patience->has_waited_for_home = true;
	poll(NULL, 0, HOME_AGAIN_MS);
}

static int make_room(struct context *context, const struct take_request *request,
	const struct plan *plan, struct patience *patience, struct error *error)
{
	char text[HOLDERS_TEXT_SIZE];

	if (patience->room_count < MAKE_ROOM_TIMES) {
		int r = make_room_run(context, &request->owner, request->settings, plan, error);

		/* a failed one was undone already, so it does not count */
		patience->room_count += r == 0;
		return r;
	}
	holders_format(&plan->holders, text, sizeof(text));
	return error_set(error, -EBUSY,
		"%s was stopped and uses the card again: find out what starts it", text);
}

/* Anew when others were stopped: nvidia-persistenced keeps a persistence mode of its own. */
static void ask_drained(struct context *context, struct take_request *request)
{
	drain_cards_done(&request->drained);
	if (request->settings->nvidia_drain == NVIDIA_DRAIN_ON)
		drain_ask(context, request->wants, request->want_count, &request->drained);
}

/* Tries until it succeeds or must not wait any more. Between two tries only the owner's loan is
 * locked. */
static int take_patiently(struct context *context, struct take_request *request,
	struct patience *patience, struct error *error)
{
	ask_drained(context, request);
	for (;;) {
		cleanup(plan_done) struct plan plan = {0};
		int r = try_to_take(context, request, &plan, error);

		if (r == MAKE_ROOM_FIRST) {
			r = make_room(context, request, &plan, patience, error);
			if (r < 0)
				return r;
			ask_drained(context, request);
		} else if (may_wait(request, &plan, r, patience)) {
			wait_a_while(context, request, &plan, patience);
		} else if (may_wait_for_home(&plan, r, patience)) {
			wait_for_home(context, error, patience);
		} else {
			return r;
		}
		if (stop_requested)
			return error_set(error, -EINTR, "stopped by a signal");
	}
}

/* The longest time that a write into a slow driver may take. */
static unsigned int find_longest_ms(const struct take_request *request)
{
	unsigned int longest = request->settings->slow_write_deadline_seconds * 1000;

	for (size_t i = 0; request->quirks && !request->settings->slow_write_deadline_seconds &&
		i < request->quirks->count;
		i++) {
		if (request->quirks->items[i].deadline_ms > longest)
			longest = request->quirks->items[i].deadline_ms;
	}
	return longest;
}

/* Only a loaded module tells the name of its driver. This one takes a device only by its
 * driver_override, so that it can be loaded before all checks. What fails here, the plan says. */
static void load_variants(struct context *context, const struct take_request *request)
{
	const struct kernel *kernel = &context->kernel;
	char module[PCI_DRIVER_SIZE];

	for (size_t i = 0; i < request->want_count; i++) {
		if (!request->wants[i].keep || request->wants[i].alternative)
			continue;
		vfio_variant_find(kernel, request->wants[i].address, module, sizeof(module));
		if (strcmp(module, "vfio_pci") != 0)
			(void)kernel->ops->module_load(kernel->context, module, NULL);
	}
}

int take_run(struct context *context, const struct take_request *request, struct error *error)
{
	const struct settings *settings = request->settings;
	struct take_request mine = *request;
	unsigned long long now = clock_milliseconds();
	struct patience patience = {
		.end = now + settings->busy_wait_seconds * 1000ull,
		.home_end =
			now + find_longest_ms(request) + settings->write_deadline_seconds * 1000ull,
	};
	auto_close int lock = loan_life_lock(context, &request->owner, error);
	cleanup(locks_done) struct locks claimed = {0};
	cleanup(loan_done) struct loan loan = {0};
	size_t count = 0;
	auto_free long *groups = find_groups(context, request, &count);
	struct error later = {0};
	int r;

	if (groups)
		loan_life_claim(context, groups, count, &claimed);
	load_variants(context, request);
	r = lock < 0 ? lock : take_patiently(context, &mine, &patience, error);
	drain_cards_done(&mine.drained);
	if (r == 0)
		lock_unmark(lock);
	if (r == 0 && loan_read(&context->kernel.root, &request->owner, &loan, NULL) == 0)
		story_tell_lent(context, &loan, now);
	locks_done(&claimed);
	if (r < 0 && lock >= 0 && make_room_undo(context, &request->owner, &later) < 0)
		log_write(&context->log, LOG_ERR, "still owed: %s", later.message);
	return r;
}
