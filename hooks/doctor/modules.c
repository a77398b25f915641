/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the modules of the host, and what keeps the host from its card. */

#include "doctor.h"

#include "conf/host/kernel_arguments.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/operation/binding.h"
#include <errno.h>
#include <string.h>

/* Files that gpu-ferry itself writes, in /etc and in /run. */
#define OWN_FILE "modprobe.d/gpu-ferry"

static bool is_own(const struct modprobe_line *line)
{
	return strstr(line->path, OWN_FILE) != NULL;
}

/* Takes the line out, by hand; a file of a package is hidden by an empty one of the same name. */
static void fix_line(struct doctor *doctor, const struct modprobe_line *line)
{
	const char *name = strrchr(line->path, '/') + 1;
	unsigned int last = line->line + (line->line_count ? line->line_count - 1 : 0);

	if (strncmp(line->path, "etc/", 4) == 0 && last == line->line)
		check_fix(&doctor->list, "sed -i '%ud' /%s && update-initramfs -u -k all && reboot",
			last, line->path);
	else if (strncmp(line->path, "etc/", 4) == 0)
		check_fix(&doctor->list,
			"sed -i '%u,%ud' /%s && update-initramfs -u -k all && reboot", line->line,
			last, line->path);
	else
		check_fix(&doctor->list,
			"touch /etc/modprobe.d/%s && update-initramfs -u -k all && reboot", name);
}

/* What setup moves out of the way when the host is to own its cards. */
static void fix_by_setup(struct doctor *doctor)
{
	check_fix(&doctor->list, "gpu-ferry setup --mode share --apply && reboot");
}

/* What only the running kernel was given is gone with the next boot. */
static void fix_argument(struct doctor *doctor, const char *name)
{
	if (boot_command_line_find(&doctor->command_line, name))
		fix_by_setup(doctor);
	else
		check_fix(&doctor->list, "reboot  # without %s on the kernel command line", name);
}

/* ---- the vfio modules */

static void fix_missing_module(struct doctor *doctor)
{
	const char *release = doctor->platform.release;

	check_fix(&doctor->list, "apt install --reinstall %s-%s",
		strstr(release, "-pve") ? "proxmox-kernel" : "linux-image", release);
}

static void check_vfio_module(struct doctor *doctor)
{
	struct checklist *list = &doctor->list;

	if (pci_driver_exists(&doctor->context->kernel, "vfio-pci")) {
		check_add(list, CHECK_PASS, "vfio_module", "vfio-pci is loaded");
	} else if (doctor->has_modules && module_files_have(&doctor->modules, "vfio_pci")) {
		check_add(list, CHECK_PASS, "vfio_module",
			"vfio-pci is there for the running kernel; it is loaded when a VM starts");
	} else if (doctor->has_modules) {
		check_add(list, CHECK_FAIL, "vfio_module",
			"the running kernel (%s) has no module vfio-pci", doctor->platform.release);
		fix_missing_module(doctor);
	} else if (doctor->context->kernel.root.live) {
		check_add(list, CHECK_FAIL, "vfio_module",
			"/lib/modules/%s is gone: the running kernel was removed or replaced",
			doctor->platform.release);
		check_fix(list, "reboot");
	} else {
		check_add(list, CHECK_SKIP, "vfio_module",
			"the modules of the kernel (/lib/modules) are not to be seen");
	}
}

static bool is_vfio_module(const char *module)
{
	static const char *const names[] = {
		"vfio", "vfio_iommu_type1", "vfio_pci", "vfio_pci_core"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(module, names[i]) == 0)
			return true;
	}
	return false;
}

static void check_vfio_blocked(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->modprobe.count; i++) {
		const struct modprobe_line *line = &doctor->modprobe.lines[i];

		if (!is_vfio_module(line->module) || !modprobe_line_blocks(line))
			continue;
		check_add(&doctor->list, CHECK_FAIL, "vfio_blocked",
			"/%s:%u keeps %s from being loaded (%s)", line->path, line->line,
			line->module, modprobe_kind_name(line->kind));
		fix_line(doctor, line);
	}
}

