/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Plans a handover: whole groups, steps in order, and what prevents it. */

#include "plan.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/device/vfio_variant.h"
#include "kmod-helper/holder/host_use.h"
#include "kmod-helper/operation/binding.h"
#include "kmod-helper/operation/stack.h"
#include "kmod-helper/operation/unload.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char *const blocker_names[] = {
	[BLOCKER_NO_IOMMU] = "no_iommu",
	[BLOCKER_NO_DEVICE] = "no_device",
	[BLOCKER_IDENTITY] = "identity",
	[BLOCKER_FOREIGN_MEMBER] = "foreign_member",
	[BLOCKER_RESERVED] = "reserved",
	[BLOCKER_HELD] = "held",
	[BLOCKER_HOST_USE] = "held",
	[BLOCKER_BOOT_DISPLAY] = "boot_display",
	[BLOCKER_DEAD] = "dead",
	[BLOCKER_OVERDUE] = "overdue",
	[BLOCKER_NO_DRIVER] = "no_driver",
	[BLOCKER_CONFIG] = "config",
	[BLOCKER_NO_ATTRIBUTE] = "config",
	[BLOCKER_ROMFILE] = "config",
	[BLOCKER_IGNORED] = "ignored",
	[BLOCKER_BACKUP] = "backup",
	[BLOCKER_VFS] = "vfs",
	[BLOCKER_QUIRK] = "quirk",
};

const char *blocker_name(enum blocker_code code)
{
	return blocker_names[code];
}

int plan_block(struct plan *plan, enum blocker_code code, const char *format, ...)
{
	struct blocker *blocker = LIST_ADD(plan->blockers, plan->blocker_count);
	va_list arguments;

	if (!blocker)
		return -ENOMEM;
	blocker->code = code;
	va_start(arguments, format);
	vsnprintf(blocker->message, sizeof(blocker->message), format, arguments);
	va_end(arguments);
	return 0;
}

int plan_add_notice(struct plan *plan, const char *address, const char *format, ...)
{
	struct plan_notice *notice = LIST_ADD(plan->notices, plan->notice_count);
	va_list arguments;

	if (!notice)
		return -ENOMEM;
	snprintf(notice->address, sizeof(notice->address), "%s", address);
	va_start(arguments, format);
	vsnprintf(notice->message, sizeof(notice->message), format, arguments);
	va_end(arguments);
	return 0;
}

void plan_done(struct plan *plan)
{
	free(plan->functions);
	steps_done(&plan->steps);
	free(plan->blockers);
	free(plan->notices);
	holders_done(&plan->holders);
	*plan = (struct plan){0};
}

static const struct plan_want *find_want(const struct plan_request *request, const char *address)
{
	for (size_t i = 0; i < request->want_count; i++) {
		if (strcmp(request->wants[i].address, address) == 0)
			return &request->wants[i];
	}
	return NULL;
}

static bool is_allowed(const struct plan_request *request, const char *address)
{
	for (size_t i = 0; i < request->allow_count; i++) {
		if (pci_device_has(request->allow[i], address))
			return true;
	}
	return false;
}

/* Finds the want that brings along a function nobody asked for: one in the same group. A want that
 * is no alternative comes first. */
static const struct plan_want *find_group_want(
	const struct plan_request *request, const struct pci_function *function, bool same_card)
{
	const struct plan_want *found = NULL;

	for (size_t i = 0; i < request->want_count; i++) {
		const struct plan_want *want = &request->wants[i];
		const struct pci_function *wanted;

		if (same_card && !pci_same_card(want->address, function->address))
			continue;
		wanted = pci_find(request->host, want->address);
		if (!wanted || wanted->iommu_group != function->iommu_group)
			continue;
		if (!want->alternative)
			return want;
		found = found ? found : want;
	}
	return found;
}

static bool is_hand_lent(const struct plan_request *request, const char *address)
{
	const struct loan *loan = request->loans ? loans_find(request->loans, address) : NULL;

	return loan && loan->owner.kind == LOAN_OWNER_HAND &&
		!(request->own && loan_owner_equal(&loan->owner, &request->own->owner));
}

