/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks each card: its driver, group, loan, memory windows and health. */

#include "doctor.h"

#include "conf/pve/reservation.h"
#include "hooks/host/gpu_drivers.h"
#include "hooks/host/own_files.h"
#include "hooks/host/setup_vfs.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/pci_resource.h"
#include "kmod-helper/holder/host_use.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define SETTINGS_BYTES (256 * 1024)

static ssize_t read_attribute(
	const struct doctor *doctor, const char *address, const char *name, char *ret, size_t size)
{
	char path[PCI_PATH_SIZE];

	pci_path(address, name, path, sizeof(path));
	return kernel_read(&doctor->context->kernel, path, ret, size);
}

bool is_gpu(const struct doctor *doctor, const struct pci_function *function)
{
	const struct pci_function *first = doctor->host.items;

	if (!pci_is_display(function) || *function->parent)
		return false;
	while (first < function &&
		!(pci_is_display(first) && pci_same_card(first->address, function->address)))
		first++;
	return first == function;
}

static size_t count_gpus(const struct doctor *doctor)
{
	size_t count = 0;

	for (size_t i = 0; i < doctor->host.count; i++)
		count += is_gpu(doctor, &doctor->host.items[i]);
	return count;
}

/* ---- who has it */

static bool is_stuck(const struct doctor *doctor, const char *address)
{
	const struct loan *loan = loans_find(&doctor->loans, address);

	return loan && loan_find_stuck(loan, address);
}

static void check_loan(
	struct doctor *doctor, const struct pci_function *function, const struct loan *loan)
{
	const char *home = loan_find(loan, function->address)->home_driver;
	char owner[32];

	loan_owner_format(&loan->owner, owner, sizeof(owner));
	if (loan_find_stuck(loan, NULL)) {
		check_add(&doctor->list, CHECK_FAIL, "card_driver",
			"overdue (%s): a write to its driver has not finished", owner);
		check_fix(&doctor->list,
			"gpu-ferry reconcile  # after its user has ended: see gpu-ferry status");
	} else if (loan->state == LOAN_OWED) {
		check_add(&doctor->list, CHECK_WARN, "card_driver", "still to be returned (%s)",
			owner);
		check_fix(&doctor->list, "gpu-ferry reconcile");
	} else {
		check_add(&doctor->list, CHECK_PASS, "card_driver",
			"%s is lent (%s); its home driver is %s", doctor->card, owner,
			*home ? home : "none");
	}
}

static void check_unbound(struct doctor *doctor, const struct pci_function *function)
{
	const char *module = display_module_find(doctor, function->vendor_id);

	if (module) {
		check_add(&doctor->list, CHECK_WARN, "card_driver",
			"%s has no driver, although %s is available", doctor->card, module);
		check_fix(&doctor->list, "modprobe %s && echo %s > /sys/bus/pci/drivers_probe",
			module, function->address);
	} else {
		check_add(&doctor->list, CHECK_INFO, "card_driver",
			"%s has no driver, and it had none before", doctor->card);
	}
}

/* The VM for which Proxmox itself has reserved the card; 0: none. */
static unsigned int find_reserver(const struct doctor *doctor, const char *address)
{
	cleanup(reservations_done) struct reservations reservations = {0};
	const struct root *root = &doctor->context->kernel.root;

	if (reservations_read(root, &reservations, NULL) < 0)
		return 0;
	return reservation_owner(&reservations, root, address, 0, time(NULL), NULL);
}

static void check_vfio(struct doctor *doctor, const struct pci_function *function)
{
	unsigned int vmid = find_reserver(doctor, function->address);

	if (doctor->loans.unreadable.status < 0) {
		check_add(&doctor->list, CHECK_SKIP, "card_driver",
			"%s is on %s, and it is unknown whether it is lent", doctor->card,
			function->driver);
		return;
	}
	if (vmid) {
		check_add(&doctor->list, CHECK_WARN, "card_driver",
			"%s is on %s for VM %u, without gpu-ferry: it stays there when the VM stops",
			doctor->card, function->driver, vmid);
		check_fix(&doctor->list, "qm set %u --hookscript local:snippets/gpu-ferry", vmid);
		return;
	}
	check_add(&doctor->list, CHECK_WARN, "card_driver",
		"%s is on %s, but not by gpu-ferry: it stays there, and the host cannot use it",
		doctor->card, function->driver);
	check_fix(&doctor->list,
		is_taken_at_boot(doctor, function)
			? "gpu-ferry setup --mode share --apply && reboot"
			: "reboot");
}