/* ---- ids= : devices taken by their id, at boot */

struct device_id {
	unsigned int vendor, device;
};

/* "10de:2704[:subsystem…]" */
static bool id_parse(const char *text, struct device_id *ret)
{
	unsigned long long vendor, device;
	char copy[10];

	if (strlen(text) < 9 || text[4] != ':' || (text[9] && text[9] != ':' && text[9] != ','))
		return false;
	snprintf(copy, sizeof(copy), "%s", text);
	copy[4] = '\0';
	if (parse_unsigned(copy, 16, 0xffff, &vendor) < 0 ||
		parse_unsigned(copy + 5, 16, 0xffff, &device) < 0)
		return false;
	*ret = (struct device_id){(unsigned int)vendor, (unsigned int)device};
	return true;
}

static bool id_is_of(const struct device_id *id, const struct pci_function *function)
{
	return function->vendor_id == id->vendor && function->device_id == id->device;
}

static bool ids_have(const char *ids, const struct pci_function *function)
{
	return binding_list_has_id(ids, function->vendor_id, function->device_id);
}

static bool any_is_taken(const struct doctor *doctor, const char *ids)
{
	for (size_t i = 0; i < doctor->host.count; i++) {
		const struct pci_function *function = &doctor->host.items[i];

		if (pci_driver_is_vfio(function->driver) && ids_have(ids, function))
			return true;
	}
	return false;
}

/* Appends " 0000:2b:00.0" for each function that has the id; the count of cards they are on. */
static size_t id_devices(
	const struct doctor *doctor, const struct device_id *id, char *buffer, size_t size)
{
	const char *card = "";
	size_t cards = 0;

	for (size_t i = 0; i < doctor->host.count; i++) {
		const struct pci_function *function = &doctor->host.items[i];
		size_t used = strlen(buffer);

		if (!id_is_of(id, function))
			continue;
		snprintf(buffer + used, size - used, " %s", function->address);
		cards += !pci_same_card(card, function->address);
		card = function->address;
	}
	return cards;
}

/* One ids= and where it stands. */
struct static_ids {
	char where[512]; /* "/etc/modprobe.d/vfio.conf:1: options vfio-pci" */
	const char *ids;
	const struct modprobe_line *line; /* NULL: on the kernel command line */
	const char *argument;		  /* there: its name */
};

static void fix_static_ids(struct doctor *doctor, const struct static_ids *ids)
{
	if (ids->line)
		fix_by_setup(doctor);
	else
		fix_argument(doctor, ids->argument);
}

static void check_twins(struct doctor *doctor, const struct static_ids *ids, const char *text)
{
	char devices[512] = "";
	struct device_id id;

	if (!id_parse(text, &id) || id_devices(doctor, &id, devices, sizeof(devices)) < 2)
		return;
	check_add(&doctor->list, CHECK_WARN, "static_twins",
		"%s ids=%.9s means%s alike: twins cannot be told apart by their id", ids->where,
		text, devices);
	fix_static_ids(doctor, ids);
}

static void check_devices(struct doctor *doctor, const struct static_ids *ids, const char *devices)
{
	if (!*devices) {
		check_add(&doctor->list, CHECK_NOTICE, "static_ids",
			"%s ids=%s means no device of this host", ids->where, ids->ids);
	} else if (ids->line && is_own(ids->line)) {
		check_add(&doctor->list, CHECK_INFO, "static_ids",
			"%s ids=%s: dedicated to VMs by setup:%s", ids->where, ids->ids, devices);
	} else {
		check_add(&doctor->list, CHECK_WARN, "static_ids",
			"%s ids=%s takes at %s, so that the host never has them:%s", ids->where,
			ids->ids, any_is_taken(doctor, ids->ids) ? "boot" : "the next boot",
			devices);
		fix_static_ids(doctor, ids);
	}
}

