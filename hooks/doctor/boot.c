/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the boot loader and the kernel command line. */

#include "doctor.h"

#include "conf/host/kernel_arguments.h"
#include "hooks/host/setup.h"
#include "kmod-helper/base/cleanup.h"
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static bool is_running(const struct doctor *doctor, const char *argument)
{
	return kernel_arguments_give(&doctor->command_line.running, argument);
}

static const char *makers_argument(const struct doctor *doctor)
{
	return boot_iommu_argument(
		&doctor->context->kernel.root, doctor->platform.maker == PROCESSOR_INTEL);
}

const char *boot_missing_argument(const struct doctor *doctor)
{
	const char *needed = makers_argument(doctor);

	return needed && !is_running(doctor, needed) ? needed : NULL;
}

bool boot_is_pending(const struct doctor *doctor, const char *argument)
{
	return boot_command_line_find(&doctor->command_line, argument) &&
		!is_running(doctor, argument);
}

void fix_boot_argument(struct doctor *doctor, const char *argument)
{
	const struct boot_argument *configured =
		boot_command_line_find(&doctor->command_line, argument);
	const char *refresh = boot_loader_refresh_command(&doctor->loader);

	if (configured && refresh && host_setup_takes_argument(argument))
		check_fix(&doctor->list, "gpu-ferry setup --apply && reboot");
	else if (configured && refresh)
		check_fix(&doctor->list, "editor /%s  # take out %s, then: %s && reboot",
			configured->path, configured->text, refresh);
	else
		check_fix(
			&doctor->list, "reboot  # without %s on the kernel command line", argument);
}

void fix_missing_argument(struct doctor *doctor, const char *argument)
{
	if (boot_loader_refresh_command(&doctor->loader))
		check_fix(&doctor->list, "gpu-ferry setup --apply && reboot");
	else
		check_fix(&doctor->list, "reboot  # with %s on the kernel command line", argument);
}

static void check_loader(struct doctor *doctor)
{
	const struct boot_loader *loader = &doctor->loader;

	switch (loader->kind) {
	case BOOT_LOADER_GRUB:
		check_add(&doctor->list, CHECK_INFO, "boot_loader",
			"this host boots with GRUB (%s): /" GRUB_DEFAULTS_PATH ", applied by %s",
			loader->efi ? "EFI" : "BIOS", boot_loader_refresh_command(loader));
		break;
	case BOOT_LOADER_SYSTEMD_BOOT:
		check_add(&doctor->list, CHECK_INFO, "boot_loader",
			"this host boots with systemd-boot: /" KERNEL_COMMAND_LINE_PATH
			", applied by %s",
			boot_loader_refresh_command(loader));
		break;
	case BOOT_LOADER_UNKNOWN:
		check_add(&doctor->list, CHECK_SKIP, "boot_loader",
			"%s: the kernel command line of the next boot is unknown",
			boot_loader_is_systemd_boot(loader)
				? "this host boots with systemd-boot, without proxmox-boot-tool"
				: "neither GRUB's nor systemd-boot's configuration was found");
		break;
	}
}

/* An argument that guides tell people to set, and whether this kernel and processor need it. */
struct argument_check {
	const char *argument;
	bool needed;
	const char *why; /* the reason when it is not needed */
};

static void check_needed(struct doctor *doctor, const char *argument)
{
	const struct boot_argument *configured =
		boot_command_line_find(&doctor->command_line, argument);
	bool running = is_running(doctor, argument);
	bool known = doctor->command_line.unknown.status == 0;

	if (running && (configured || !known)) {
		check_add(&doctor->list, CHECK_PASS, "command_line", "%s is set, and in effect",
			argument);
	} else if (running) {
		check_add(&doctor->list, CHECK_WARN, "command_line",
			"%s is in effect, but no longer set: the next boot will not have it",
			argument);
		check_fix(&doctor->list, "gpu-ferry setup --apply");
	} else if (configured) {
		check_add(&doctor->list, CHECK_WARN, "command_line",
			"%s is set (/%s:%u), reboot pending", argument, configured->path,
			configured->line);
		check_fix(&doctor->list, "reboot");
	} else {
		check_add(&doctor->list, CHECK_WARN, "command_line",
			"%s is not set: this kernel (%s) needs it", argument,
			doctor->platform.release);
		fix_missing_argument(doctor, argument);
	}
}

