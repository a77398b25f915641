/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Writes a change of the host's set-up and runs update-initramfs and the boot loader's tool. */

#include "apply.h"

#include "hooks/base/output.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/loan/lock.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOCK_DEADLINE_MS 2000

/* A slow machine needs minutes for each kernel; the limit only ends a program that hangs. */
#define PROGRAM_DEADLINE_MS (60u * 60 * 1000)

#define BOOT_ID "proc/sys/kernel/random/boot_id"

/* update-initramfs, and the programs of the two boot loaders, of which only one is used. */
static const char *const update_initramfs[] = {
	"/usr/sbin/update-initramfs", "-u", "-k", "all", NULL};
static const char *const update_grub[] = {"/usr/sbin/update-grub", NULL};
static const char *const boot_tool_refresh[] = {"/usr/sbin/proxmox-boot-tool", "refresh", NULL};

int host_change_begin(struct context *context, bool apply, int *ret_lock, struct error *error)
{
	int r;

	if (!apply)
		return 0;
	r = context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	r = lock_take(&context->kernel.root, "setup", LOCK_DEADLINE_MS, error);
	if (r < 0)
		return r;
	*ret_lock = r;
	return 0;
}

static const char *const *program_of(const struct boot_loader *loader, unsigned int refresh)
{
	const char *command = boot_loader_refresh_command(loader);

	if (refresh == REFRESH_INITRAMFS)
		return update_initramfs;
	if (!command)
		return NULL;
	return strcmp(command, "update-grub") == 0 ? update_grub : boot_tool_refresh;
}

static const unsigned int all_refreshes[] = {REFRESH_INITRAMFS, REFRESH_BOOT_LOADER};

#define REFRESH_COUNT (sizeof(all_refreshes) / sizeof(all_refreshes[0]))

static unsigned int refreshes_of(const struct host_change *change)
{
	return change->refreshes | change->manifest->pending;
}

static bool is_executable(const struct root *root, const char *path)
{
	auto_close int fd = file_open(root, path + 1, O_PATH);
	struct stat status;

	return fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
		(status.st_mode & S_IXUSR);
}

int host_change_check(const struct host_change *change, struct error *error)
{
	for (size_t i = 0; i < REFRESH_COUNT; i++) {
		const char *const *program = program_of(change->loader, all_refreshes[i]);

		if (!(refreshes_of(change) & all_refreshes[i]))
			continue;
		if (!program)
			return error_set(error, -ENOSYS,
				"change the boot loader's configuration: neither GRUB "
				"(/etc/default/grub) nor systemd-boot with proxmox-boot-tool boots "
				"this host: nothing was changed");
		if (!is_executable(&change->context->kernel.root, program[0]))
			return error_set(error, -ENOENT,
				"run %s: it is missing: nothing was changed; install it, then try "
				"again",
				program[0]);
	}
	return 0;
}

static void program_format(const char *const *program, char *buffer, size_t size)
{
	size_t used;

	snprintf(buffer, size, "%s", strrchr(program[0], '/') + 1);
	for (program++; *program; program++) {
		used = strlen(buffer);
		snprintf(buffer + used, size - used, " %s", *program);
	}
}

bool host_change_is_nothing(const struct host_change *change)
{
	return !file_edits_have_changes(change->edits) && !change->manifest->pending;
}

int host_change_programs(const struct host_change *change, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < REFRESH_COUNT; i++) {
		const char *const *program = program_of(change->loader, all_refreshes[i]);
		char name[128];

		if (!(refreshes_of(change) & all_refreshes[i]) || !program)
			continue;
		program_format(program, name, sizeof(name));
		r = names_add(ret, name);
	}
	return r;
}

int host_change_print_programs(const struct host_change *change, struct error *error)
{
	cleanup(names_done) struct names programs = {0};

	if (host_change_programs(change, &programs) < 0)
		return error_set_errno(error, -ENOMEM, "name the programs");
	for (size_t i = 0; i < programs.count; i++)
		output_print("%s%s", i ? ", then " : "--apply also runs: ", programs.names[i]);
	if (programs.count)
		putchar('\n');
	return 0;
}

const char *file_edit_action(const struct file_edit *edit)
{
	if (!edit->after)
		return "remove";
	return edit->before ? "change" : "write";
}

