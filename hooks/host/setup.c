/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Plans the boot set-up that the host needs, and the edits that lead to it. */

#include "setup.h"

#include "conf/host/kernel_arguments.h"
#include "conf/host/line_edit.h"
#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/platform.h"
#include "own_files.h"
#include "setup_devices.h"
#include "setup_vfs.h"
#include <stdarg.h>
#include <string.h>

#define HEAD "# Written by `gpu-ferry setup`; `gpu-ferry undo` takes it back.\n"

/* What the functions that make one plan share. */
struct planning {
	struct context *context;
	const struct setup_wish *wish;
	const struct pci_functions *host;
	struct host_setup *setup;
	struct names arguments; /* of the kernel, for our file */
	struct error *error;
};

void host_setup_done(struct host_setup *setup)
{
	obstacles_done(&setup->obstacles);
	boot_command_line_done(&setup->line);
	modprobe_files_done(&setup->modprobe);
	manifest_done(&setup->manifest);
	file_edits_done(&setup->edits);
	names_done(&setup->notices);
}

unsigned int host_setup_refresh_of(const char *path)
{
	/* mkinitramfs copies all of /etc/modprobe.d */
	if (strncmp(path, "etc/modprobe.d/", strlen("etc/modprobe.d/")) == 0 ||
		strcmp(path, INITRAMFS_MODULES_PATH) == 0)
		return REFRESH_INITRAMFS;
	if (strncmp(path, GRUB_DEFAULTS_PATH, strlen(GRUB_DEFAULTS_PATH)) == 0 ||
		strcmp(path, KERNEL_COMMAND_LINE_PATH) == 0)
		return REFRESH_BOOT_LOADER;
	return 0;
}

static int no_memory(const struct planning *planning)
{
	return error_set_errno(planning->error, -ENOMEM, "plan the host's set-up");
}