static void check_static_ids(struct doctor *doctor, const struct static_ids *ids)
{
	auto_free char *copy = strdup(ids->ids);
	char devices[512] = "";
	struct device_id id;
	char *save = NULL;

	if (!copy) {
		doctor->list.out_of_memory = true;
		return;
	}
	for (char *text = strtok_r(copy, ",", &save); text; text = strtok_r(NULL, ",", &save)) {
		if (id_parse(text, &id))
			id_devices(doctor, &id, devices, sizeof(devices));
	}
	check_devices(doctor, ids, devices);
	strcpy(copy, ids->ids);
	for (char *text = strtok_r(copy, ",", &save); text; text = strtok_r(NULL, ",", &save))
		check_twins(doctor, ids, text);
}

static void check_ids_lines(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->modprobe.count; i++) {
		const struct modprobe_line *line = &doctor->modprobe.lines[i];
		auto_free char *value = NULL;
		struct static_ids ids = {.line = line};

		if (line->kind != MODPROBE_OPTIONS || strcmp(line->module, "vfio_pci") != 0)
			continue;
		value = modprobe_option_value(line->arguments, "ids");
		if (!value)
			continue;
		snprintf(ids.where, sizeof(ids.where), "/%s:%u: options vfio-pci", line->path,
			line->line);
		ids.ids = value;
		check_static_ids(doctor, &ids);
	}
}

static void check_ids_argument(struct doctor *doctor)
{
	struct static_ids ids = {
		.where = "kernel command line: vfio-pci", .argument = "vfio-pci.ids"};
	const struct boot_argument *configured =
		boot_command_line_find(&doctor->command_line, "vfio-pci.ids");

	ids.ids = kernel_arguments_get(&doctor->command_line.running, "vfio-pci.ids");
	if (configured) {
		ids.ids = kernel_argument_value(configured->text, "vfio-pci.ids");
		snprintf(ids.where, sizeof(ids.where), "/%s:%u: vfio-pci", configured->path,
			configured->line);
	}
	if (ids.ids && *ids.ids)
		check_static_ids(doctor, &ids);
}

static void check_ids(struct doctor *doctor)
{
	size_t before = doctor->list.count;

	check_ids_lines(doctor);
	check_ids_argument(doctor);
	if (doctor->list.count == before)
		check_add(&doctor->list, CHECK_PASS, "static_ids",
			"no vfio-pci ids= takes a device at boot");
}

bool is_taken_at_boot(const struct doctor *doctor, const struct pci_function *function)
{
	const struct boot_argument *configured =
		boot_command_line_find(&doctor->command_line, "vfio-pci.ids");

	for (size_t i = 0; i < doctor->modprobe.count; i++) {
		const struct modprobe_line *line = &doctor->modprobe.lines[i];
		auto_free char *ids = NULL;

		if (line->kind == MODPROBE_OPTIONS && strcmp(line->module, "vfio_pci") == 0)
			ids = modprobe_option_value(line->arguments, "ids");
		if (ids && ids_have(ids, function))
			return true;
	}
	return configured &&
		ids_have(kernel_argument_value(configured->text, "vfio-pci.ids"), function);
}

/* ---- blacklists */

/* The modules that a host drives GPUs with, by the vendor of the card. */
struct display_module {
	unsigned int vendor;
	const char *module;
};

static const struct display_module display_modules[] = {
	{0x10de, "nouveau"},
	{0x10de, "nvidia"},
	{0x10de, "nvidia_current"}, /* Debian's name for it */
	{0x1002, "amdgpu"},
	{0x1002, "radeon"},
	{0x8086, "i915"},
	{0x8086, "xe"},
};

#define DISPLAY_MODULES (sizeof(display_modules) / sizeof(display_modules[0]))

const char *display_module_next(unsigned int vendor, const char *after)
{
	bool found = !after;

	for (size_t i = 0; i < DISPLAY_MODULES; i++) {
		const struct display_module *entry = &display_modules[i];

		if (found && entry->vendor == vendor)
			return entry->module;
		found = found || strcmp(entry->module, after) == 0;
	}
	return NULL;
}