/* The loan's record of a function; not that of another device which had its address before. */
static const struct loan_function *find_record(
	const struct kernel *kernel, const struct loan *loan, const char *address)
{
	const struct loan_function *found = loan_find(loan, address);

	return found && loan_function_presence(kernel, found) != LOAN_REPLACED ? found : NULL;
}

/* Finds the record of the function in the loans: the owner's own if it took the function, else that
 * of another loan that took it, else any other, such as an alternative recorded while it was still
 * at home. */
static const struct loan_function *find_known(const struct kernel *kernel,
	const struct plan_request *request, const struct pci_function *now, const char *target)
{
	const struct loan_function *found =
		request->own ? find_record(kernel, request->own, now->address) : NULL;

	if (found && found->use == LOAN_TAKEN)
		return found;
	for (size_t i = 0; request->loans && i < request->loans->count; i++) {
		const struct loan_function *other =
			find_record(kernel, &request->loans->items[i], now->address);

		if (other && other->use == LOAN_TAKEN)
			return other;
		found = found ? found : other;
	}
	/* bound to a driver of the host it is at home, whatever was recorded once */
	return !*now->driver || strcmp(now->driver, target) == 0 ? found : NULL;
}

/* True when vfio-pci has the function although neither a loan nor the boot set-up gave it that:
 * Proxmox's new_id did, and nobody has returned it. driverctl's rules are seen as an override,
 * which Proxmox never sets. */
static bool is_stray(const struct kernel *kernel, const struct loan_function *function)
{
	return strcmp(function->home_driver, "vfio-pci") == 0 &&
		strcmp(function->target, "vfio-pci") == 0 && !*function->driver_override &&
		!binding_id_is_from_boot(kernel, function->address);
}

/* Finds where the function goes home to: what the loans say, else what is there now; for one that
 * strayed to vfio-pci the driver that the host would choose. */
static int find_home(const struct kernel *kernel, const struct plan_request *request,
	const struct pci_function *now, struct loan_function *ret)
{
	const struct loan_function *known = find_known(kernel, request, now, ret->target);
	char target[PCI_DRIVER_SIZE];
	int r;

	if (known) {
		memcpy(target, ret->target, sizeof(target));
		*ret = *known;
		ret->record = NULL;
		memcpy(ret->target, target, sizeof(ret->target));
		return 0;
	}
	snprintf(ret->address, sizeof(ret->address), "%s", now->address);
	/* read again: in the scan a link that could not be read looks like no driver, and then it
	 * would have no home driver for good */
	r = pci_read_driver(kernel, now->address, ret->home_driver, sizeof(ret->home_driver));
	if (r < 0)
		return r;
	ret->iommu_group = now->iommu_group;
	pci_read_identity(kernel, now->address, ret->identity);
	ret->boot_display = now->boot_display;
	r = pci_read_override(
		kernel, now->address, ret->driver_override, sizeof(ret->driver_override));
	if (r == 0 && is_stray(kernel, ret))
		r = pci_find_own_driver(
			kernel, now->address, ret->home_driver, sizeof(ret->home_driver));
	if (r == 0 && *ret->home_driver &&
		pci_driver_module(
			kernel, ret->home_driver, ret->home_module, sizeof(ret->home_module)) < 0)
		ret->home_module[0] = '\0';
	return r;
}

static enum loan_use find_use(const struct plan_request *request, const struct plan_want *want,
	const struct plan_function *function)
{
	if (want->alternative)
		return LOAN_ALTERNATIVE;
	/* lent by hand to another driver it is no use to a VM: the caller refuses that */
	if (is_hand_lent(request, function->now.address) &&
		strcmp(function->now.driver, function->loan.target) == 0)
		return LOAN_BORROWED;
	/* on its target before we came: it was set up like that at boot */
	if (strcmp(function->loan.home_driver, function->loan.target) == 0)
		return LOAN_STATIC;
	return LOAN_TAKEN;
}

static bool is_overdue(const struct plan_request *request, const char *address)
{
	for (size_t i = 0; request->loans && i < request->loans->count; i++) {
		if (loan_find_stuck(&request->loans->items[i], address))
			return true;
	}
	return false;
}