/* An override that is not ours is reported, with its fix, by a check of its own. */
static void check_driver(struct doctor *doctor, const struct pci_function *function)
{
	const struct loan *loan = loans_find(&doctor->loans, function->address);

	if (loan) {
		check_loan(doctor, function, loan);
	} else if (pci_driver_is_vfio(function->driver)) {
		check_vfio(doctor, function);
	} else if (!*function->driver) {
		check_unbound(doctor, function);
	} else {
		check_add(&doctor->list, CHECK_PASS, "card_driver", "%s is used by the host: %s",
			doctor->card, function->driver);
	}
}

/* ---- the home driver's module */

static void fix_dkms(struct doctor *doctor, const char *release)
{
	check_fix(&doctor->list, "apt install %s-%s && dkms autoinstall -k %s",
		strstr(release, "-pve") ? "proxmox-headers" : "linux-headers", release, release);
}

/* Warns about NVIDIA's module when dkms built it for another kernel, not for the running one. */
static bool check_left_behind(struct doctor *doctor, const struct pci_function *function)
{
	char release[96];
	const char *module =
		display_module_left_behind(doctor, function->vendor_id, release, sizeof(release));

	if (!module)
		return false;
	check_add(&doctor->list, CHECK_WARN, "card_module",
		"the module %s is installed for the kernel %s, but not for the running one (%s)",
		module, release, doctor->platform.release);
	fix_dkms(doctor, doctor->platform.release);
	return true;
}

static bool is_nvidias_own(const char *module)
{
	const struct gpu_driver *driver = gpu_driver_find(module);

	return driver && driver->is_nvidias_own;
}

/* NVIDIA's driver is loaded as nvidia, but its file may have another name. */
static bool has_module(const struct module_files *files, const char *module)
{
	const struct gpu_driver *driver = gpu_driver_find(module);
	char file[GPU_DRIVER_FILE_SIZE];

	return driver ? gpu_driver_file(files, driver, file) : module_files_have(files, module);
}

static void check_home_module(struct doctor *doctor, const char *module)
{
	if (has_module(&doctor->modules, module)) {
		check_add(&doctor->list, CHECK_PASS, "card_module",
			"its home driver's module %s is installed for the running kernel", module);
		return;
	}
	check_add(&doctor->list, CHECK_WARN, "card_module",
		"its home driver's module %s is not installed for the running kernel (%s)", module,
		doctor->platform.release);
	fix_dkms(doctor, doctor->platform.release);
}

static void check_any_module(struct doctor *doctor, const struct pci_function *function)
{
	const char *module = display_module_find(doctor, function->vendor_id);

	if (module)
		check_add(&doctor->list, CHECK_PASS, "card_module",
			"the host has a driver for it (%s)", module);
	else
		check_add(&doctor->list, CHECK_INFO, "card_module",
			"no known driver for it is installed and allowed to load");
}

static void check_module(struct doctor *doctor, const struct pci_function *function)
{
	const struct loan *loan = loans_find(&doctor->loans, function->address);
	const struct loan_function *lent = loan ? loan_find(loan, function->address) : NULL;

	if (!doctor->has_modules)
		check_add(&doctor->list, CHECK_SKIP, "card_module",
			"the modules of the running kernel cannot be read");
	else if (lent && *lent->home_module)
		check_home_module(doctor, lent->home_module);
	else if (check_left_behind(doctor, function))
		return;
	else if (*function->driver && !pci_driver_is_vfio(function->driver))
		check_add(&doctor->list, CHECK_PASS, "card_module", "its driver %s is loaded",
			function->driver);
	else
		check_any_module(doctor, function);
}

/* The module of the driver that the card has at home; false: none is known. */
static bool find_home_module(
	const struct doctor *doctor, const struct pci_function *function, char *ret, size_t size)
{
	const struct loan *loan = loans_find(&doctor->loans, function->address);
	const struct loan_function *lent = loan ? loan_find(loan, function->address) : NULL;

	if (lent)
		snprintf(ret, size, "%s", lent->home_module);
	else if (!*function->driver || pci_driver_is_vfio(function->driver) ||
		pci_driver_module(&doctor->context->kernel, function->driver, ret, size) < 0)
		return false;
	return *ret;
}

