/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the modules of the host, and what keeps the host from its card. */

#include "doctor.h"

#include "conf/host/kernel_arguments.h"
#include "conf/text.h"
#include "hooks/host/gpu_drivers.h"
#include "hooks/host/own_files.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/operation/binding.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The characters of a path that no shell changes. */
#define PLAIN TEXT_LETTERS TEXT_DIGITS "/._-"

/* Appends @text as a pattern of sed, with any blanks where it has some; of a module's name - and _
 * are the same. False for what is better edited by hand: quotes, and characters that are none. */
static bool add_pattern(FILE *stream, const char *text, bool is_module)
{
	for (; *text; text++) {
		if (*text == ' ' || *text == '\t') {
			fputs("\\s\\+", stream);
			text += strspn(text, " \t") - 1;
		} else if (*text == '\'' || iscntrl((unsigned char)*text)) {
			return false;
		} else if (is_module && (*text == '_' || *text == '-')) {
			fputs("[-_]", stream);
		} else {
			fprintf(stream, strchr(".[]*^$/\\", *text) ? "\\%c" : "%c", *text);
		}
	}
	return true;
}

/* What sed finds the line by, malloced; NULL where there is no such pattern. A line of the
 * initramfs's list begins with the module. */
static char *line_pattern(const struct modprobe_line *line)
{
	char *pattern = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&pattern, &size);
	bool good = line->line_count == 1 && !line->path[strspn(line->path, PLAIN)];

	if (!stream)
		return NULL;
	fputs("^\\s*", stream);
	if (strcmp(line->path, INITRAMFS_MODULES_PATH) != 0)
		fprintf(stream, "%s\\s\\+", modprobe_kind_name(line->kind));
	good = good && add_pattern(stream, line->module, true);
	if (*line->arguments)
		fputs("\\s\\+", stream);
	good = good && add_pattern(stream, line->arguments, false);
	fputs("\\s*$", stream);
	if (fclose(stream) == 0 && good)
		return pattern;
	free(pattern);
	return NULL;
}

/* The fix that removes the line, by its words: a number may be another line's by then. A file of a
 * package is hidden by an empty file of the same name in /etc/modprobe.d. */
static void fix_line(struct doctor *doctor, const struct modprobe_line *line)
{
	auto_free char *pattern = line_pattern(line);
	bool is_link = path_is_link(&doctor->context->kernel.root, line->path);

	if (strncmp(line->path, "etc/", 4) != 0)
		check_fix(&doctor->list,
			"touch /etc/modprobe.d/%s && update-initramfs -u -k all && reboot",
			strrchr(line->path, '/') + 1);
	else if (pattern)
		check_fix(&doctor->list,
			"sed -i %s'/%s/d' /%s && update-initramfs -u -k all && reboot",
			is_link ? "--follow-symlinks " : "", pattern, line->path);
	else
		check_fix(&doctor->list,
			"editor /%s  # take out: %s %s%s%s; then: update-initramfs -u -k all && "
			"reboot",
			line->path, modprobe_kind_name(line->kind), line->module,
			*line->arguments ? " " : "", line->arguments);
}

/* By setup, where it does it; else by hand. What only the running kernel was given is gone with the
 * next boot. */
static void fix_obstacle(struct doctor *doctor, const struct obstacle *obstacle)
{
	const char *refresh = boot_loader_refresh_command(&doctor->loader);
	int name_length = (int)strcspn(obstacle->text, "=");
	char why[OBSTACLE_WHY_SIZE];

	if (obstacle_setup_removes(obstacle, why, sizeof(why)) ||
		(obstacle->is_ours && obstacle->line &&
			strncmp(obstacle->line->path, "etc/", 4) == 0))
		check_fix(&doctor->list, "gpu-ferry setup --mode share --apply && reboot");
	else if (obstacle->line)
		fix_line(doctor, obstacle->line);
	else if (obstacle->argument && obstacle->is_mixed && refresh)
		check_fix(&doctor->list,
			"editor /%s  # take %s out of %.*s= there, then: %s && reboot",
			obstacle->argument->path, obstacle->module, name_length, obstacle->text,
			refresh);
	else
		check_fix(&doctor->list, "reboot  # without %.*s on the kernel command line",
			name_length, obstacle->text);
}