static bool drives_a_gpu_here(
	const struct doctor *doctor, const char *module, unsigned int *ret_vendor)
{
	for (size_t i = 0; i < DISPLAY_MODULES; i++) {
		if (strcmp(display_modules[i].module, module) != 0)
			continue;
		*ret_vendor = display_modules[i].vendor;
		for (size_t k = 0; k < doctor->host.count; k++) {
			if (doctor->host.items[k].vendor_id == *ret_vendor &&
				pci_is_display(&doctor->host.items[k]))
				return true;
		}
	}
	return false;
}

static bool is_blocked(const struct doctor *doctor, const char *module)
{
	for (size_t i = 0; i < doctor->modprobe.count; i++) {
		const struct modprobe_line *line = &doctor->modprobe.lines[i];

		if (strcmp(line->module, module) == 0 && modprobe_line_blocks(line))
			return true;
	}
	return false;
}

const char *display_module_find(const struct doctor *doctor, unsigned int vendor)
{
	const char *module = NULL;

	while ((module = display_module_next(vendor, module))) {
		if (doctor->has_modules && module_files_have(&doctor->modules, module) &&
			!is_blocked(doctor, module))
			return module;
	}
	return NULL;
}

const char *display_module_left_behind(
	const struct doctor *doctor, unsigned int vendor, char *ret_release, size_t size)
{
	cleanup(names_done) struct names releases = {0};
	const char *found = NULL;

	(void)folder_list(&doctor->context->kernel.root, "lib/modules", &releases);
	for (size_t i = 0; i < releases.count && !found && doctor->has_modules; i++) {
		cleanup(module_files_done) struct module_files files = {0};
		const char *module = NULL;

		if (module_files_read(
			    &doctor->context->kernel.root, releases.names[i], &files, NULL) < 0)
			continue;
		while (!found && (module = display_module_next(vendor, module))) {
			if (module_files_have(&files, module) && !is_blocked(doctor, module) &&
				!module_files_have(&doctor->modules, module))
				found = module;
		}
		snprintf(ret_release, size, "%s", releases.names[i]);
	}
	return found;
}

/* What a line that blocks says, as far as that matters: "options nouveau modeset=0". */
static void line_format(const struct modprobe_line *line, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s %s%s", modprobe_kind_name(line->kind), line->module,
		line->kind == MODPROBE_OPTIONS ? " modeset=0" : "");
}

static void check_display_line(
	struct doctor *doctor, const struct modprobe_line *line, unsigned int vendor)
{
	char release[96];
	const char *alternative = display_module_find(doctor, vendor);
	char text[128];

	line_format(line, text, sizeof(text));
	if (!alternative)
		alternative = display_module_left_behind(doctor, vendor, release, sizeof(release));

	if (strncmp(line->path, "run/", 4) == 0 && is_own(line)) {
		check_add(&doctor->list, CHECK_INFO, "driver_blacklist",
			"/%s:%u keeps %s away while a Windows VM has the card", line->path,
			line->line, line->module);
	} else if (alternative) {
		check_add(&doctor->list, CHECK_INFO, "driver_blacklist",
			"/%s:%u: %s; %s is the card's driver instead", line->path, line->line, text,
			alternative);
	} else {
		check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
			"/%s:%u: %s: the host never gets the card, also when no VM has it",
			line->path, line->line, text);
		if (strncmp(line->path, "etc/", 4) == 0)
			fix_by_setup(doctor);
		else
			fix_line(doctor, line);
	}
}

static bool is_companion(const char *module)
{
	return strcmp(module, "snd_hda_intel") == 0 || strcmp(module, "xhci_hcd") == 0 ||
		strcmp(module, "xhci_pci") == 0;
}

static void check_blocking_line(struct doctor *doctor, const struct modprobe_line *line)
{
	unsigned int vendor;

	if (drives_a_gpu_here(doctor, line->module, &vendor)) {
		check_display_line(doctor, line, vendor);
	} else if (is_companion(line->module)) {
		check_add(&doctor->list, CHECK_WARN, "companion_blacklist",
			"/%s:%u: %s %s takes it from the whole host, and no VM needs that: the "
			"card's own functions are lent with the card",
			line->path, line->line, modprobe_kind_name(line->kind), line->module);
		fix_line(doctor, line);
	}
}