bool host_change_needs_reboot(const struct host_change *change)
{
	return refreshes_of(change);
}

static void boot_id_read(const struct context *context, char *buffer, size_t size)
{
	if (file_read_attribute(&context->kernel.root, BOOT_ID, buffer, size) < 0)
		buffer[0] = '\0';
}

bool host_reboot_is_due(const struct context *context, const struct manifest *manifest)
{
	char boot_id[sizeof(manifest->boot_id)];

	boot_id_read(context, boot_id, sizeof(boot_id));
	return boot_id[0] && strcmp(boot_id, manifest->boot_id) == 0;
}

/* Where a program's progress goes: in JSON mode, standard output is only for the JSON. */
static int output_of(const struct context *context)
{
	if (context->log_level < LOG_INFO)
		return -1;
	return context->output == OUTPUT_TEXT ? STDOUT_FILENO : STDERR_FILENO;
}

static int refresh(void *data, unsigned int refresh, struct error *error)
{
	const struct host_change *change = data;
	const struct context *context = change->context;
	const char *const *program = program_of(change->loader, refresh);
	unsigned long long started = clock_milliseconds();
	char name[128];
	const struct process_options options = {
		.output = PROCESS_TO_FD,
		.fd = output_of(context),
		.deadline_ms = PROGRAM_DEADLINE_MS,
	};
	char ending[32];
	int r;

	if (!program)
		return error_set(error, -ENOSYS, "the boot loader is not known");
	program_format(program, name, sizeof(name));
	if (stop_requested)
		return error_set(error, -EINTR, "%s: stopped", name);
	log_write(&context->log, LOG_INFO, "%s: begins%s", name,
		refresh == REFRESH_INITRAMFS ? ", and may take minutes" : "");
	r = process_run(program, &options, error);
	if (r < 0)
		return r;
	if (r > 0)
		return error_set(error, stop_requested ? -EINTR : -EIO, "%s failed (%s)", name,
			process_end_format(r, ending, sizeof(ending)));
	log_write(&context->log, LOG_INFO, "%s: done (%llu s)", name,
		(clock_milliseconds() - started + 999) / 1000);
	return 0;
}

/* Checks that the argument is really set: a later file of /etc/default/grub.d may set the variable
 * again. */
static int verify(void *data, struct error *error)
{
	const struct host_change *change = data;
	cleanup(boot_command_line_done) struct boot_command_line line = {0};
	int r = boot_command_line_read(&change->context->kernel.root, change->loader, &line, error);

	if (r < 0 || !change->needed || line.unknown.status < 0 ||
		boot_command_line_find(&line, change->needed))
		return r;
	return error_set(error, -EINVAL,
		"set %s: a setting in another file of /" GRUB_DEFAULTS_FOLDER
		" overrides it (look for GRUB_CMDLINE_LINUX_DEFAULT without its own old value); "
		"nothing was changed",
		change->needed);
}

static void tell_files(const struct host_change *change)
{
	for (size_t i = 0; i < change->edits->count; i++) {
		const struct file_edit *edit = &change->edits->items[i];

		if (file_edit_is_change(edit))
			log_write(&change->context->log, LOG_INFO, "%s /%s",
				edit->after ? edit->before ? "changed" : "wrote" : "removed",
				edit->path);
	}
}

int host_change_apply(const struct host_change *change, struct error *error)
{
	struct edit_ops ops = edit_file_ops;
	char boot_id[sizeof(change->manifest->boot_id)];
	/* the context pointer is not const, but nothing is changed through it */
	struct host_change copy = *change;
	struct edit_job job = {
		.root = &change->context->kernel.root,
		.ops = &ops,
		.context = &copy,
		.refreshes = change->refreshes,
		.boot_id = host_change_needs_reboot(change) ? boot_id : NULL,
		.manifest = change->manifest,
	};
	int r = host_change_check(change, error);

	if (r < 0)
		return r;
	boot_id_read(change->context, boot_id, sizeof(boot_id));
	ops.refresh = refresh;
	ops.verify = verify;
	r = file_edits_apply(&job, change->edits, error);
	if (r == 0)
		tell_files(change);
	return r;
}