/* "/etc/modprobe.d/vfio.conf:1: ", or "kernel command line: " where it is in effect. */
static void format_place(const struct obstacle *obstacle, char *buffer, size_t size)
{
	if (obstacle->line)
		snprintf(buffer, size, "/%s:%u: ", obstacle->line->path, obstacle->line->line);
	else if (obstacle->running)
		snprintf(buffer, size, "kernel command line: ");
	else
		snprintf(buffer, size, "/%s:%u: ", obstacle->argument->path,
			obstacle->argument->line);
}

/* ---- the vfio modules */

static void fix_missing_module(struct doctor *doctor)
{
	const char *release = doctor->platform.release;

	check_fix(&doctor->list, "apt install --reinstall %s-%s", kernel_package(release), release);
}

static void check_vfio_module(struct doctor *doctor)
{
	struct checklist *list = &doctor->list;

	if (pci_driver_exists(&doctor->context->kernel, "vfio-pci")) {
		check_add(list, CHECK_PASS, "vfio_module", "vfio-pci is loaded");
	} else if (doctor->has_modules && module_files_have(&doctor->modules, "vfio_pci")) {
		check_add(list, CHECK_PASS, "vfio_module",
			"vfio-pci is installed for the running kernel; it is loaded when a VM "
			"starts");
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
			"the modules of the kernel (/lib/modules) cannot be read");
	}
}

#define UNSAFE_INTERRUPTS                                                                          \
	"a guest can send the host interrupts that are not its own; only a processor without "     \
	"interrupt remapping needs it"

static bool is_yes(const char *text)
{
	return *text && strchr("1yY", *text);
}