static void check_not_needed(struct doctor *doctor, const struct argument_check *check)
{
	const struct boot_argument *configured =
		boot_command_line_find(&doctor->command_line, check->argument);
	bool running = is_running(doctor, check->argument);

	if (!running && !configured)
		check_add(&doctor->list, CHECK_PASS, "command_line", "%s is not set, and %s",
			check->argument, check->why);
	else if (configured)
		check_add(&doctor->list, CHECK_INFO, "command_line", "%s is set (/%s:%u)%s; %s",
			check->argument, configured->path, configured->line,
			running ? "" : ", reboot pending", check->why);
	else
		check_add(&doctor->list, CHECK_INFO, "command_line", "%s is in effect; %s",
			check->argument, check->why);
}

static void check_argument(struct doctor *doctor, const struct argument_check *check)
{
	if (check->needed)
		check_needed(doctor, check->argument);
	else
		check_not_needed(doctor, check);
}

static void check_makers_argument(struct doctor *doctor)
{
	const char *needed = makers_argument(doctor);

	switch (doctor->platform.maker) {
	case PROCESSOR_INTEL:
		check_argument(doctor,
			&(struct argument_check){"intel_iommu=on", needed != NULL,
				"not needed on this kernel: Intel's IOMMU is on by default"});
		break;
	case PROCESSOR_AMD:
		check_argument(doctor,
			&(struct argument_check){"amd_iommu=on", false,
				"not needed on any kernel: AMD's IOMMU is on by default"});
		break;
	case PROCESSOR_OTHER:
		break;
	}
}

/* Warns when the next boot would leave the IOMMU off. firmware.c reports it when this boot did. */
static void check_off_argument(struct doctor *doctor)
{
	static const char *const arguments[] = {"intel_iommu=off", "amd_iommu=off", "iommu=off"};

	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		const struct boot_argument *configured =
			boot_command_line_find(&doctor->command_line, arguments[i]);

		if (!configured || is_running(doctor, arguments[i]))
			continue;
		check_add(&doctor->list, CHECK_WARN, "command_line",
			"%s is set (/%s:%u): the next boot leaves the IOMMU off", arguments[i],
			configured->path, configured->line);
		fix_boot_argument(doctor, arguments[i]);
	}
}

/* Other arguments that guides tell people to set. */
struct advised_argument {
	const char *argument;
	enum check_level level;
	const char *meaning;
};

#define CONSOLE_LEAVES "not needed: a VM's start takes the host's console off the card"

static const struct advised_argument advised_arguments[] = {
	{"pcie_acs_override", CHECK_NOTICE,
		"the kernel splits IOMMU groups that the hardware does not keep apart: a guest may "
		"reach devices of the host past the IOMMU"},
	{"video=efifb:off", CHECK_INFO, CONSOLE_LEAVES},
	{"video=vesafb:off", CHECK_INFO, CONSOLE_LEAVES},
	{"video=simplefb:off", CHECK_INFO, CONSOLE_LEAVES},
	{"initcall_blacklist=sysfb_init", CHECK_INFO, CONSOLE_LEAVES},
};

static void check_advised(struct doctor *doctor)
{
	for (size_t i = 0; i < sizeof(advised_arguments) / sizeof(advised_arguments[0]); i++) {
		const struct advised_argument *advised = &advised_arguments[i];
		const struct boot_argument *configured =
			boot_command_line_find(&doctor->command_line, advised->argument);
		bool running = is_running(doctor, advised->argument);

		if (configured)
			check_add(&doctor->list, advised->level, "command_line",
				"%s is set (/%s:%u)%s: %s", advised->argument, configured->path,
				configured->line, running ? "" : ", reboot pending",
				advised->meaning);
		else if (running)
			check_add(&doctor->list, advised->level, "command_line",
				"%s is in effect: %s", advised->argument, advised->meaning);
	}
}

