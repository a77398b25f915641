/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Makes loans for cards on vfio-pci that nobody has, and returns them. */

#include "orphan.h"

#include "conf/host/kernel_arguments.h"
#include "conf/host/modprobe_files.h"
#include "conf/pve/reservation.h"
#include "conf/settings.h"
#include "hooks/host/obstacles.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/loan/lock.h"
#include "kmod-helper/operation/binding.h"
#include "loan_life.h"
#include "return.h"
#include "vm_plan.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#define DRIVERCTL_FOLDER "etc/driverctl.d"

bool orphan_is(const struct pci_function *function, const struct loans *loans)
{
	return pci_driver_is_vfio(function->driver) && !loans->unreadable.status &&
		!loans_find(loans, function->address);
}

/* Loads the first module that udev would load for it, unless one of them is loaded. */
static int find_home(
	struct context *context, const char *address, bool load, struct loan_function *ret)
{
	const struct kernel *kernel = &context->kernel;
	cleanup(names_done) struct names modules = {0};
	struct error ignored;
	int r = pci_find_own_driver(kernel, address, ret->home_driver, sizeof(ret->home_driver));

	if (r < 0 || *ret->home_driver || pci_alias_modules(kernel, address, &modules, NULL) < 0)
		return r;
	for (size_t i = 0; i < modules.count && !*ret->home_driver; i++) {
		const char *module = modules.names[i];

		if (pci_driver_is_vfio(module) ||
			kernel->ops->module_check(kernel->context, module, &ignored) < 0)
			continue;
		/* its driver has a name only once it is loaded */
		if (!load)
			snprintf(ret->home_driver, sizeof(ret->home_driver), "%s", module);
		else if (kernel->ops->module_load(kernel->context, module, &ignored) == 0)
			r = pci_find_own_driver(
				kernel, address, ret->home_driver, sizeof(ret->home_driver));
	}
	return r;
}

static int add_function(struct context *context, const struct pci_function *now, bool load,
	struct loan *loan, struct error *error)
{
	const struct kernel *kernel = &context->kernel;
	struct loan_function function = {.iommu_group = now->iommu_group,
		.boot_display = now->boot_display,
		.use = LOAN_TAKEN};
	int r = find_home(context, now->address, load, &function);

	if (r < 0)
		return error_set_errno(error, r, "look for the driver of %s", now->address);
	if (!*now->driver && !*function.home_driver)
		return 0;
	snprintf(function.address, sizeof(function.address), "%s", now->address);
	snprintf(function.target, sizeof(function.target), "%s",
		*now->driver ? now->driver : "vfio-pci");
	pci_read_identity(kernel, now->address, function.identity);
	if (pci_driver_module(kernel, function.home_driver, function.home_module,
		    sizeof(function.home_module)) < 0)
		function.home_module[0] = '\0';
	if (loan_add_function(loan, &function) < 0 ||
		loan_life_adopt(context, loan, &loan->functions[loan->function_count - 1]) < 0)
		return error_set_errno(error, -ENOMEM, "record the loan");
	return 0;
}

static int check_free(struct context *context, const struct pci_function *function,
	const struct loan_owner *owner, struct error *error)
{
	cleanup(reservations_done) struct reservations reservations = {0};
	cleanup(holders_done) struct holders holders = {0};
	unsigned int own = owner->kind == LOAN_OWNER_VM ? owner->vmid : 0;
	char text[HOLDERS_TEXT_SIZE];
	unsigned int vmid = 0;
	int r = reservations_read(&context->kernel.root, &reservations, error);

	if (r == 0)
		vmid = reservation_owner(&reservations, &context->kernel.root, function->address,
			own, time(NULL), NULL);
	if (vmid)
		return error_set(error, -EBUSY, "%s is reserved by VM %u: stop that VM",
			function->address, vmid);
	/* a VM has ended, and its return waits for its QEMU */
	if (r == 0 && owner->kind == LOAN_OWNER_HAND)
		r = holders_of_group(&context->kernel, function->iommu_group, &holders, error);
	if (r < 0 || !holders.count)
		return r;
	holders_format(&holders, text, sizeof(text));
	return error_set(
		error, -EBUSY, "%s is in use by %s: end that first", function->address, text);
}

/* Settings that cannot be read must not keep a card from coming home. */
static int begin(struct context *context, const struct loan_owner *owner, struct loan *ret,
	struct error *error)
{
	cleanup(settings_done) struct settings settings = {0};
	int r = settings_read(&context->kernel.root, 0, &settings, NULL);

	if (r < 0)
		r = settings_parse("", SETTINGS_PATH, 0, &settings, error);
	return r < 0 ? r : loan_life_begin(context, owner, &settings, ret, error);
}

int orphan_lend(struct context *context, const struct loan_owner *owner, long iommu_group,
	const struct names *addresses, bool load, struct loan *ret, struct error *error)
{
	cleanup(pci_functions_done) struct pci_functions host = {0};
	cleanup(loan_done) struct loan loan = {0};
	int r = pci_scan(&context->kernel, &host, error);

	if (r == 0)
		r = begin(context, owner, &loan, error);
	/* the display is the last one in the loan, and so the first one to return */
	for (size_t i = 0; r == 0 && i < 2 * addresses->count; i++) {
		bool displays = i >= addresses->count;
		const struct pci_function *function =
			pci_find(&host, addresses->names[i % addresses->count]);

		if (!function || pci_is_display(function) != displays ||
			(iommu_group != PCI_NO_GROUP && function->iommu_group != iommu_group) ||
			loan_find(&loan, function->address))
			continue;
		r = check_free(context, function, owner, error);
		if (r == 0)
			r = add_function(context, function, load, &loan, error);
	}
	if (r < 0)
		return r;
	*ret = loan;
	loan = (struct loan){0};
	return 0;
}