/* In a file, or already given to the module that runs. */
static void check_unsafe_interrupts(struct doctor *doctor)
{
	char value[8];

	for (size_t i = 0; i < doctor->modprobe.count; i++) {
		const struct modprobe_line *line = &doctor->modprobe.lines[i];
		auto_free char *option = line->kind == MODPROBE_OPTIONS
			? modprobe_option_value(line->arguments, "allow_unsafe_interrupts")
			: NULL;

		if (!option || !is_yes(option))
			continue;
		check_add(&doctor->list, CHECK_NOTICE, "unsafe_interrupts",
			"/%s:%u: allow_unsafe_interrupts=1: " UNSAFE_INTERRUPTS, line->path,
			line->line);
		return;
	}
	if (kernel_read(&doctor->context->kernel,
		    "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", value,
		    sizeof(value)) > 0 &&
		is_yes(value))
		check_add(&doctor->list, CHECK_NOTICE, "unsafe_interrupts",
			"allow_unsafe_interrupts is on: " UNSAFE_INTERRUPTS);
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

/* Appends " 0000:2b:00.0" for each function that has the id. Returns the number of cards they are
 * on. */
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

/* One ids=, and where it was found. */
struct static_ids {
	char where[512]; /* "/etc/modprobe.d/vfio.conf:1: options vfio-pci" */
	const struct obstacle *obstacle;
};

static void check_twins(struct doctor *doctor, const struct static_ids *ids, const char *text)
{
	char devices[512] = "";
	struct device_id id;

	if (!id_parse(text, &id) || id_devices(doctor, &id, devices, sizeof(devices)) < 2)
		return;
	check_add(&doctor->list, CHECK_WARN, "static_twins",
		"%s ids=%.9s matches all of%s: identical cards cannot be told apart by id",
		ids->where, text, devices);
	fix_obstacle(doctor, ids->obstacle);
}

static void check_devices(struct doctor *doctor, const struct static_ids *ids, const char *devices)
{
	const char *text = ids->obstacle->ids;

	if (!*devices) {
		check_add(&doctor->list, CHECK_NOTICE, "static_ids",
			"%s ids=%s matches no device of this host", ids->where, text);
	} else if (ids->obstacle->is_ours) {
		check_add(&doctor->list, CHECK_INFO, "static_ids",
			"%s ids=%s: dedicated to VMs by setup:%s", ids->where, text, devices);
	} else {
		check_add(&doctor->list, CHECK_WARN, "static_ids",
			"%s ids=%s takes cards at %s, so the host cannot use them:%s", ids->where,
			text, any_is_taken(doctor, text) ? "boot" : "the next boot", devices);
		fix_obstacle(doctor, ids->obstacle);
	}
}

static void check_static_ids(struct doctor *doctor, const struct static_ids *ids)
{
	auto_free char *copy = strdup(ids->obstacle->ids);
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
	strcpy(copy, ids->obstacle->ids);
	for (char *text = strtok_r(copy, ",", &save); text; text = strtok_r(NULL, ",", &save))
		check_twins(doctor, ids, text);
}

static void check_ids(struct doctor *doctor)
{
	size_t before = doctor->list.count;

	for (size_t i = 0; i < doctor->obstacles.count; i++) {
		struct static_ids ids = {.obstacle = &doctor->obstacles.items[i]};
		const struct boot_argument *argument = ids.obstacle->argument;

		if (ids.obstacle->kind != OBSTACLE_IDS || !*ids.obstacle->ids)
			continue;
		if (ids.obstacle->line)
			snprintf(ids.where, sizeof(ids.where), "/%s:%u: options vfio-pci",
				ids.obstacle->line->path, ids.obstacle->line->line);
		else if (argument)
			snprintf(ids.where, sizeof(ids.where), "/%s:%u: vfio-pci", argument->path,
				argument->line);
		else
			snprintf(ids.where, sizeof(ids.where), "kernel command line: vfio-pci");
		check_static_ids(doctor, &ids);
	}
	if (doctor->list.count == before)
		check_add(&doctor->list, CHECK_PASS, "static_ids",
			"no vfio-pci ids= takes a device at boot");
}

bool is_taken_at_boot(const struct doctor *doctor, const struct pci_function *function)
{
	for (size_t i = 0; i < doctor->obstacles.count; i++) {
		const struct obstacle *obstacle = &doctor->obstacles.items[i];

		if (obstacle->kind == OBSTACLE_IDS && (obstacle->line || obstacle->argument) &&
			ids_have(obstacle->ids, function))
			return true;
	}
	return false;
}

/* ---- blacklists */

static bool is_blocked(const struct doctor *doctor, const char *module)
{
	for (size_t i = 0; i < doctor->modprobe.count; i++) {
		const struct modprobe_line *line = &doctor->modprobe.lines[i];

		if (strcmp(line->module, module) == 0 && modprobe_line_blocks(line))
			return true;
	}
	return false;
}

const char *display_module_find(const struct doctor *doctor, uint16_t vendor)
{
	const struct gpu_driver *driver = NULL;
	char file[GPU_DRIVER_FILE_SIZE];

	while ((driver = gpu_driver_next(vendor, driver))) {
		if (doctor->has_modules && gpu_driver_file(&doctor->modules, driver, file) &&
			!is_blocked(doctor, driver->module) && !is_blocked(doctor, file))
			return driver->module;
	}
	return NULL;
}

const char *display_module_left_behind(
	const struct doctor *doctor, uint16_t vendor, char *ret_release, size_t size)
{
	cleanup(names_done) struct names releases = {0};
	const char *found = NULL;

	(void)folder_list(&doctor->context->kernel.root, "lib/modules", &releases);
	for (size_t i = 0; i < releases.count && !found && doctor->has_modules; i++) {
		cleanup(module_files_done) struct module_files files = {0};
		const struct gpu_driver *driver = NULL;

		if (module_files_read(
			    &doctor->context->kernel.root, releases.names[i], &files, NULL) < 0)
			continue;
		while (!found && (driver = gpu_driver_next(vendor, driver))) {
			char file[GPU_DRIVER_FILE_SIZE];

			if (gpu_driver_file(&files, driver, file) &&
				!is_blocked(doctor, driver->module) && !is_blocked(doctor, file) &&
				!gpu_driver_file(&doctor->modules, driver, file))
				found = driver->module;
		}
		snprintf(ret_release, size, "%s", releases.names[i]);
	}
	return found;
}

/* A line of modprobe.d, or an argument. */
static void check_driver_kept(struct doctor *doctor, const struct obstacle *obstacle)
{
	char place[512];

	format_place(obstacle, place, sizeof(place));
	if (obstacle->is_ours && obstacle->line && strncmp(obstacle->line->path, "run/", 4) == 0) {
		check_add(&doctor->list, CHECK_INFO, "driver_blacklist",
			"/%s:%u blocks %s while a Windows VM has the card", obstacle->line->path,
			obstacle->line->line, obstacle->module);
		return;
	}
	if (obstacle->instead) {
		check_add(&doctor->list, CHECK_INFO, "driver_blacklist",
			"%s%s; %s is the card's driver instead", place, obstacle->text,
			obstacle->instead);
		return;
	}
	if (obstacle->line)
		check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
			"%s%s: the host never gets the card, even when no VM has it", place,
			obstacle->text);
	else if (obstacle->kind == OBSTACLE_MODESET)
		check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
			"%s%s: %s does not use any card of the host", place, obstacle->text,
			obstacle->module);
	else
		check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
			"%s%s keeps %s from the host%s", place, obstacle->text, obstacle->module,
			obstacle->running ? "" : ", from the next boot on");
	fix_obstacle(doctor, obstacle);
}