static int notice(const struct planning *planning, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int notice(const struct planning *planning, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return names_add(&planning->setup->notices, text) < 0 ? no_memory(planning) : 0;
}

/* ---- files of our own */

static bool text_equal(const char *left, const char *right)
{
	return left && right ? strcmp(left, right) == 0 : left == right;
}

/* Only a file that we wrote, and that nobody has changed since, may be overwritten or deleted. */
static int own_check(
	const struct planning *planning, const struct file_edit *edit, const char *wanted)
{
	const struct manifest_edit *known = manifest_find(&planning->setup->manifest, edit->path);

	if (!edit->before || text_equal(edit->before, wanted))
		return 0;
	if (!known)
		return error_set(planning->error, -EEXIST,
			"write /%s: a file that is not gpu-ferry's is there: move it away, then try "
			"again",
			edit->path);
	if (!text_equal(edit->before, known->written) &&
		!(known->has_previous && text_equal(edit->before, known->previous)))
		return error_set(planning->error, -EEXIST,
			"write /%s: somebody has changed it since gpu-ferry wrote it: move the "
			"changed lines into another file and restore this one, or delete it, then "
			"try again",
			edit->path);
	return 0;
}

/* Sets our file to @text; NULL removes it. */
static int own_set(const struct planning *planning, const char *path, const char *text)
{
	struct file_edit *edit = NULL;
	int r;

	/* a file with our name that we do not want, and that the manifest does not know, is
	 * somebody's: leave it */
	if (!text && !manifest_find(&planning->setup->manifest, path))
		return 0;
	r = file_edits_open(&planning->context->kernel.root, path, &planning->setup->edits, &edit,
		planning->error);
	if (r == 0)
		r = own_check(planning, edit, text);
	if (r < 0)
		return r;
	return file_edit_set(edit, text) < 0 ? no_memory(planning) : 0;
}

/* Sets our file to @before, the @names with @between in between, and @after. Without names there is
 * no file. */
static int own_list(const struct planning *planning, const char *path, const char *before,
	const struct names *names, const char *between, const char *after)
{
	auto_free char *text = NULL;
	size_t size;
	FILE *stream;

	if (!names->count)
		return own_set(planning, path, NULL);
	stream = open_memstream(&text, &size);
	if (!stream)
		return no_memory(planning);
	fputs(before, stream);
	for (size_t i = 0; i < names->count; i++)
		fprintf(stream, "%s%s", i ? between : "", names->names[i]);
	fputs(after, stream);
	if (fclose(stream) == EOF || !text)
		return no_memory(planning);
	return own_set(planning, path, text);
}

/* ---- other people's files */

/* Replaces the edit's text by @text and owns it. A file that is then blank is removed. */
static int edit_take(const struct planning *planning, struct file_edit *edit, char *text)
{
	if (!text)
		return no_memory(planning);
	free(edit->after);
	edit->after = text;
	if (text_is_blank(text))
		return file_edit_set(edit, NULL);
	return 0;
}

/* Opens a file for editing. When it cannot be edited, adds a notice, sets *@ret to NULL and returns
 * 0. */
static int edit_open(const struct planning *planning, const char *path, struct file_edit **ret)
{
	struct error why = {0};
	int r = file_edits_open(
		&planning->context->kernel.root, path, &planning->setup->edits, ret, &why);

	if (r == 0 && !(*ret)->after)
		*ret = NULL;
	if (r < 0 && r != -ENOMEM) {
		*ret = NULL;
		return notice(planning, "not changed: %s", why.message);
	}
	return r < 0 ? no_memory(planning) : 0;
}

static int remove_word(const struct planning *planning, const char *path, unsigned int line,
	unsigned int count, const char *word)
{
	struct file_edit *edit = NULL;
	char *text = NULL;
	int r = edit_open(planning, path, &edit);

	if (r < 0 || !edit)
		return r;
	r = line_edit_remove_word(edit->after, line, count, word, &text);
	if (r == -ENOENT)
		return notice(planning,
			"not changed: /%s:%u: the place where %s is set was not "
			"found",
			path, line, word);
	return edit_take(planning, edit, text);
}

static int remove_lines(const struct planning *planning, const struct modprobe_line *line)
{
	struct file_edit *edit = NULL;
	int r = edit_open(planning, line->path, &edit);

	if (r < 0 || !edit)
		return r;
	return edit_take(
		planning, edit, line_edit_remove(edit->after, line->line, line->line_count));
}

/* ---- the kernel's command line */

/* Firmware that has it switched off looks like a machine that has none. */
bool host_iommu_is_missing(const struct platform *platform, char *why, size_t size)
{
	if (platform->iommu_groups || platform->iommu_table != IOMMU_TABLE_MISSING)
		return false;
	snprintf(why, size,
		"the IOMMU is off in the firmware, or this machine has none: there is no ACPI "
		"table %s",
		iommu_table_name(platform->maker));
	return true;
}

bool host_setup_takes_argument(const char *argument)
{
	static const char *const guides[] = {"intel_iommu=on", "amd_iommu=on", "iommu=pt",
		"intel_iommu=off", "amd_iommu=off", "iommu=off"};

	for (size_t i = 0; i < sizeof(guides) / sizeof(guides[0]); i++) {
		if (strcmp(argument, guides[i]) == 0)
			return true;
	}
	return false;
}

/* True when the argument should stay. amd_iommu has no "on"
 * (Documentation/admin-guide/kernel-parameters.txt), so that one goes; iommu=pt is the owner's
 * choice. */
static bool argument_is_wanted(const char *argument, const char *needed)
{
	return strcmp(argument, "iommu=pt") == 0 || (needed && strcmp(argument, needed) == 0);
}

/* There are hosts that do not come up without nomodeset, and lists that name other modules too:
 * what is left to a person is told. */
static int note_left(const struct planning *planning, const struct obstacle *obstacle,
	const char *path, unsigned int line, const char *why)
{
	return *why
		? notice(planning, "not changed: /%s:%u: %s: %s", path, line, obstacle->text, why)
		: 0;
}

static int plan_argument(
	struct planning *planning, const struct boot_argument *argument, const char *needed)
{
	const struct obstacle *obstacle =
		obstacles_find_argument(&planning->setup->obstacles, argument);
	bool systemd_boot = planning->setup->loader.kind == BOOT_LOADER_SYSTEMD_BOOT;
	bool wanted = argument_is_wanted(argument->text, needed);
	char why[OBSTACLE_WHY_SIZE];

	if (!obstacle && !host_setup_takes_argument(argument->text))
		return 0;
	if (obstacle && !obstacle_setup_removes(obstacle, why, sizeof(why)))
		return note_left(planning, obstacle, argument->path, argument->line, why);
	if (wanted && names_add_once(&planning->arguments, argument->text) < 0)
		return no_memory(planning);
	/* with systemd-boot there is only one file: what is wanted can stay in it */
	if (strcmp(argument->path, SETUP_GRUB_PATH) == 0 || (systemd_boot && wanted))
		return 0;
	return remove_word(
		planning, argument->path, argument->line, argument->line_count, argument->text);
}

/* Writes the arguments: with GRUB into a file of ours, with systemd-boot into its only line. */
static int put_arguments(const struct planning *planning, const char *needed)
{
	const struct host_setup *setup = planning->setup;
	struct file_edit *edit = NULL;
	int r;

	if (setup->loader.kind == BOOT_LOADER_GRUB)
		return own_list(planning, SETUP_GRUB_PATH,
			HEAD "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT ",
			&planning->arguments, " ", "\"\n");
	if (!needed || names_have(&planning->arguments, needed))
		return 0;
	r = file_edits_open(&planning->context->kernel.root, KERNEL_COMMAND_LINE_PATH,
		&planning->setup->edits, &edit, planning->error);
	if (r < 0)
		return r;
	return edit_take(
		planning, edit, line_edit_append_word(edit->after ? edit->after : "", needed));
}

/* Opens our file first, because files are changed in the order in which they are opened. An
 * argument that moves into our file must be there before it is removed elsewhere: otherwise a run
 * that continues after one was killed would not find it any more. */
static int open_ours_first(const struct planning *planning)
{
	struct file_edit *edit = NULL;

	if (planning->setup->loader.kind != BOOT_LOADER_GRUB)
		return 0;
	return file_edits_open(&planning->context->kernel.root, SETUP_GRUB_PATH,
		&planning->setup->edits, &edit, planning->error);
}

/* The argument that must be set; NULL when another argument, which is not setup's, gives it:
 * "intel_iommu=on,sm_on". */
static const char *find_needed(const struct planning *planning)
{
	const char *needed = planning->setup->needed;
	const struct boot_argument *given =
		needed ? boot_command_line_find(&planning->setup->line, needed) : NULL;

	return given && strcmp(given->text, needed) != 0 ? NULL : needed;
}

static int tell_unknown(const struct planning *planning, const char *needed)
{
	const struct host_setup *setup = planning->setup;

	/* an argument that the running kernel has was set by hand: then it is enough to say so */
	if (needed && setup->loader.kind != BOOT_LOADER_GRUB &&
		!kernel_arguments_give(&setup->line.running, needed))
		return error_set(planning->error, -ENOSYS,
			"set %s, which this kernel needs: %s: put it on the kernel command line by "
			"hand, reboot, then try again",
			needed, setup->line.unknown.message);
	return notice(planning, "the configured kernel command line is unknown: %s",
		setup->line.unknown.message);
}

static int plan_command_line(struct planning *planning)
{
	const char *needed = find_needed(planning);
	const struct host_setup *setup = planning->setup;
	bool grub = setup->loader.kind == BOOT_LOADER_GRUB;
	bool unknown = setup->line.unknown.status < 0;
	int r = open_ours_first(planning);

	if (r == 0 && unknown)
		r = tell_unknown(planning, needed);
	if (r < 0 || (unknown && !grub))
		return r;
	for (size_t i = 0; r == 0 && i < setup->line.configured_count; i++)
		r = plan_argument(planning, &setup->line.configured[i], needed);
	if (r == 0 && needed && grub && names_add_once(&planning->arguments, needed) < 0)
		return no_memory(planning);
	return r < 0 ? r : put_arguments(planning, needed);
}

/* ---- modprobe.d */

/* Removes only @name; other options of the module stay. */
static int remove_option(
	const struct planning *planning, const struct modprobe_line *line, const char *name)
{
	cleanup(names_done) struct names words = {0};

	if (kernel_arguments_split(line->arguments, &words) < 0)
		return no_memory(planning);
	if (words.count == 1)
		return remove_lines(planning, line);
	for (size_t i = 0; i < words.count; i++) {
		int r = 0;

		if (kernel_argument_value(words.names[i], name))
			r = remove_word(
				planning, line->path, line->line, line->line_count, words.names[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_line(const struct planning *planning, const struct modprobe_line *line)
{
	const struct obstacle *obstacle = obstacles_find_line(&planning->setup->obstacles, line);
	char why[OBSTACLE_WHY_SIZE];

	if (!obstacle)
		return 0;
	if (!obstacle_setup_removes(obstacle, why, sizeof(why)))
		return note_left(planning, obstacle, line->path, line->line, why);
	if (line->kind == MODPROBE_OPTIONS)
		return remove_option(
			planning, line, obstacle->kind == OBSTACLE_IDS ? "ids" : "modeset");
	return remove_lines(planning, line);
}

static int put_options(const struct planning *planning)
{
	cleanup(names_done) struct names ids = {0};
	cleanup(names_done) struct names modules = {0};
	auto_free char *softdeps = NULL;
	size_t size;
	FILE *stream;
	int r = setup_devices_ids(planning->wish, &ids);

	if (r == 0)
		r = setup_devices_modules(planning->context, planning->wish, &modules);
	if (r < 0)
		return no_memory(planning);
	stream = open_memstream(&softdeps, &size);
	if (!stream)
		return no_memory(planning);
	fputc('\n', stream);
	for (size_t i = 0; i < modules.count; i++)
		fprintf(stream, "softdep %s pre: vfio-pci\n", modules.names[i]);
	if (fclose(stream) == EOF || !softdeps)
		return no_memory(planning);
	return own_list(
		planning, SETUP_OPTIONS_PATH, HEAD "options vfio-pci ids=", &ids, ",", softdeps);
}

/* A blacklist is for all cards: says which others have no driver then. */
static int note_dark(const struct planning *planning, const struct names *modules)
{
	struct device_names *names = NULL;
	char text[GPU_DARK_SIZE];
	int r = 0;

	if (!modules->count)
		return 0;
	if (device_names_open(&planning->context->kernel.root, &names, NULL) < 0)
		return no_memory(planning);
	for (size_t i = 0; r == 0 && i < planning->host->count; i++) {
		const struct pci_function *function = &planning->host->items[i];

		if (!setup_devices_have(planning->wish, function) &&
			gpu_goes_dark(planning->context, function, modules, names, text))
			r = notice(planning, "%s", text);
	}
	device_names_close(names);
	return r;
}

static int put_blacklist(const struct planning *planning)
{
	cleanup(names_done) struct names modules = {0};
	int r;

	if (planning->wish->windows &&
		setup_devices_blacklist(planning->context, planning->wish,
			&planning->setup->obstacles.files, &modules) < 0)
		return no_memory(planning);
	r = note_dark(planning, &modules);
	return r < 0 ? r
		     : own_list(planning, SETUP_BLACKLIST_PATH, HEAD "blacklist ", &modules,
			       "\nblacklist ", "\n");
}

static int plan_modprobe(const struct planning *planning)
{
	const struct modprobe_files *files = &planning->setup->modprobe;
	int r = 0;

	/* from the last line to the first, so that the line numbers stay right */
	for (size_t i = files->count; r == 0 && i-- > 0;)
		r = plan_line(planning, &files->lines[i]);
	for (size_t i = 0; r == 0 && i < files->unread.count; i++)
		r = notice(planning, "%s", files->unread.names[i]);
	if (r == 0)
		r = put_options(planning);
	return r < 0 ? r : put_blacklist(planning);
}

/* ids= takes the card when vfio-pci is loaded. The softdep lines do that before the card's driver,
 * but where no driver of it is loaded (--windows blacklists them), nothing else would. */
static int plan_modules(const struct planning *planning)
{
	bool dedicated = planning->wish->mode == SETUP_DEDICATED;

	return own_set(planning, SETUP_MODULES_PATH, dedicated ? HEAD "vfio-pci\n" : NULL);
}

static int note_devices(const struct planning *planning)
{
	const struct setup_wish *wish = planning->wish;
	int r = 0;

	for (size_t i = 0; r == 0 && i < wish->function_count; i++) {
		if (wish->functions[i]->boot_display)
			r = notice(planning,
				"%s is the display that the host boots with: its console goes dark "
				"when vfio-pci takes it",
				wish->functions[i]->address);
		if (r == 0 && setup_driver_is_built_in(planning->context, wish->functions[i]))
			r = notice(planning,
				"%s stays with its driver at boot: %s is built into the kernel, "
				"and comes before vfio-pci; a start of the VM still takes it",
				wish->functions[i]->address, wish->functions[i]->driver);
	}
	return r;
}

/* ---- virtual functions */

static int note_vfs(
	const struct planning *planning, const struct pci_function *function, const char *rules)
{
	unsigned int count = vfs_rules_find(rules, function->address);
	unsigned int now = vfs_read_count(planning->context, function->address);

	if (count == now)
		return 0;
	if (now)
		return notice(planning,
			"%s has %u virtual functions now: it gets %u when its driver next binds it, "
			"after a loan or at a boot",
			function->address, now, count);
	return notice(planning,
		"%s gets its virtual functions at the next boot, or now by: udevadm trigger "
		"--action=add /sys/bus/pci/devices/%s",
		function->address, function->address);
}

static int plan_vfs(const struct planning *planning)
{
	const struct pci_function *function = NULL;
	auto_free char *before = NULL;
	auto_free char *after = NULL;
	int r;

	if (!planning->wish->vfs)
		return 0;
	r = vfs_rules_read(&planning->context->kernel.root, &before, planning->error);
	if (r == 0)
		r = vfs_rules_change(planning->context, planning->host, planning->wish->vfs, before,
			&after, &function, planning->error);
	if (r == 0)
		r = own_set(planning, SETUP_VFS_PATH, after);
	return r < 0 ? r : note_vfs(planning, function, after);
}

static int plan_all(struct planning *planning)
{
	struct host_setup *setup = planning->setup;
	int r = plan_command_line(planning);

	if (r == 0)
		r = note_devices(planning);
	if (r == 0)
		r = plan_modules(planning);
	if (r == 0)
		r = plan_modprobe(planning);
	if (r == 0)
		r = plan_vfs(planning);
	for (size_t i = 0; i < setup->edits.count; i++) {
		if (file_edit_is_change(&setup->edits.items[i]))
			setup->refreshes |= host_setup_refresh_of(setup->edits.items[i].path);
	}
	return r;
}

int host_setup_find(struct context *context, const struct setup_wish *wish,
	const struct pci_functions *host, struct host_setup *ret, struct error *error)
{
	struct planning planning = {
		.context = context, .wish = wish, .host = host, .setup = ret, .error = error};
	const struct root *root = &context->kernel.root;
	int r = setup_devices_check(context, wish, host, error);

	if (r == 0)
		r = manifest_read(root, &ret->manifest, error);
	if (r < 0)
		return r;
	boot_loader_find(root, &ret->loader);
	ret->needed = boot_iommu_argument(
		root, processor_maker_read(&context->kernel) == PROCESSOR_INTEL);
	r = boot_command_line_read(root, &ret->loader, &ret->line, error);
	if (r == 0)
		r = modprobe_files_read(root, &ret->modprobe, error);
	if (r == 0)
		r = obstacles_find(
			context, host, &ret->modprobe, &ret->line, &ret->obstacles, error);
	if (r == 0)
		r = plan_all(&planning);
	names_done(&planning.arguments);
	return r;
}
