/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Finds the boot loader that started this host and reads the kernel arguments that it is set to
 * give.
 */

#include "boot_loader.h"

#include "grub_defaults.h"
#include "kernel_arguments.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define MAX_BYTES (256 * 1024)

/* systemd.io/BOOT_LOADER_INTERFACE: 4 bytes of attributes, then UTF-16. */
#define LOADER_INFO "sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
#define PROXMOX_BOOT_UUIDS "etc/kernel/proxmox-boot-uuids"

/* grub-mkconfig's order for an entry that is not the recovery one (/etc/grub.d/10_linux). */
static const char *const grub_variables[] = {"GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"};

#define GRUB_VARIABLE_COUNT (sizeof(grub_variables) / sizeof(grub_variables[0]))

void boot_loader_info_parse(const char *variable, size_t length, char *ret, size_t size)
{
	size_t used = 0;

	for (size_t i = 4; i < length && used + 1 < size && variable[i]; i += 2)
		ret[used++] = variable[i];
	ret[used] = '\0';
}

static bool has_boot_partitions(const struct root *root)
{
	char text[4096];
	ssize_t length = file_read_attribute(root, PROXMOX_BOOT_UUIDS, text, sizeof(text));

	return length == -EFBIG || (length > 0 && *text_trim(text));
}

bool boot_loader_is_systemd_boot(const struct boot_loader *loader)
{
	return strncmp(loader->info, "systemd-boot", strlen("systemd-boot")) == 0;
}

/* Debian's GRUB 2.06 does not set LoaderInfo; systemd-boot always does. */
static enum boot_loader_kind kind_find(const struct root *root, const struct boot_loader *loader)
{
	/* without configured boot partitions `proxmox-boot-tool refresh` changes nothing and only
	 * prints a warning (zz-proxmox-boot) */
	if (boot_loader_is_systemd_boot(loader))
		return loader->proxmox_boot_tool ? BOOT_LOADER_SYSTEMD_BOOT : BOOT_LOADER_UNKNOWN;
	if (file_exists(root, GRUB_DEFAULTS_PATH))
		return BOOT_LOADER_GRUB;
	/* the EFI variables cannot be read, as in a captured tree */
	if (loader->proxmox_boot_tool && !loader->info[0] &&
		file_exists(root, KERNEL_COMMAND_LINE_PATH))
		return BOOT_LOADER_SYSTEMD_BOOT;
	return BOOT_LOADER_UNKNOWN;
}

void boot_loader_find(const struct root *root, struct boot_loader *ret)
{
	char variable[256];
	ssize_t length;

	*ret = (struct boot_loader){
		.efi = file_exists(root, "sys/firmware/efi"),
		.proxmox_boot_tool = has_boot_partitions(root),
	};
	length = file_read_attribute(root, LOADER_INFO, variable, sizeof(variable));
	boot_loader_info_parse(
		variable, length > 0 ? (size_t)length : 0, ret->info, sizeof(ret->info));
	ret->kind = kind_find(root, ret);
}

const char *boot_loader_refresh_command(const struct boot_loader *loader)
{
	if (loader->kind == BOOT_LOADER_UNKNOWN)
		return NULL;
	/* update-grub alone writes a file that does not reach the boot partitions */
	return loader->proxmox_boot_tool || loader->kind == BOOT_LOADER_SYSTEMD_BOOT
		? "proxmox-boot-tool refresh"
		: "update-grub";
}

static void argument_done(struct boot_argument *argument)
{
	free(argument->text);
	free(argument->path);
}

static void arguments_done(struct boot_argument *arguments, size_t count)
{
	for (size_t i = 0; i < count; i++)
		argument_done(&arguments[i]);
	free(arguments);
}

void boot_command_line_done(struct boot_command_line *line)
{
	arguments_done(line->configured, line->configured_count);
	names_done(&line->running);
	*line = (struct boot_command_line){0};
}

/* A growing list of arguments, each with the place where it was set. */
struct placed {
	struct boot_argument *items;
	size_t count;
};

static void placed_done(struct placed *placed)
{
	arguments_done(placed->items, placed->count);
}

/* Takes the path and lines of @place, not its text. */
static int placed_add(struct placed *placed, const char *text, const struct boot_argument *place)
{
	struct boot_argument argument = {.text = strdup(text),
		.path = strdup(place->path),
		.line = place->line,
		.line_count = place->line_count};
	struct boot_argument *added =
		argument.text && argument.path ? LIST_ADD(placed->items, placed->count) : NULL;

	if (!added) {
		argument_done(&argument);
		return -ENOMEM;
	}
	*added = argument;
	return 0;
}

static const struct boot_argument *placed_find(const struct placed *placed, const char *text)
{
	for (size_t i = 0; i < placed->count; i++) {
		if (strcmp(placed->items[i].text, text) == 0)
			return &placed->items[i];
	}
	return NULL;
}