static bool is_on_target(const struct plan_function *function)
{
	return strcmp(function->now.driver, function->loan.target) == 0;
}

/* True when the plan moves the function. One without an address is overdue, and nothing of it was
 * read. */
static bool is_moved(const struct plan_function *function)
{
	return *function->loan.address && function->loan.use == LOAN_TAKEN && !function->adopted &&
		!is_on_target(function);
}

/* Why the modules on top of the function's driver must be unloaded first; NULL: they need not. */
static const struct plan_quirk *find_unload(
	const struct plan_request *request, const struct plan_function *function)
{
	for (size_t i = 0; is_moved(function) && i < request->quirk_count; i++) {
		const struct plan_quirk *quirk = &request->quirks[i];

		if (quirk->unload && strcmp(quirk->address, function->now.address) == 0)
			return quirk;
	}
	return NULL;
}

static bool is_in_steps(const struct plan_request *request, const char *address)
{
	if (request->own && binding_has_step(&request->own->steps, address))
		return true;
	for (size_t i = 0; request->loans && i < request->loans->count; i++) {
		if (binding_has_step(&request->loans->items[i].steps, address))
			return true;
	}
	return false;
}

/* True when it is on its target, away from home, and in no loan's steps: Proxmox bound it, for a
 * start that failed, without us, or while we returned it. */
static bool is_left_behind(const struct plan_request *request, const struct plan_function *function)
{
	return function->loan.use == LOAN_TAKEN && is_on_target(function) &&
		!is_in_steps(request, function->now.address);
}

/* Blocks a function that its owner has already moved to another driver: two targets cannot be
 * recorded, or undone. */
static int block_other_target(const struct kernel *kernel, const struct plan_request *request,
	const struct plan_function *function, struct plan *plan)
{
	const struct loan_function *own =
		request->own ? find_record(kernel, request->own, function->now.address) : NULL;

	if (!own || own->use != LOAN_TAKEN || strcmp(own->target, function->loan.target) == 0)
		return 0;
	return plan_block(plan, BLOCKER_RESERVED,
		"%s is lent already, to the driver %s: unbind it first", function->now.address,
		own->target);
}

/* With driver=keep Proxmox opens the device on whatever VFIO driver it has: that is the one made
 * for it. Without, Proxmox would take it off any other than vfio-pci. */
static void find_target(const struct kernel *kernel, const struct plan_want *want,
	const struct pci_function *now, char *ret, size_t size)
{
	char module[PCI_DRIVER_SIZE];

	if (!want->keep) {
		snprintf(ret, size, "%s", want->target);
	} else if (pci_driver_is_vfio(now->driver)) {
		snprintf(ret, size, "%s", now->driver);
	} else {
		vfio_variant_find(kernel, now->address, module, sizeof(module));
		vfio_variant_driver(kernel, module, ret, size);
	}
}

/* Records the longest deadline that a quirk gives the function, and whether its driver waits for
 * ever. */
static void record_quirks(const struct plan_request *request, struct loan_function *function)
{
	for (size_t i = 0; i < request->quirk_count; i++) {
		const struct plan_quirk *quirk = &request->quirks[i];

		if (strcmp(quirk->address, function->address) != 0)
			continue;
		if (quirk->deadline_ms > function->slow_deadline_ms)
			function->slow_deadline_ms = quirk->deadline_ms;
		function->waits_forever |= quirk->waits_forever;
	}
}

static int add_function(const struct kernel *kernel, const struct plan_request *request,
	const struct pci_function *now, const struct plan_want *want, struct plan *plan)
{
	struct plan_function *function = LIST_ADD(plan->functions, plan->function_count);

	if (!function)
		return -ENOMEM;
	function->now = *now;
	find_target(kernel, want, now, function->loan.target, sizeof(function->loan.target));
	if (is_overdue(request, now->address))
		return plan_block(plan, BLOCKER_OVERDUE,
			"%s: a write to its driver has not finished", now->address);
	if (find_home(kernel, request, now, &function->loan) < 0)
		return plan_block(plan, BLOCKER_DEAD,
			"%s: its driver and driver_override cannot be read", now->address);
	record_quirks(request, &function->loan);
	function->loan.use = find_use(request, want, function);
	function->adopted = is_left_behind(request, function);
	return block_other_target(kernel, request, function, plan);
}