/* The modules of a list as kernel command lines have it, with _ for -. */
static int list_split(const char *list, struct names *ret)
{
	auto_free char *copy = strdup(list ? list : "");
	char *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	for (char *module = copy ? strtok_r(copy, ",", &save) : NULL; r == 0 && module;
		module = strtok_r(NULL, ",", &save)) {
		for (char *dash = strchr(module, '-'); dash; dash = strchr(dash, '-'))
			*dash = '_';
		r = names_add(ret, module);
	}
	return r;
}

static bool is_display_driver(const struct doctor *doctor, const char *module)
{
	unsigned int vendor;

	return drives_a_gpu_here(doctor, module, &vendor);
}

/* Where a list names other modules too, setup leaves it to a person. */
static void fix_list(struct doctor *doctor, const char *name, const char *module, bool mixed)
{
	const struct boot_argument *configured =
		boot_command_line_find(&doctor->command_line, name);
	const char *refresh = boot_loader_refresh_command(&doctor->loader);

	if (mixed && configured && refresh)
		check_fix(&doctor->list,
			"editor /%s  # take %s out of %s= there, then: %s && reboot",
			configured->path, module, name, refresh);
	else
		fix_argument(doctor, name);
}

/* The driver that GPUs of @module's maker have instead, if @modules does not name it as well. */
static const char *find_alternative(
	const struct doctor *doctor, const char *module, const struct names *modules)
{
	unsigned int vendor;
	const char *found = drives_a_gpu_here(doctor, module, &vendor)
		? display_module_find(doctor, vendor)
		: NULL;

	return found && !names_have(modules, found) ? found : NULL;
}

static void check_blacklisted(struct doctor *doctor, const char *name, const struct names *modules,
	const char *module, bool mixed)
{
	const char *value = kernel_arguments_get(&doctor->command_line.running, name);
	const char *alternative = find_alternative(doctor, module, modules);

	if (alternative) {
		check_add(&doctor->list, CHECK_INFO, "driver_blacklist",
			"kernel command line: %s=%s; %s is the card's driver instead", name, value,
			alternative);
		return;
	}
	check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
		"kernel command line: %s=%s keeps %s from the host", name, value, module);
	fix_list(doctor, name, module, mixed);
}

/* modprobe.blacklist= and module_blacklist= of the kernel command line that runs. */
static void check_blacklist_argument(struct doctor *doctor, const char *name)
{
	const char *value = kernel_arguments_get(&doctor->command_line.running, name);
	cleanup(names_done) struct names modules = {0};
	size_t gpus = 0;

	if (list_split(value, &modules) < 0)
		doctor->list.out_of_memory = true;
	for (size_t i = 0; i < modules.count; i++)
		gpus += is_display_driver(doctor, modules.names[i]);
	for (size_t i = 0; i < modules.count; i++) {
		if (is_display_driver(doctor, modules.names[i]) || is_companion(modules.names[i]))
			check_blacklisted(
				doctor, name, &modules, modules.names[i], gpus < modules.count);
	}
}

/* "nouveau.modeset=0": loaded, it takes no card. */
static void check_modeset_argument(struct doctor *doctor, const struct display_module *entry)
{
	const char *used = display_module_find(doctor, entry->vendor);
	const char *value;
	char name[64];

	snprintf(name, sizeof(name), "%s.modeset", entry->module);
	value = kernel_arguments_get(&doctor->command_line.running, name);
	if (!value || strcmp(value, "0") != 0 || !is_display_driver(doctor, entry->module) ||
		(used && strcmp(used, entry->module) != 0))
		return;
	check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
		"kernel command line: %s=0: %s takes no card of the host", name, entry->module);
	fix_argument(doctor, name);
}