static void check_kernel(struct doctor *doctor, const char *module, const char *release)
{
	cleanup(module_files_done) struct module_files files = {0};

	if (strcmp(release, doctor->platform.release) == 0 ||
		module_files_read(&doctor->context->kernel.root, release, &files, NULL) < 0 ||
		!files.dependencies || has_module(&files, module))
		return;
	check_add(&doctor->list, CHECK_WARN, "card_kernel",
		"its driver's module %s is not installed for the kernel %s: once that kernel runs, "
		"the host cannot use the card",
		module, release);
	if (is_nvidias_own(module))
		fix_dkms(doctor, release);
	else
		check_fix(&doctor->list, "apt install --reinstall %s-%s  # or remove that kernel",
			kernel_package(release), release);
}

/* Looks beforehand at the kernels that are not running: after an upgrade one of them will. */
static void check_kernels(struct doctor *doctor, const struct names *releases)
{
	cleanup(names_done) struct names checked = {0};
	char module[PCI_DRIVER_SIZE];

	for (size_t i = 0; i < doctor->host.count; i++) {
		const struct pci_function *function = &doctor->host.items[i];

		if (!is_gpu(doctor, function) || !doctor_is_about(doctor, function->address) ||
			!find_home_module(doctor, function, module, sizeof(module)) ||
			names_have(&checked, module) || names_add(&checked, module) < 0)
			continue;
		checklist_subject(&doctor->list, function->address);
		for (size_t k = 0; k < releases->count; k++)
			check_kernel(doctor, module, releases->names[k]);
	}
}

/* ---- its group */

/* Appends a quoted address to a list, in the form of the settings file. */
static void append_allowed(char *buffer, size_t size, const char *address)
{
	size_t used = strlen(buffer);

	snprintf(buffer + used, size - used, "%s\"%s\"", used ? ", " : "", address);
}

/* Counts the lines that begin with @name and also end its value. When there is exactly one, sed can
 * replace it. */
static unsigned int count_setting_lines(const struct doctor *doctor, const char *name)
{
	struct file_read_options options = {.max = SETTINGS_BYTES};
	auto_free char *text = NULL;
	size_t length = strlen(name);
	unsigned int count = 0;

	if (file_read(&doctor->context->kernel.root, SETTINGS_PATH, &options, &text, NULL, NULL) <
		0)
		return 0;
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *rest = line + length;

		if (strncmp(line, name, length) != 0 || rest[strspn(rest, " ")] != '=')
			continue;
		count += line[strcspn(line, "\n") - 1] == ';' ? 1 : 2;
	}
	return count;
}

void fix_setting(struct doctor *doctor, const char *name, const char *value, const char *remark)
{
	if (doctor->settings_are_plain && count_setting_lines(doctor, name) == 1)
		check_fix(&doctor->list, "sed -i 's/^%s *=.*/%s = %s;/' /" SETTINGS_PATH "%s%s",
			name, name, value, *remark ? "  # " : "", remark);
	else
		check_fix(&doctor->list, "editor /" SETTINGS_PATH "  # %s = %s;%s%s", name, value,
			*remark ? " " : "", remark);
}

/* The other members of a card's group. */
struct strangers {
	char text[1024];      /* each with what the host uses it for */
	char allow[512];      /* the present entries of `allow`, and all of these */
	char permitted[1024]; /* those that `allow` has, as text */
	bool in_use;
};

static void append_stranger(
	const struct doctor *doctor, const struct pci_function *member, struct strangers *strangers)
{
	bool allowed = names_have(&doctor->settings.allow, member->address);
	char *buffer = allowed ? strangers->permitted : strangers->text;
	size_t used = strlen(buffer);
	char use[256];
	bool in_use = host_use_find(&doctor->context->kernel, member->address, use, sizeof(use));

	snprintf(buffer + used, sizeof(strangers->text) - used, " %s%s%s%s", member->address,
		in_use ? " (" : "", in_use ? use : "", in_use ? ")" : "");
	if (allowed)
		return;
	append_allowed(strangers->allow, sizeof(strangers->allow), member->address);
	strangers->in_use |= in_use;
}

/* Finds the members of the group that are neither part of the card nor bridges. */
static void find_strangers(
	const struct doctor *doctor, const struct pci_function *function, struct strangers *ret)
{
	for (size_t i = 0; i < doctor->settings.allow.count; i++)
		append_allowed(ret->allow, sizeof(ret->allow), doctor->settings.allow.names[i]);
	for (size_t i = 0; i < doctor->host.count; i++) {
		const struct pci_function *member = &doctor->host.items[i];

		if (member->iommu_group == function->iommu_group && !member->bridge &&
			!pci_same_card(member->address, function->address))
			append_stranger(doctor, member, ret);
	}
}