/* The want that would bring along a function that is no part of its card; NULL: @function is no
 * such stranger, or `allow` permits it. */
static const struct plan_want *find_stranger_want(
	const struct plan_request *request, const struct pci_function *function)
{
	const struct plan_want *want;

	if (function->bridge || function->iommu_group == PCI_NO_GROUP ||
		find_want(request, function->address) || find_group_want(request, function, true) ||
		is_allowed(request, function->address) || pci_driver_is_vfio(function->driver))
		return NULL;
	want = find_group_want(request, function, false);
	return want && !want->alternative ? want : NULL;
}

/* Adds a stranger, and what the host would lose with it. */
static void add_stranger(
	const struct kernel *kernel, const struct pci_function *stranger, char *buffer, size_t size)
{
	size_t used = strlen(buffer);
	char use[256];
	bool in_use = host_use_find(kernel, stranger->address, use, sizeof(use));

	snprintf(buffer + used, size - used, "%s%s (class %04x, %s%s%s)", used ? ", " : "",
		stranger->address, stranger->class_code,
		*stranger->driver ? stranger->driver : "no driver", in_use ? "; " : "",
		in_use ? use : "");
}

/* Blocks each group with strangers once, and names all of them. */
static int block_strangers(
	const struct kernel *kernel, const struct plan_request *request, struct plan *plan)
{
	long told = PCI_NO_GROUP;
	int r = 0;

	for (size_t i = 0; r == 0 && i < request->want_count; i++) {
		const struct pci_function *wanted =
			pci_find(request->host, request->wants[i].address);
		char strangers[ERROR_MESSAGE_SIZE / 2] = "";

		if (!wanted || wanted->iommu_group == told)
			continue;
		told = wanted->iommu_group;
		for (size_t n = 0; n < request->host->count; n++) {
			const struct pci_function *member = &request->host->items[n];

			if (member->iommu_group == told && find_stranger_want(request, member))
				add_stranger(kernel, member, strangers, sizeof(strangers));
		}
		if (*strangers)
			r = plan_block(plan, BLOCKER_FOREIGN_MEMBER,
				"IOMMU group %ld of %s also has devices that are not part of that "
				"card and would go to the VM too: %s",
				told, wanted->address, strangers);
	}
	return r;
}

/* Adds every member of the groups asked for, as Proxmox takes them: all but those with a bus behind
 * them. */
static int add_members(
	const struct kernel *kernel, const struct plan_request *request, struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < request->host->count; i++) {
		const struct pci_function *now = &request->host->items[i];
		const struct plan_want *want = find_want(request, now->address);

		/* an alternative in the group of the chosen device is taken along */
		if (want && want->alternative && now->iommu_group != PCI_NO_GROUP)
			want = find_group_want(request, now, false);
		if (!want && !now->bridge && now->iommu_group != PCI_NO_GROUP) {
			want = find_group_want(request, now, true);
			if (!want)
				want = find_group_want(request, now, false);
			if (find_stranger_want(request, now))
				continue;
		}
		if (want)
			r = add_function(kernel, request, now, want, plan);
	}
	return r;
}

/* Says who uses a virtual function; false: nobody, as far as loans, wants, drivers and sysfs show.
 */
static bool find_virtual_user(const struct kernel *kernel, const struct plan_request *request,
	const struct pci_function *function, char *ret, size_t size)
{
	const struct loan *loan =
		request->loans ? loans_find_user(request->loans, function->address) : NULL;

	if (loan)
		loan_owner_format(&loan->owner, ret, size);
	else if (find_want(request, function->address))
		snprintf(ret, size, "asked for together with it");
	else if (pci_driver_is_vfio(function->driver))
		snprintf(ret, size, "on %s", function->driver);
	else
		return host_use_find(kernel, function->address, ret, size);
	return true;
}

/* The driver of a physical function removes all its virtual ones when it is unbound
 * (pci_disable_sriov()), under a VM that runs, too. */