static void check_command_line(struct doctor *doctor)
{
	if (doctor->command_line.unknown.status < 0 && doctor->loader.kind != BOOT_LOADER_UNKNOWN)
		check_add(&doctor->list, CHECK_SKIP, "command_line",
			"the kernel command line of the next boot is unknown: %s",
			doctor->command_line.unknown.message);
	check_makers_argument(doctor);
	check_argument(doctor,
		&(struct argument_check){"iommu=pt", false,
			"not needed: it only lets the host's own devices bypass the IOMMU"});
	check_off_argument(doctor);
	check_advised(doctor);
}

static bool read_time(const struct root *root, const char *path, struct timespec *ret)
{
	auto_close int fd = file_open(root, path, O_PATH);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
		return false;
	*ret = status.st_mtim;
	return true;
}

/* The newest file of those that update-initramfs copies. */
struct newest {
	char path[PATH_MAX];
	struct timespec time;
};

/* Compares nanoseconds too: a script may change two files within one second. */
static bool is_newer(const struct timespec *left, const struct timespec *right)
{
	return left->tv_sec != right->tv_sec ? left->tv_sec > right->tv_sec
					     : left->tv_nsec > right->tv_nsec;
}

static void newest_setting(const struct root *root, const char *path, struct newest *newest)
{
	struct timespec changed;

	if (!read_time(root, path, &changed) ||
		(newest->path[0] && !is_newer(&changed, &newest->time)))
		return;
	snprintf(newest->path, sizeof(newest->path), "%s", path);
	newest->time = changed;
}

static void newest_find(const struct doctor *doctor, struct newest *newest)
{
	const struct names *files = &doctor->modprobe.files;

	*newest = (struct newest){0};
	for (size_t i = 0; i < files->count; i++) {
		if (strncmp(files->names[i], "etc/", 4) == 0)
			newest_setting(&doctor->context->kernel.root, files->names[i], newest);
	}
	newest_setting(&doctor->context->kernel.root, INITRAMFS_MODULES_PATH, newest);
}

static void check_image(struct doctor *doctor, const char *name, const struct newest *newest)
{
	char path[PATH_MAX];
	struct timespec made;

	snprintf(path, sizeof(path), "boot/%s", name);
	if (!read_time(&doctor->context->kernel.root, path, &made))
		return;
	if (!is_newer(&newest->time, &made)) {
		check_add(&doctor->list, CHECK_PASS, "initramfs",
			"/%s is newer than the module configuration", path);
		return;
	}
	check_add(&doctor->list, CHECK_WARN, "initramfs",
		"/%s is older than /%s: the boot uses the old configuration", path, newest->path);
	check_fix(&doctor->list, "update-initramfs -u -k all");
}

static void check_initramfs(struct doctor *doctor)
{
	cleanup(names_done) struct names names = {0};
	struct newest newest;
	size_t before = doctor->list.count;

	newest_find(doctor, &newest);
	(void)folder_list(&doctor->context->kernel.root, "boot", &names);
	for (size_t i = 0; newest.path[0] && i < names.count; i++) {
		if (strncmp(names.names[i], "initrd.img-", strlen("initrd.img-")) == 0)
			check_image(doctor, names.names[i], &newest);
	}
	if (doctor->list.count == before)
		check_add(&doctor->list, CHECK_SKIP, "initramfs",
			"no /boot/initrd.img-* and module configuration to compare");
}

void doctor_check_boot(struct doctor *doctor)
{
	checklist_section(&doctor->list, "BOOT");
	check_loader(doctor);
	check_command_line(doctor);
	check_initramfs(doctor);
}