/* What the host needs is not offered to a VM first. */
static void fix_strangers(struct doctor *doctor, const struct strangers *strangers)
{
	char value[sizeof(strangers->allow) + 8];

	snprintf(value, sizeof(value), "[ %s ]", strangers->allow);
	if (strangers->in_use)
		check_fix(&doctor->list,
			"gpu-ferry list --all  # take another slot, or another card; only where "
			"the host can do without them: allow = %s; in /" SETTINGS_PATH,
			value);
	else
		fix_setting(doctor, "allow", value,
			"if the VM may have them; else move the card to another slot");
}

static void check_group(struct doctor *doctor, const struct pci_function *function)
{
	struct strangers strangers = {0};

	if (function->iommu_group == PCI_NO_GROUP) {
		check_add(&doctor->list, CHECK_SKIP, "card_group",
			"in no IOMMU group: the IOMMU is off or does not cover it");
		return;
	}
	find_strangers(doctor, function, &strangers);
	if (*strangers.permitted)
		check_add(&doctor->list, CHECK_NOTICE, "card_group",
			"group %ld also contains devices that go to the VM, as `allow` says:%s",
			function->iommu_group, strangers.permitted);
	if (*strangers.text) {
		check_add(&doctor->list, CHECK_WARN, "card_group",
			"group %ld also contains other devices, which go to the VM together with "
			"the card:%s",
			function->iommu_group, strangers.text);
		fix_strangers(doctor, &strangers);
	} else if (!*strangers.permitted) {
		check_add(&doctor->list, CHECK_PASS, "card_group",
			"group %ld contains only this card", function->iommu_group);
	}
}

/* ---- resetting it between two guests */

static void check_reset(struct doctor *doctor, const struct pci_function *function)
{
	char methods[128];
	ssize_t length =
		read_attribute(doctor, function->address, "reset_method", methods, sizeof(methods));

	if (length > 0) {
		check_add(&doctor->list, CHECK_PASS, "card_reset", "it can be reset: %s", methods);
	} else if (length == 0) {
		check_add(&doctor->list, CHECK_WARN, "card_reset",
			"its reset was switched off (reset_method is empty)");
		check_fix(&doctor->list,
			"echo default > /sys/bus/pci/devices/%s/reset_method  # or, where that "
			"leaves it empty, reboot",
			function->address);
	} else if (length == -ENOENT) {
		check_add(&doctor->list, CHECK_NOTICE, "card_reset",
			"the kernel knows no way to reset it, or is older than 5.15: a second "
			"start may get the card in the state in which the first one left it");
	} else {
		check_add(&doctor->list, CHECK_SKIP, "card_reset", "reset_method: %s",
			strerror((int)-length));
	}
}

/* ---- what is known of it */

static void check_quirk(struct doctor *doctor, const struct plan_quirk *quirk)
{
	const char *text = quirk->blocker ? quirk->blocker
		: quirk->warning	  ? quirk->warning
		: quirk->notice		  ? quirk->notice
					  : quirk->unload;

	if (!text)
		return;
	check_add(&doctor->list,
		quirk->blocker		 ? CHECK_FAIL
			: quirk->warning ? CHECK_WARN
					 : CHECK_NOTICE,
		"card_quirk", "%s (%s, %s)", text, quirk->name, quirk->source);
	if (quirk->blocker || quirk->warning)
		check_fix(&doctor->list, "%s", quirk->fix ? quirk->fix : quirk->source);
}

static void check_quirks(struct doctor *doctor, const struct pci_function *card)
{
	for (size_t i = 0; i < doctor->known.count; i++) {
		const struct plan_quirk *quirk = &doctor->known.items[i].plan;

		if (!pci_same_card(quirk->address, card->address))
			continue;
		checklist_subject(&doctor->list, quirk->address);
		check_quirk(doctor, quirk);
	}
	checklist_subject(&doctor->list, card->address);
}

/* ---- the screen that the host booted with */

/* A setting that refuses this display is the owner's choice: only a VM that asks for the card has a
 * problem. */