static int check_virtual_functions(const struct kernel *kernel, const struct plan_request *request,
	const struct pci_function *now, struct plan *plan)
{
	size_t count = pci_count_virtual(request->host, now);
	char users[ERROR_MESSAGE_SIZE / 2] = "", user[256];

	for (size_t i = 0; count && i < request->host->count; i++) {
		const struct pci_function *function = &request->host->items[i];
		size_t used = strlen(users);

		if (strcmp(function->parent, now->address) == 0 &&
			find_virtual_user(kernel, request, function, user, sizeof(user)))
			snprintf(users + used, sizeof(users) - used, "%s%s (%s)", used ? ", " : "",
				function->address, user);
	}
	if (*users)
		return plan_block(plan, BLOCKER_VFS,
			"%s cannot leave its driver, which would remove its virtual functions: %s",
			now->address, users);
	if (count)
		return plan_add_notice(plan, now->address,
			"%s has %zu virtual %s that nobody uses: removed while it is lent, made again when it "
			"returns",
			now->address, count, count == 1 ? "function" : "functions");
	return 0;
}

void plan_quirk_format(const struct plan_quirk *quirk, const char *text, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s: %s%s%s (%s, %s)", quirk->address, text,
		quirk->fix ? "; fix: " : "", quirk->fix ? quirk->fix : "", quirk->name,
		quirk->source);
}

static int check_quirks(
	const struct plan_request *request, const struct pci_function *now, struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < request->quirk_count; i++) {
		const struct plan_quirk *quirk = &request->quirks[i];
		const char *note = quirk->warning ? quirk->warning : quirk->notice;
		char text[ERROR_MESSAGE_SIZE];

		if (strcmp(quirk->address, now->address) != 0)
			continue;
		if (note) {
			plan_quirk_format(quirk, note, text, sizeof(text));
			r = plan_add_notice(plan, now->address, "%s", text);
		}
		if (r == 0 && quirk->warning)
			plan->notices[plan->notice_count - 1].is_warning = true;
		if (r == 0 && quirk->blocker) {
			plan_quirk_format(quirk, quirk->blocker, text, sizeof(text));
			r = plan_block(plan, BLOCKER_QUIRK, "%s", text);
		}
	}
	return r;
}

/* Once: without an IOMMU no function has a group. */
static int block_no_group(const struct pci_function *function, struct plan *plan)
{
	for (size_t i = 0; i < plan->blocker_count; i++) {
		if (plan->blockers[i].code == BLOCKER_NO_IOMMU)
			return 0;
	}
	return plan_block(plan, BLOCKER_NO_IOMMU,
		"%s has no IOMMU group: switch the IOMMU on in the firmware (Intel VT-d, AMD "
		"IOMMU) and, on Intel with a kernel before 6.8, with intel_iommu=on",
		function->address);
}

static int check_function(const struct kernel *kernel, const struct plan_request *request,
	const struct plan_function *function, struct plan *plan)
{
	const struct pci_function *now = &function->now;
	const struct attribute_wish *missing;
	char text[256];
	int r;

	if (function->loan.use == LOAN_ALTERNATIVE)
		return 0;
	if (now->bridge)
		return plan_block(plan, BLOCKER_CONFIG,
			"%s is a PCI bridge: vfio-pci does not "
			"accept bridges",
			now->address);
	if (now->iommu_group == PCI_NO_GROUP)
		return block_no_group(now, plan);
	/* a function whose driver is stuck is not touched; one that is already on its target may
	 * sleep */
	if (is_overdue(request, now->address) || function->loan.use != LOAN_TAKEN ||
		strcmp(now->driver, function->loan.target) == 0)
		return 0;
	if (request->refuse_boot_display && now->boot_display)
		return plan_block(plan, BLOCKER_BOOT_DISPLAY,
			"%s is the display that this host booted with", now->address);
	if (host_use_find_claimed(kernel, now->address, text, sizeof(text))) {
		r = is_allowed(request, now->address)
			? plan_add_notice(plan, now->address,
				  "%s goes to the VM, as `allow` says, and the host loses it: %s",
				  now->address, text)
			: plan_block(plan, BLOCKER_HOST_USE, "%s is in use by the host: %s",
				  now->address, text);

		if (r < 0 || !is_allowed(request, now->address))
			return r;
	}
	if (pci_is_dead(kernel, now->address))
		return plan_block(plan, BLOCKER_DEAD,
			"%s does not answer (its configuration space reads ff): it fell off the bus; "
			"power the host off and on",
			now->address);
	missing = attribute_find_missing(kernel, now->address, &request->attributes);
	if (missing)
		return plan_block(plan, BLOCKER_NO_ATTRIBUTE,
			"asked to set %s of %s, which the device does not have", missing->name,
			now->address);
	r = check_quirks(request, now, plan);
	return r < 0 ? r : check_virtual_functions(kernel, request, now, plan);
}