/* NVIDIA's own driver does not mind it. */
static void check_nomodeset(struct doctor *doctor)
{
	const char *module = NULL;

	if (!kernel_arguments_get(&doctor->command_line.running, "nomodeset"))
		return;
	for (size_t i = 0; i < doctor->host.count && !module; i++) {
		if (pci_is_display(&doctor->host.items[i]))
			module = display_module_find(doctor, doctor->host.items[i].vendor_id);
		if (module && strncmp(module, "nvidia", strlen("nvidia")) == 0)
			module = NULL;
	}
	if (!module)
		return;
	check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
		"kernel command line: with nomodeset %s takes no card of the host", module);
	fix_boot_argument(doctor, "nomodeset");
}

static void check_modeset_arguments(struct doctor *doctor)
{
	for (size_t i = 0; i < DISPLAY_MODULES; i++)
		check_modeset_argument(doctor, &display_modules[i]);
	check_nomodeset(doctor);
}

static void check_blacklists(struct doctor *doctor)
{
	size_t before = doctor->list.count;

	for (size_t i = 0; i < doctor->modprobe.count; i++) {
		if (modprobe_line_blocks(&doctor->modprobe.lines[i]))
			check_blocking_line(doctor, &doctor->modprobe.lines[i]);
	}
	check_blacklist_argument(doctor, "modprobe.blacklist");
	check_blacklist_argument(doctor, "module_blacklist");
	check_modeset_arguments(doctor);
	if (doctor->list.count == before)
		check_add(&doctor->list, CHECK_PASS, "driver_blacklist",
			"no blacklist keeps a GPU's drivers from the host");
}

/* ---- modules named to be loaded at boot */

static void check_boot_module(
	struct doctor *doctor, const char *path, unsigned int line, const char *module)
{
	if (strcmp(module, "vfio_virqfd") == 0)
		check_add(&doctor->list, CHECK_NOTICE, "modules_at_boot",
			"/%s:%u: vfio_virqfd is part of vfio since Linux 6.2: the line does nothing",
			path, line);
	else if (is_vfio_module(module))
		check_add(&doctor->list, CHECK_INFO, "modules_at_boot",
			"/%s:%u: %s is loaded at boot: not needed, a VM's start does it", path,
			line, module);
}

static void check_boot_modules_file(struct doctor *doctor, const char *path)
{
	const struct file_read_options options = {.max = 64 * 1024};
	auto_free char *text = NULL;
	char *rest, *line;
	unsigned int number = 0;
	size_t length;

	if (file_read(&doctor->context->kernel.root, path, &options, &text, &length, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *module = text_trim(line);

		number++;
		module[strcspn(module, " \t")] = '\0';
		for (char *dash = strchr(module, '-'); dash; dash = strchr(dash, '-'))
			*dash = '_';
		check_boot_module(doctor, path, number, module);
	}
}

static void check_boot_modules(struct doctor *doctor)
{
	cleanup(names_done) struct names names = {0};
	char path[512];

	check_boot_modules_file(doctor, "etc/modules");
	(void)folder_list(&doctor->context->kernel.root, "etc/modules-load.d", &names);
	for (size_t i = 0; i < names.count; i++) {
		snprintf(path, sizeof(path), "etc/modules-load.d/%s", names.names[i]);
		/* Debian's modules.conf is a link to /etc/modules */
		if (strcmp(names.names[i], "modules.conf") != 0 &&
			strcmp(names.names[i], "gpu-ferry.conf") != 0)
			check_boot_modules_file(doctor, path);
	}
}

static void check_unread(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->modprobe.unread.count; i++)
		check_add(&doctor->list, CHECK_SKIP, "modprobe_files", "%s",
			doctor->modprobe.unread.names[i]);
}

void doctor_check_modules(struct doctor *doctor)
{
	checklist_section(&doctor->list, "MODULES");
	check_vfio_module(doctor);
	check_vfio_blocked(doctor);
	check_ids(doctor);
	check_blacklists(doctor);
	check_boot_modules(doctor);
	check_unread(doctor);
}