static void check_boot_display(struct doctor *doctor, const struct pci_function *function)
{
	if (!function->boot_display)
		check_add(&doctor->list, CHECK_PASS, "card_boot_display",
			"not the display that the host booted with");
	else if (doctor->settings.boot_display == BOOT_DISPLAY_REFUSE)
		check_add(&doctor->list, CHECK_INFO, "card_boot_display",
			"the display that the host booted with, and the settings forbid lending "
			"it");
	else
		check_add(&doctor->list, CHECK_NOTICE, "card_boot_display",
			"the display that the host booted with%s: while it is lent, the host's "
			"console is not visible there",
			count_gpus(doctor) == 1 ? ", and its only one" : "");
}

/* ---- its memory windows and its ROM */

static void check_rom(struct doctor *doctor, const struct pci_resources *resources)
{
	if (resources->rom_is_shadowed)
		check_add(&doctor->list, CHECK_NOTICE, "card_rom",
			"its ROM is a copy that the firmware has already used (shadowed): without "
			"romfile= in the hostpci line, the guest's screen may stay dark");
	else
		check_add(&doctor->list, CHECK_PASS, "card_rom", "its ROM is not shadowed");
}

static void list_bars(const struct pci_resources *resources, char *buffer, size_t size)
{
	for (size_t i = 0; i < PCI_BARS; i++) {
		const struct pci_window *bar = &resources->bars[i];
		size_t used = strlen(buffer);
		char text[32];

		if (!bar->size || !bar->memory)
			continue;
		pci_size_format(bar->size, text, sizeof(text));
		snprintf(buffer + used, size - used, "%sBAR %zu %s", used ? ", " : "", i, text);
	}
}

static const struct pci_window *find_unset(const struct pci_resources *resources)
{
	for (size_t i = 0; i < PCI_BARS; i++) {
		if (resources->bars[i].size && resources->bars[i].unset)
			return &resources->bars[i];
	}
	return NULL;
}

static void check_bars(struct doctor *doctor, const struct pci_resources *resources)
{
	char text[256] = "";

	list_bars(resources, text, sizeof(text));
	if (find_unset(resources)) {
		check_add(&doctor->list, CHECK_FAIL, "card_bars",
			"%s: the firmware found no room for all of them", text);
		check_fix(&doctor->list,
			"%s  # in the firmware's set-up switch on \"Above 4G Decoding\"",
			firmware_command(doctor));
		return;
	}
	check_add(&doctor->list, CHECK_INFO, "card_bars", "%s", *text ? text : "no memory windows");
}

static void check_resources(struct doctor *doctor, const struct pci_function *function)
{
	struct pci_resources resources;
	int r = pci_resources_read(&doctor->context->kernel, function->address, &resources);

	if (r < 0) {
		check_add(&doctor->list, CHECK_SKIP, "card_bars", "read its resources: %s",
			strerror(-r));
		return;
	}
	check_rom(doctor, &resources);
	check_bars(doctor, &resources);
}

/* ---- power */

static void check_power(struct doctor *doctor, const struct pci_function *function)
{
	char state[PCI_POWER_STATE_SIZE];

	pci_read_power_state(&doctor->context->kernel, function->address, state);
	if (!*state) {
		check_add(&doctor->list, CHECK_SKIP, "card_power", "its power state is unknown");
	} else if (strcmp(state, "D0") == 0 &&
		pci_is_dead(&doctor->context->kernel, function->address)) {
		/* only in D0: reading a sleeping card would wake it, and the result would mean
		 * nothing */
		check_add(&doctor->list, CHECK_FAIL, "card_power",
			"it does not answer: it fell off the bus");
		check_fix(&doctor->list, "poweroff  # a reboot is often not enough");
	} else {
		check_add(&doctor->list, CHECK_PASS, "card_power", "in power state %s", state);
	}
}

/* ---- overrides that are not ours */

static bool has_driverctl(const struct doctor *doctor, const char *address)
{
	char path[64 + PCI_ADDRESS_SIZE], driver[PCI_DRIVER_SIZE];

	snprintf(path, sizeof(path), "etc/driverctl.d/pci-%s", address);
	return file_read_attribute(&doctor->context->kernel.root, path, driver, sizeof(driver)) > 0;
}