static int check_wants(const struct plan_request *request, struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < request->want_count; i++) {
		if (!pci_find(request->host, request->wants[i].address))
			r = plan_block(plan, BLOCKER_NO_DEVICE, "%s is not there",
				request->wants[i].address);
	}
	return r;
}

static int check_driver(const struct kernel *kernel, const char *driver, struct plan *plan)
{
	struct error error = {0};

	if (pci_driver_exists(kernel, driver))
		return 0;
	if (kernel->ops->module_check(kernel->context, driver, &error) < 0)
		return plan_block(plan, BLOCKER_NO_DRIVER, "the driver %s is not available: %s",
			driver, error.message);
	return 0;
}

int plan_adopt(
	const struct kernel *kernel, const struct loan_function *function, struct steps *steps)
{
	int r = binding_plan_steps(function, STEP_DONE, steps);

	/* the last step, so the first one undone: the id must not bind the function again */
	return r < 0 ? r : binding_plan_id(kernel, function->address, steps);
}

/* Finds the loan that knows what the function was like at home: the owner's own, else that of a
 * gone VM whose return is unfinished. */
static const struct loan *find_standing(
	const struct kernel *kernel, const struct plan_request *request, const char *address)
{
	const struct loan_function *own =
		request->own ? find_record(kernel, request->own, address) : NULL;

	if (own && own->use == LOAN_TAKEN)
		return request->own;
	for (size_t i = 0; request->loans && i < request->loans->count; i++) {
		const struct loan *loan = &request->loans->items[i];
		const struct loan_function *function = find_record(kernel, loan, address);

		if (function && function->use == LOAN_TAKEN)
			return loan;
	}
	return own ? request->own : NULL;
}

/* Adds a function's steps, and around them those for its power, reset and console. */
static int plan_one(const struct kernel *kernel, const struct plan_request *request,
	const struct plan_function *function, struct steps *steps)
{
	const char *address = function->loan.address;
	int r = attribute_plan_before(kernel, address, &request->attributes,
		find_standing(kernel, request, address), steps);

	if (r == 0)
		r = console_plan_framebuffer(&function->console, address, steps);
	if (r == 0)
		r = binding_plan_steps(&function->loan, STEP_PLANNED, steps);
	if (r == 0)
		r = attribute_plan_after(address, &request->attributes, steps);
	return r == 0 ? console_plan_show(&function->console, address, steps) : r;
}

/* The displays from the last to the first: the return goes backwards, and a driver gives each the
 * lowest number that is free (/dev/nvidia0, /dev/dri/card0), as at boot. */
static int plan_function_steps(const struct kernel *kernel, const struct plan_request *request,
	struct plan *plan, bool displays)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const struct plan_function *function =
			&plan->functions[displays ? plan->function_count - 1 - i : i];

		if (pci_is_display(&function->now) != displays)
			continue;
		if (function->adopted)
			r = plan_adopt(kernel, &function->loan, &plan->steps);
		else if (is_moved(function))
			r = plan_one(kernel, request, function, &plan->steps);
	}
	return r;
}

static bool is_planned(const struct plan *plan, const char *address)
{
	for (size_t i = 0; i < plan->function_count; i++) {
		if (plan->functions[i].loan.use != LOAN_ALTERNATIVE &&
			strcmp(plan->functions[i].now.address, address) == 0)
			return true;
	}
	return false;
}