/* Splits @value into words. A word that @before has already keeps its place there; a new word gets
 * @place. */
static int placed_split(const struct placed *before, const char *value,
	const struct boot_argument *place, struct placed *ret)
{
	cleanup(names_done) struct names words = {0};
	cleanup(placed_done) struct placed placed = {0};
	int r = kernel_arguments_split(value, &words);

	for (size_t i = 0; r == 0 && i < words.count; i++) {
		const struct boot_argument *known = placed_find(before, words.names[i]);

		r = placed_add(&placed, words.names[i], known ? known : place);
	}
	if (r < 0)
		return r;
	*ret = placed;
	placed = (struct placed){0};
	return 0;
}

/* The words of GRUB's variables, as far as its files have been read. */
struct grub_reading {
	struct placed variables[GRUB_VARIABLE_COUNT];
};

static int grub_assigned(void *context, const struct grub_variable *variable)
{
	struct grub_reading *reading = context;
	const struct boot_argument place = {
		.path = variable->path, .line = variable->line, .line_count = variable->line_count};

	for (size_t i = 0; i < GRUB_VARIABLE_COUNT; i++) {
		struct placed after = {0};
		int r;

		if (strcmp(variable->name, grub_variables[i]) != 0)
			continue;
		r = placed_split(&reading->variables[i], variable->value, &place, &after);
		if (r < 0)
			return r;
		placed_done(&reading->variables[i]);
		reading->variables[i] = after;
	}
	return 0;
}

static int grub_file_read(const struct root *root, const char *path, struct grub_defaults *defaults,
	struct error *unknown)
{
	struct file_read_options options = {.max = MAX_BYTES};
	auto_free char *text = NULL;
	int r = file_read(root, path, &options, &text, NULL, unknown);

	if (r < 0)
		return r;
	r = grub_defaults_parse(defaults, path, text);
	return r < 0 ? error_set_errno(unknown, r, "read /%s", path) : 0;
}

/* grub-mkconfig reads "*.cfg" as the shell sorts it. */
static int grub_folder_read(
	const struct root *root, struct grub_defaults *defaults, struct error *unknown)
{
	cleanup(names_done) struct names names = {0};
	int r = folder_list(root, GRUB_DEFAULTS_FOLDER, &names);

	if (r < 0)
		return r == -ENOENT ? 0
				    : error_set_errno(unknown, r, "read /" GRUB_DEFAULTS_FOLDER);
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		const char *dot = strrchr(names.names[i], '.');
		char path[sizeof(GRUB_DEFAULTS_FOLDER) + NAME_MAX + 1];

		if (names.names[i][0] == '.' || !dot || strcmp(dot, ".cfg") != 0)
			continue;
		snprintf(path, sizeof(path), GRUB_DEFAULTS_FOLDER "/%s", names.names[i]);
		r = grub_file_read(root, path, defaults, unknown);
	}
	return r;
}

static int grub_check_known(const struct grub_defaults *defaults, struct error *unknown)
{
	for (size_t i = 0; i < GRUB_VARIABLE_COUNT; i++) {
		const struct grub_variable *variable =
			grub_defaults_get(defaults, grub_variables[i]);

		if (variable && !variable->value)
			return error_set(unknown, -EBADMSG,
				"/%s:%u: the value of %s is shell code, which gpu-ferry does not "
				"run",
				variable->path, variable->line, variable->name);
	}
	return 0;
}

static int grub_read(const struct root *root, struct placed *ret, struct error *unknown)
{
	struct grub_reading reading = {0};
	cleanup(grub_defaults_done) struct grub_defaults defaults = {
		.assigned = grub_assigned, .context = &reading};
	int r = grub_file_read(root, GRUB_DEFAULTS_PATH, &defaults, unknown);

	if (r == 0)
		r = grub_folder_read(root, &defaults, unknown);
	if (r == 0)
		r = grub_check_known(&defaults, unknown);
	for (size_t i = 0; i < GRUB_VARIABLE_COUNT; i++) {
		const struct placed *words = &reading.variables[i];

		for (size_t k = 0; r == 0 && k < words->count; k++)
			r = placed_add(ret, words->items[k].text, &words->items[k]);
		placed_done(&reading.variables[i]);
	}
	return r;
}

static int systemd_boot_read(const struct root *root, struct placed *ret, struct error *unknown)
{
	struct file_read_options options = {.max = MAX_BYTES};
	auto_free char *path = strdup(KERNEL_COMMAND_LINE_PATH);
	const struct boot_argument place = {.path = path, .line = 1, .line_count = 1};
	struct placed none = {0};
	auto_free char *text = NULL;
	int r = file_read(root, KERNEL_COMMAND_LINE_PATH, &options, &text, NULL, unknown);

	if (r < 0 || !path)
		return r < 0 ? r : -ENOMEM;
	/* proxmox-boot-tool takes the first line only (zz-proxmox-boot, `head -n 1`) */
	text[strcspn(text, "\n")] = '\0';
	return placed_split(&none, text, &place, ret);
}