static bool is_dedicated(const struct doctor *doctor, const struct pci_function *function)
{
	for (size_t i = 0; i < doctor->obstacles.count; i++) {
		const struct obstacle *obstacle = &doctor->obstacles.items[i];

		if (obstacle->kind == OBSTACLE_IDS && ids_have(obstacle->ids, function))
			return true;
	}
	return false;
}

/* What setup --windows warned about before it did it. */
static void check_dark(struct doctor *doctor)
{
	cleanup(names_done) struct names modules = {0};
	const struct obstacle *ours = NULL;
	char text[GPU_DARK_SIZE];

	for (size_t i = 0; i < doctor->obstacles.count; i++) {
		const struct obstacle *obstacle = &doctor->obstacles.items[i];

		if (obstacle->kind != OBSTACLE_BLACKLIST || !obstacle->is_ours || !obstacle->line ||
			strcmp(obstacle->line->path, SETUP_BLACKLIST_PATH) != 0)
			continue;
		ours = obstacle;
		if (names_add_once(&modules, obstacle->module) < 0)
			doctor->list.out_of_memory = true;
	}
	for (size_t i = 0; ours && i < doctor->host.count; i++) {
		const struct pci_function *function = &doctor->host.items[i];

		if (is_dedicated(doctor, function) ||
			!gpu_goes_dark(doctor->context, function, &modules, doctor->names, text))
			continue;
		check_add(&doctor->list, CHECK_WARN, "driver_blacklist", "%s", text);
		fix_obstacle(doctor, ours);
	}
}

static void check_companion(struct doctor *doctor, const struct obstacle *obstacle)
{
	if (!obstacle->line) {
		check_driver_kept(doctor, obstacle);
		return;
	}
	check_add(&doctor->list, CHECK_WARN, "companion_blacklist",
		"/%s:%u: %s blocks it on the whole host, and no VM needs that: the functions of "
		"the card are lent with the card",
		obstacle->line->path, obstacle->line->line, obstacle->text);
	fix_obstacle(doctor, obstacle);
}

/* Warns about nomodeset, which NVIDIA's own driver ignores. */
static void check_nomodeset(struct doctor *doctor, const struct obstacle *obstacle)
{
	const char *module = NULL;

	for (size_t i = 0; i < doctor->host.count && !module; i++) {
		if (pci_is_display(&doctor->host.items[i]))
			module = display_module_find(doctor, doctor->host.items[i].vendor_id);
		if (module && gpu_driver_find(module)->is_nvidias_own)
			module = NULL;
	}
	if (!module || !obstacle->running)
		return;
	check_add(&doctor->list, CHECK_WARN, "driver_blacklist",
		"kernel command line: with nomodeset %s does not use any card of the host", module);
	fix_boot_argument(doctor, "nomodeset");
}

static void check_blacklists(struct doctor *doctor)
{
	size_t before = doctor->list.count;

	for (size_t i = 0; i < doctor->obstacles.count; i++) {
		const struct obstacle *obstacle = &doctor->obstacles.items[i];

		switch (obstacle->kind) {
		case OBSTACLE_IDS:
			break;
		case OBSTACLE_BLACKLIST:
		case OBSTACLE_MODESET:
			check_driver_kept(doctor, obstacle);
			break;
		case OBSTACLE_NOMODESET:
			check_nomodeset(doctor, obstacle);
			break;
		case OBSTACLE_COMPANION:
			check_companion(doctor, obstacle);
			break;
		}
	}
	check_dark(doctor);
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
			"/%s:%u: vfio_virqfd is part of vfio since Linux 6.2: the line has no "
			"effect",
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
		module_name_underscores(module);
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
	check_unsafe_interrupts(doctor);
	check_ids(doctor);
	check_blacklists(doctor);
	check_boot_modules(doctor);
	check_unread(doctor);
}