/* A virtual function has no screen. */
static bool leaves_no_display(const struct plan_request *request, const struct plan *plan)
{
	for (size_t i = 0; i < request->host->count; i++) {
		const struct pci_function *function = &request->host->items[i];

		if (pci_is_display(function) && !*function->parent &&
			!pci_driver_is_vfio(function->driver) &&
			!is_planned(plan, function->address))
			return false;
	}
	return true;
}

/* Adds notices about the screen that the host loses. */
static int add_display_notices(
	const struct plan_request *request, struct plan *plan, const struct plan_function *function)
{
	const char *address = function->now.address;
	bool last = !*function->now.parent && leaves_no_display(request, plan);
	int r = 0;

	if (function->now.boot_display)
		r = plan_add_notice(plan, address,
			"%s is the display that this host booted with%s: while it is lent the "
			"host's console is not visible there",
			address, last ? ", and its only one" : "");
	else if (last)
		r = plan_add_notice(plan, address,
			"%s is the last display that this host has: while it is lent its console "
			"is not visible",
			address);
	if (r == 0 && function->console.framebuffer_ends)
		r = plan_add_notice(plan, address,
			"%s shows the firmware's console (%s), which ends with the loan: it comes back "
			"at the host's next boot, or with a driver that has its own console",
			address, function->console.framebuffer);
	return r;
}

/* Says which functions of a display's card stay with the host because nobody asked for them and
 * they have groups of their own: a reset of the card resets them too. */
static int add_rest_notice(
	const struct plan_request *request, struct plan *plan, const struct pci_function *display)
{
	char rest[512] = "";

	for (size_t i = 0; i < request->host->count; i++) {
		const struct pci_function *function = &request->host->items[i];
		size_t used = strlen(rest);

		if (*function->parent || !pci_same_card(function->address, display->address) ||
			is_planned(plan, function->address))
			continue;
		snprintf(rest + used, sizeof(rest) - used, "%s%s (%s)", used ? ", " : "",
			function->address, *function->driver ? function->driver : "no driver");
	}
	if (!*rest || *display->parent || display->iommu_group == PCI_NO_GROUP)
		return 0;
	return plan_add_notice(plan, display->address,
		"the rest of the card stays with the host, so the VM cannot reset the card as a "
		"whole: %s; ask for %.*s to give the VM the whole card",
		rest, (int)strcspn(display->address, "."), display->address);
}

/* Finds how the host's console uses the displays that are about to be moved, and adds the steps for
 * it that come before all others. */
static int plan_console(
	const struct kernel *kernel, const struct plan_request *request, struct plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		struct plan_function *function = &plan->functions[i];
		struct console_options options;

		if (!is_moved(function) || !pci_is_display(&function->now))
			continue;
		options = (struct console_options){.target = function->loan.target,
			.is_unloaded = find_unload(request, function),
			.standing = find_standing(kernel, request, function->now.address)};
		console_find_use(kernel, &function->now, &options, &function->console);
		r = add_display_notices(request, plan, function);
		if (r == 0)
			r = add_rest_notice(request, plan, &function->now);
		if (r == 0)
			r = console_plan_blank(
				&function->console, function->now.address, &plan->steps);
	}
	return r;
}

/* Adds the loading of drivers, which comes first: usually vfio-pci alone, or none. */
static int plan_loads(const struct kernel *kernel, struct plan *plan)
{
	const char *last = "";
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];
		const char *target = function->loan.target;

		if (function->loan.use != LOAN_TAKEN || is_on_target(function) ||
			strcmp(target, last) == 0)
			continue;
		last = target;
		r = check_driver(kernel, target, plan);
		if (r == 0 && !pci_driver_exists(kernel, target))
			r = binding_plan_load(target, &plan->steps);
	}
	return r;
}

static int plan_stack(const struct kernel *kernel, const struct plan_request *request,
	const struct plan_quirk *quirk, const char *driver, struct plan *plan)
{
	struct stack stack = {.driver = driver,
		.version = quirk->driver_version,
		.why = quirk->unload,
		.fix = quirk->fix};
	struct error why = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];

		if (strcmp(function->now.driver, driver) == 0 && find_unload(request, function))
			r = names_add(&stack.leaving, function->now.address);
	}
	if (r == 0)
		r = stack_plan(kernel, &stack, &plan->steps, &why);
	names_done(&stack.leaving);
	return r == -EBUSY ? plan_block(plan, BLOCKER_HELD, "%s", why.message) : r;
}