static int configured_read(
	const struct root *root, const struct boot_loader *loader, struct boot_command_line *line)
{
	struct placed placed = {0};
	int r = -ENOSYS;

	switch (loader->kind) {
	case BOOT_LOADER_GRUB:
		r = grub_read(root, &placed, &line->unknown);
		break;
	case BOOT_LOADER_SYSTEMD_BOOT:
		r = systemd_boot_read(root, &placed, &line->unknown);
		break;
	case BOOT_LOADER_UNKNOWN:
		error_set(&line->unknown, r,
			boot_loader_is_systemd_boot(loader)
				? "this host boots with systemd-boot, and proxmox-boot-tool does "
				  "not manage its boot partition"
				: "the boot loader of this host is not known");
		break;
	}
	if (r < 0) {
		line->unknown.status = r;
		placed_done(&placed);
		return r == -ENOMEM ? r : 0;
	}
	line->configured = placed.items;
	line->configured_count = placed.count;
	return 0;
}

static int running_read(const struct root *root, struct names *ret)
{
	char text[8192];
	ssize_t length = file_read_attribute(root, "proc/cmdline", text, sizeof(text));

	return length > 0 ? kernel_arguments_split(text, ret) : 0;
}

int boot_command_line_read(const struct root *root, const struct boot_loader *loader,
	struct boot_command_line *ret, struct error *error)
{
	cleanup(boot_command_line_done) struct boot_command_line line = {0};
	int r = configured_read(root, loader, &line);

	if (r == 0)
		r = running_read(root, &line.running);
	if (r < 0)
		return error_set_errno(error, r, "read the kernel command line");
	*ret = line;
	line = (struct boot_command_line){0};
	return 0;
}

const struct boot_argument *boot_command_line_find(
	const struct boot_command_line *line, const char *argument)
{
	for (size_t i = line->configured_count; i-- > 0;) {
		if (kernel_argument_gives(line->configured[i].text, argument))
			return &line->configured[i];
	}
	return NULL;
}

/* 1: the IOMMU is on by default; 0: it is not; -ENOENT: the configuration cannot be read. */
static int configuration_has_iommu(const struct root *root, const char *release)
{
	struct file_read_options options = {.max = 4 * 1024 * 1024};
	char path[256];
	auto_free char *text = NULL;

	if (snprintf(path, sizeof(path), "boot/config-%s", release) >= (int)sizeof(path) ||
		file_read(root, path, &options, &text, NULL, NULL) < 0)
		return -ENOENT;
	/* Debian's kernels have the second one. It leaves out only the graphics in the processor:
	 * that still has an IOMMU group, and only its default mapping differs
	 * (features/x86/intel-iommu-add-kconfig-option-to-exclude-igpu-by-default.patch) */
	return strstr(text, "\nCONFIG_INTEL_IOMMU_DEFAULT_ON=y\n") ||
			strstr(text, "\nCONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n")
		? 1
		: 0;
}

/* How packaged kernels are known to be built: the IOMMU is on in Proxmox's from 6.8 and in Debian's
 * from 5.3. */
static bool version_has_iommu(const char *release)
{
	char *end;
	unsigned long major = strtoul(release, &end, 10);
	unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;

	if (strstr(release, "-pve"))
		return major > 6 || (major == 6 && minor >= 8);
	return strstr(release, "-amd64") && (major > 5 || (major == 5 && minor >= 3));
}

/* The surest sign: the IOMMU is on in the running kernel (drivers/iommu/intel names its units
 * dmarN), although its command line does not set intel_iommu. */
static bool iommu_came_by_itself(const struct root *root)
{
	cleanup(names_done) struct names units = {0};
	cleanup(names_done) struct names running = {0};
	bool is_on = false;

	if (folder_list(root, "sys/class/iommu", &units) < 0 || running_read(root, &running) < 0)
		return false;
	for (size_t i = 0; i < units.count; i++)
		is_on = is_on || strncmp(units.names[i], "dmar", strlen("dmar")) == 0;
	return is_on && !kernel_arguments_get(&running, "intel_iommu");
}

const char *boot_iommu_argument(const struct root *root, bool is_intel)
{
	char release[128] = "";
	int configured;

	if (!is_intel || iommu_came_by_itself(root))
		return NULL;
	if (file_read_attribute(root, "proc/sys/kernel/osrelease", release, sizeof(release)) < 0)
		release[0] = '\0';
	configured = configuration_has_iommu(root, release);
	if (configured > 0 || (configured < 0 && version_has_iommu(release)))
		return NULL;
	return "intel_iommu=on";
}