static void check_override(struct doctor *doctor, const struct pci_function *function)
{
	const char *address = function->address;
	char driver[PCI_DRIVER_SIZE];

	if (has_driverctl(doctor, address)) {
		check_add(&doctor->list, CHECK_WARN, "driver_override",
			"driverctl binds it to another driver at each boot "
			"(/etc/driverctl.d/pci-%s)",
			address);
		check_fix(&doctor->list, "driverctl unset-override %s", address);
		return;
	}
	/* reading this file can hang when the function's driver is stuck */
	if (loans_find(&doctor->loans, address) || doctor->loans.unreadable.status < 0 ||
		is_stuck(doctor, address) ||
		pci_read_override(&doctor->context->kernel, address, driver, sizeof(driver)) < 0 ||
		!*driver)
		return;
	check_add(&doctor->list, CHECK_WARN, "driver_override",
		"its driver_override is %s, but it is not lent", driver);
	check_fix(&doctor->list, "echo > /sys/bus/pci/devices/%s/driver_override", address);
}

static void check_overrides(struct doctor *doctor, const struct pci_function *card)
{
	size_t before = doctor->list.count;

	for (size_t i = 0; i < doctor->host.count; i++) {
		if (!pci_same_card(doctor->host.items[i].address, card->address))
			continue;
		checklist_subject(&doctor->list, doctor->host.items[i].address);
		check_override(doctor, &doctor->host.items[i]);
	}
	checklist_subject(&doctor->list, card->address);
	if (doctor->list.count == before)
		check_add(&doctor->list, CHECK_PASS, "driver_override",
			"neither driver_override nor driverctl is set");
}

/* ---- virtual functions */

static unsigned int read_wanted_vfs(const struct doctor *doctor, const char *address)
{
	auto_free char *rules = NULL;

	(void)vfs_rules_read(&doctor->context->kernel.root, &rules, NULL);
	return vfs_rules_find(rules, address);
}

static void check_vfs(struct doctor *doctor, const struct pci_function *function)
{
	const char *address = function->address;
	const char *fault = vfs_driver_fault(doctor->context, function);
	unsigned int total = vfs_read_total(doctor->context, address);
	unsigned int now = vfs_read_count(doctor->context, address);
	unsigned int wanted = read_wanted_vfs(doctor, address);

	if (wanted && wanted != now && !pci_driver_is_vfio(function->driver)) {
		check_add(&doctor->list, CHECK_WARN, "card_vfs",
			"%u virtual functions, not the %u of /" SETUP_VFS_PATH, now, wanted);
		check_fix(&doctor->list,
			now ? "reboot" : "udevadm trigger --action=add /sys/bus/pci/devices/%s",
			address);
	} else if (now) {
		check_add(&doctor->list, CHECK_PASS, "card_vfs", "%u of %u virtual functions", now,
			total);
	} else if (total && fault) {
		check_add(&doctor->list, CHECK_INFO, "card_vfs",
			"it could have %u virtual functions: %s", total, fault);
	} else if (total) {
		check_add(&doctor->list, CHECK_INFO, "card_vfs",
			"it can have %u virtual functions: `gpu-ferry setup --vfs %s=NUMBER` makes "
			"them at boot",
			total, address);
	}
}

/* "GeForce RTX 4080 [10de:2704]" */
static void name_card(struct doctor *doctor, const struct pci_function *function)
{
	char name[128];

	device_name_short(
		doctor->names, function->vendor_id, function->device_id, name, sizeof(name));
	snprintf(doctor->card, sizeof(doctor->card), "%s [%04x:%04x]", name, function->vendor_id,
		function->device_id);
}

/* The first check of a card says what it is and who has it: without -v it stands for all others
 * that passed. */
static void check_card(struct doctor *doctor, const struct pci_function *function)
{
	checklist_subject(&doctor->list, function->address);
	name_card(doctor, function);
	check_driver(doctor, function);
	check_module(doctor, function);
	check_overrides(doctor, function);
	check_group(doctor, function);
	check_reset(doctor, function);
	check_quirks(doctor, function);
	check_boot_display(doctor, function);
	check_resources(doctor, function);
	check_power(doctor, function);
	check_vfs(doctor, function);
}

void doctor_check_cards(struct doctor *doctor)
{
	cleanup(names_done) struct names releases = {0};

	checklist_section(&doctor->list, "GPUS");
	if (count_gpus(doctor) == 0)
		check_add(&doctor->list, CHECK_NOTICE, "card", "this host has no GPU");
	for (size_t i = 0; i < doctor->host.count; i++) {
		if (is_gpu(doctor, &doctor->host.items[i]) &&
			doctor_is_about(doctor, doctor->host.items[i].address))
			check_card(doctor, &doctor->host.items[i]);
	}
	(void)folder_list(&doctor->context->kernel.root, "lib/modules", &releases);
	check_kernels(doctor, &releases);
}