static int plan_stacks(
	const struct kernel *kernel, const struct plan_request *request, struct plan *plan)
{
	cleanup(names_done) struct names planned = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];
		const struct plan_quirk *quirk = find_unload(request, function);

		if (!quirk || names_have(&planned, function->now.driver))
			continue;
		r = names_add(&planned, function->now.driver);
		if (r == 0)
			r = plan_stack(kernel, request, quirk, function->now.driver, plan);
	}
	return r;
}

int plan_make(const struct kernel *kernel, const struct plan_request *request, struct plan *plan,
	struct error *error)
{
	int r = check_wants(request, plan);

	if (r == 0)
		r = block_strangers(kernel, request, plan);
	if (r == 0)
		r = add_members(kernel, request, plan);
	for (size_t i = 0; r == 0 && i < plan->function_count; i++)
		r = check_function(kernel, request, &plan->functions[i], plan);
	if (r == 0)
		r = plan_console(kernel, request, plan);
	if (r == 0)
		r = plan_loads(kernel, plan);
	/* audio, USB and UCSI functions depend on the display's power: they leave first */
	if (r == 0)
		r = plan_function_steps(kernel, request, plan, false);
	if (r == 0)
		r = plan_stacks(kernel, request, plan);
	if (r == 0)
		r = plan_function_steps(kernel, request, plan, true);
	return r < 0 ? error_set_errno(error, r, "plan the handover") : 0;
}

/* Removes the steps of an earlier plan for @subject that were never begun: there is nothing to
 * undo. */
static void forget_planned(struct loan *loan, const char *subject)
{
	for (size_t i = loan->steps.count; i-- > 0;) {
		const struct step *step = &loan->steps.items[i];

		if (step->state == STEP_PLANNED && strcmp(step->subject, subject) == 0 &&
			!unload_is_reload(step))
			steps_remove(&loan->steps, i);
	}
}

static bool is_same_step(const struct step *left, const struct step *right)
{
	return strcmp(left->operation, right->operation) == 0 &&
		strcmp(left->subject, right->subject) == 0 &&
		strcmp(left->argument, right->argument) == 0;
}

/* Records a step. An unfinished handover or return of the same function starts again, with the home
 * that was recorded. A step that was begun then may have to be undone before it is done again. */
static int record_step(struct loan *loan, const struct step *step)
{
	struct step anew = *step;

	if (unload_is_reload(step))
		return unload_record_reload(&loan->steps, step);
	for (size_t i = loan->steps.count; i-- > 0;) {
		if (!is_same_step(&loan->steps.items[i], step))
			continue;
		if (anew.state == STEP_PLANNED && loan->steps.items[i].state != STEP_PLANNED)
			anew.state = STEP_STARTED;
		steps_remove(&loan->steps, i);
	}
	return steps_add(&loan->steps, &anew) ? 0 : -ENOMEM;
}

int plan_record(const struct plan *plan, struct loan *loan)
{
	for (size_t i = 0; i < plan->function_count; i++) {
		const struct loan_function *function = &plan->functions[i].loan;
		struct loan_function *known = loan_find(loan, function->address);

		if (!*function->address)
			continue;
		/* what we moved stays ours: a function that comes straight from a gone VM's loan is
		 * already on its target, which looks static */
		if (known && (known->use != LOAN_TAKEN || function->use != LOAN_STATIC))
			known->use = function->use;
		if (known)
			known->slow_deadline_ms = function->slow_deadline_ms;
		if (known)
			known->waits_forever = function->waits_forever;
		if (known && *function->nodes)
			memcpy(known->nodes, function->nodes, sizeof(known->nodes));
		if (!known && loan_add_function(loan, function) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < plan->steps.count; i++)
		forget_planned(loan, plan->steps.items[i].subject);
	for (size_t i = 0; i < plan->steps.count; i++) {
		if (record_step(loan, &plan->steps.items[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}