/* Does the line put the function on vfio-pci, or keep it from the driver that it has none of? */
static bool is_in_the_way(const struct obstacle *obstacle, const struct loan_function *function,
	const struct pci_function *device, const struct names *modules)
{
	if (obstacle->kind == OBSTACLE_IDS)
		return binding_list_has_id(obstacle->ids, device->vendor_id, device->device_id);
	return !*function->home_driver && !obstacle->instead &&
		(obstacle->kind == OBSTACLE_NOMODESET ? pci_is_display(device)
						      : names_have(modules, obstacle->module));
}

static void tell_obstacle(
	struct context *context, const struct obstacle *obstacle, const char *address)
{
	char place[PATH_MAX + 16] = "the kernel command line";

	if (obstacle->line)
		snprintf(
			place, sizeof(place), "/%s:%u", obstacle->line->path, obstacle->line->line);
	if (obstacle->kind == OBSTACLE_IDS)
		log_step(&context->log, LOG_NOTICE, address, NULL,
			"NOTICE: '%s' of %s puts %s on vfio-pci again at the next boot: see "
			"`gpu-ferry doctor`",
			obstacle->text, place, address);
	else
		log_step(&context->log, LOG_NOTICE, address, NULL,
			"NOTICE: '%s' of %s keeps %s from its driver: see `gpu-ferry doctor`",
			obstacle->text, place, address);
}

void orphan_tell(struct context *context, const struct loan *loan)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};
	cleanup(pci_functions_done) struct pci_functions host = {0};
	cleanup(names_done) struct names arguments = {0};
	cleanup(obstacles_done) struct obstacles obstacles = {0};
	auto_free char *line = kernel_read_text(&context->kernel, "proc/cmdline");

	if (modprobe_files_read(&context->kernel.root, &files, NULL) < 0 ||
		pci_scan(&context->kernel, &host, NULL) < 0 ||
		kernel_arguments_split(line ? line : "", &arguments) < 0 ||
		obstacles_find(context, &host, &files,
			&(struct boot_command_line){.running = arguments}, &obstacles, NULL) < 0)
		return;
	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];
		const struct pci_function *device = pci_find(&host, function->address);
		cleanup(names_done) struct names modules = {0};

		(void)pci_alias_modules(&context->kernel, function->address, &modules, NULL);
		for (size_t k = 0; device && k < obstacles.count; k++) {
			if (is_in_the_way(&obstacles.items[k], function, device, &modules))
				tell_obstacle(context, &obstacles.items[k], function->address);
		}
	}
}

int orphan_return(struct context *context, const struct loan *loan, struct error *error)
{
	struct loan begun = *loan;
	auto_close int lock = loan_life_lock(context, &loan->owner, error);
	int r;

	if (lock < 0)
		return lock;
	/* due at once: if we are killed, the watch returns it */
	begun.state = LOAN_RETURNING;
	r = loan_write(&context->kernel.root, &begun, error);
	cleanup_close(&lock);
	lock = -1;
	return r < 0 ? r : return_loan(context, &loan->owner, error);
}

/* By the guide's ids=, or by a rule of driverctl's. */
static bool is_put_there_at_boot(const struct context *context, const char *address)
{
	cleanup(names_done) struct names rules = {0};

	if (binding_id_is_from_boot(&context->kernel, address))
		return true;
	(void)folder_list(&context->kernel.root, DRIVERCTL_FOLDER, &rules);
	for (size_t i = 0; i < rules.count; i++) {
		if (strstr(rules.names[i], address))
			return true;
	}
	return false;
}

static bool is_wanted(const struct vm_plan *guest, const struct pci_function *function)
{
	for (size_t i = 0; i < guest->resolved.want_count; i++) {
		const struct plan_want *want = &guest->resolved.wants[i];
		const struct pci_function *wanted = pci_find(&guest->host, want->address);

		if (wanted && !want->alternative && wanted->iommu_group == function->iommu_group)
			return true;
	}
	return false;
}

int orphan_return_of_vm(struct context *context, unsigned int vmid, struct error *error)
{
	const struct loan_owner owner = {.kind = LOAN_OWNER_VM, .vmid = vmid};
	cleanup(vm_plan_done) struct vm_plan guest = {0};
	cleanup(names_done) struct names addresses = {0};
	cleanup(loan_done) struct loan loan = {0};
	char lock[32];
	int r;

	snprintf(lock, sizeof(lock), "vm-%u", vmid);
	/* its devices were returned after the start; a config that cannot be read asks for none */
	if (lock_is_marked(&context->kernel.root, lock) ||
		vm_plan_resolve(context, vmid, NULL, &guest, NULL) < 0)
		return 0;
	for (size_t i = 0; i < guest.host.count; i++) {
		const struct pci_function *function = &guest.host.items[i];

		if (orphan_is(function, &guest.loans) && is_wanted(&guest, function) &&
			!is_put_there_at_boot(context, function->address) &&
			names_add(&addresses, function->address) < 0)
			return error_set_errno(error, -ENOMEM, "return the devices");
	}
	if (!addresses.count)
		return 0;
	log_step(&context->log, LOG_NOTICE, addresses.names[0], NULL,
		"%s is on vfio-pci for VM %u, but there is no loan any more (was /run/gpu-ferry "
		"deleted?): it goes to the driver that the kernel chooses",
		addresses.names[0], vmid);
	r = orphan_lend(context, &owner, PCI_NO_GROUP, &addresses, true, &loan, error);
	return r < 0 ? r : orphan_return(context, &loan, error);
}
