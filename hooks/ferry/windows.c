/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Keeps the host's display driver out of memory while a Windows guest has the card. */

#include "windows.h"

#include "conf/host/modprobe_files.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/driver_use.h"
#include "kmod-helper/operation/unload.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define BLACKLIST "blacklist"
#define CONFIG_FOLDER "run/modprobe.d"
#define UDEVADM "/usr/bin/udevadm"

/* The modules that may drive the guest's displays, and what happens to them. */
struct eviction {
	struct context *context;
	struct plan *plan;
	struct names modules; /* those of the home drivers first */
	struct names going;   /* the displays' addresses */
	struct names done;    /* modules that have a step, or stay loaded */
};

static void eviction_done(struct eviction *eviction)
{
	names_done(&eviction->modules);
	names_done(&eviction->going);
	names_done(&eviction->done);
}

static int add_module(struct names *names, const char *module)
{
	if (!*module || strncmp(module, "vfio", 4) == 0 || names_have(names, module))
		return 0;
	return names_add(names, module);
}

static bool is_shown(const struct plan_function *function)
{
	return function->loan.use != LOAN_ALTERNATIVE && *function->loan.address &&
		pci_is_display(&function->now);
}

/* Adds every module that udev would load for the function: without nvidia, nouveau would be the
 * next one. */
static int add_aliases(struct eviction *eviction, const char *address, struct error *error)
{
	cleanup(names_done) struct names found = {0};
	int r = pci_alias_modules(&eviction->context->kernel, address, &found, error);

	for (size_t i = 0; r == 0 && i < found.count; i++) {
		r = add_module(&eviction->modules, found.names[i]);
		if (r < 0)
			error_set_errno(error, r, "look for the modules of %s", address);
	}
	return r;
}

static int find_all(struct eviction *eviction, struct error *error)
{
	const struct plan *plan = eviction->plan;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		if (!is_shown(&plan->functions[i]))
			continue;
		r = names_add(&eviction->going, plan->functions[i].loan.address);
		if (r == 0)
			r = add_module(&eviction->modules, plan->functions[i].loan.home_module);
	}
	if (r < 0)
		return error_set_errno(error, r, "look for the displays' modules");
	for (size_t i = 0; r == 0 && i < eviction->going.count; i++)
		r = add_aliases(eviction, eviction->going.names[i], error);
	return r;
}

static int add_blacklist(struct eviction *eviction, unsigned int vmid, struct error *error)
{
	struct step step = {.operation = BLACKLIST};
	size_t used = 0;

	snprintf(step.subject, sizeof(step.subject), "/" CONFIG_FOLDER "/gpu-ferry-%u.conf", vmid);
	for (size_t i = 0; i < eviction->modules.count; i++) {
		used += (size_t)snprintf(step.argument + used, sizeof(step.argument) - used, "%s%s",
			i ? " " : "", eviction->modules.names[i]);
		if (used >= sizeof(step.argument))
			return error_set(error, -E2BIG, "too many modules drive %s",
				eviction->going.names[0]);
	}
	snprintf(step.why, sizeof(step.why),
		"Windows guest: so that the host's driver is not "
		"loaded again");
	if (!steps_add(&eviction->plan->steps, &step))
		return error_set_errno(error, -ENOMEM, "plan the handover");
	return 0;
}

/* Finds a device that uses one of @modules and is not one of the guest's displays. */
static bool find_user(
	const struct eviction *eviction, const struct names *modules, char *ret, size_t size)
{
	for (size_t i = 0; i < modules->count; i++) {
		if (driver_module_find_device(&eviction->context->kernel, modules->names[i],
			    &eviction->going, ret, size))
			return true;
	}
	return false;
}

/* True when the plan has a reload step for @module already, as it may for nvidia. */
static bool has_reload(const struct plan *plan, const char *module)
{
	for (size_t i = 0; i < plan->steps.count; i++) {
		if (unload_is_reload(&plan->steps.items[i]) &&
			strcmp(plan->steps.items[i].subject, module) == 0)
			return true;
	}
	return false;
}

static int add_unload(struct eviction *eviction, const char *module, const struct names *modules)
{
	struct steps *steps = &eviction->plan->steps;
	int r = 0;

	if (!has_reload(eviction->plan, module))
		r = unload_plan_reload(&eviction->context->kernel, steps, modules, modules->count,
			"at the return: loaded again");
	return r < 0 ? r
		     : unload_plan_unused(steps, modules, modules->count,
			       "Windows guest: the host's driver is unloaded");
}

static int plan_unload(struct eviction *eviction, const char *module)
{
	cleanup(names_done) struct names modules = {0};
	struct error why = {0};
	char device[64];
	int r = unload_find_modules(&eviction->context->kernel, module, &modules, &why);

	if (r == -ENOENT || r == -ENOMEM)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < modules.count; i++) {
		if (names_add(&eviction->done, modules.names[i]) < 0)
			return -ENOMEM;
	}
	if (r < 0)
		return plan_add_notice(eviction->plan, eviction->going.names[0],
			"%s stays loaded: %s", module, why.message);
	if (find_user(eviction, &modules, device, sizeof(device)))
		return plan_add_notice(eviction->plan, eviction->going.names[0],
			"%s stays loaded, because %s uses it too: only the card is taken", module,
			device);
	return add_unload(eviction, module, &modules);
}

static int plan_while_running(struct eviction *eviction, unsigned int vmid, struct error *error)
{
	int r = add_blacklist(eviction, vmid, error);

	for (size_t i = 0; r == 0 && i < eviction->modules.count; i++) {
		const char *module = eviction->modules.names[i];

		if (names_have(&eviction->done, module))
			continue;
		r = plan_unload(eviction, module);
		if (r < 0)
			error_set_errno(error, r, "plan the handover");
	}
	return r;
}

static bool has_line(const struct modprobe_files *files, const char *module)
{
	for (size_t i = 0; i < files->count; i++) {
		if (files->lines[i].kind == MODPROBE_BLACKLIST &&
			strcmp(files->lines[i].module, module) == 0)
			return true;
	}
	return false;
}

/* For "permanent": changes nothing at run time, but says when a blacklist line that setup writes is
 * missing. */
static int check_permanent(struct eviction *eviction, struct error *error)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};
	int r = modprobe_files_read(&eviction->context->kernel.root, &files, error);

	for (size_t i = 0; r == 0 && i < eviction->modules.count; i++) {
		if (has_line(&files, eviction->modules.names[i]))
			continue;
		r = plan_add_notice(eviction->plan, eviction->going.names[0],
			"windows_blacklist is \"permanent\", and no line of modprobe.d blacklists "
			"%s: run `gpu-ferry setup --mode dedicated --windows %s`",
			eviction->modules.names[i], eviction->going.names[0]);
		if (r < 0)
			error_set_errno(error, r, "plan the handover");
	}
	return r;
}

int windows_plan(struct context *context, enum windows_blacklist blacklist, unsigned int vmid,
	struct plan *plan, struct error *error)
{
	cleanup(eviction_done) struct eviction eviction = {.context = context, .plan = plan};
	int r;

	if (blacklist == WINDOWS_BLACKLIST_OFF)
		return 0;
	r = find_all(&eviction, error);
	if (r < 0 || eviction.modules.count == 0)
		return r;
	if (blacklist == WINDOWS_BLACKLIST_PERMANENT)
		return check_permanent(&eviction, error);
	return plan_while_running(&eviction, vmid, error);
}

static bool has_blacklist(const struct steps *steps, const char *subject)
{
	for (size_t i = 0; i < steps->count; i++) {
		if (strcmp(steps->items[i].operation, BLACKLIST) == 0 &&
			strcmp(steps->items[i].subject, subject) == 0)
			return true;
	}
	return false;
}

int windows_drop(const struct executor *executor, const struct plan *plan, struct loan *loan,
	struct error *error)
{
	for (size_t i = loan->steps.count; i-- > 0;) {
		const struct step *step = &loan->steps.items[i];
		char subject[STEP_TEXT_SIZE];
		int r;

		if (strcmp(step->operation, BLACKLIST) != 0 ||
			has_blacklist(&plan->steps, step->subject))
			continue;
		memcpy(subject, step->subject, sizeof(subject));
		r = executor_undo(executor, loan, subject, error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Makes udevd notice the new folder. udevd reads modprobe.d once, and then looks for changes only
 * in the folders that were there: at boot /etc/modprobe.d is there, /run/modprobe.d is not. */
static void touch_known_folder(const struct root *root)
{
	auto_close int fd = file_open(root, "etc/modprobe.d", O_RDONLY | O_DIRECTORY);

	if (fd >= 0)
		(void)futimens(fd, NULL);
}

static int tell_udev(const struct kernel *kernel, struct error *error)
{
	static const char *const arguments[] = {UDEVADM, "control", "--reload", NULL};
	auto_close int control = file_open(&kernel->root, "run/udev/control", O_PATH);
	struct error why = {0};

	if (control < 0)
		return 0;
	if (kernel->ops->run(kernel->context, arguments, &why) < 0)
		error_set(error, 0,
			"udevd could not be told about the change in /" CONFIG_FOLDER ": %s",
			why.message);
	return 0;
}

/* nvidia-modprobe, which everybody may run, loads NVIDIA's module by its name: no blacklist stops
 * that. Debian's is nvidia_current, and the like. */
static void add_lines(FILE *stream, const char *module)
{
	fprintf(stream, "blacklist %s\n", module);
	if (strncmp(module, "nvidia", strlen("nvidia")) == 0)
		fprintf(stream, "install %s /bin/false\n", module);
}

static int format_lines(const char *modules, char **ret)
{
	auto_free char *copy = NULL;
	char *save = NULL;
	size_t length;
	FILE *stream = open_memstream(ret, &length);

	if (!stream)
		return -ENOMEM;
	copy = strdup(modules);
	fputs("# Written by gpu-ferry while a Windows guest has the card, and removed when it stops.\n",
		stream);
	for (char *word = copy ? strtok_r(copy, " ", &save) : NULL; word;
		word = strtok_r(NULL, " ", &save))
		add_lines(stream, word);
	return fclose(stream) == EOF || !copy ? -ENOMEM : 0;
}

static int write_lines(
	const struct root *root, const struct step *step, const char *text, struct error *error)
{
	auto_close int folder = file_open(root, CONFIG_FOLDER, O_PATH | O_DIRECTORY);
	int r = folder_make(root, CONFIG_FOLDER, 0755, error);

	if (r == 0)
		r = file_replace(root, step->subject + 1, 0644, text, error);
	if (r == 0 && folder < 0)
		touch_known_folder(root);
	return r;
}

static int apply_blacklist(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	auto_free char *text = NULL;
	int r;

	if (format_lines(step->argument, &text) < 0)
		return error_set_errno(error, -ENOMEM, "write %s", step->subject);
	r = write_lines(&kernel->root, step, text, error);
	return r < 0 ? r : tell_udev(kernel, error);
}

static int undo_blacklist(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	int r = file_remove(&kernel->root, step->subject + 1, &why);

	/* -ENOTDIR: the folder could not be made, so there is no file in it */
	if (r < 0 && r != -ENOTDIR) {
		*error = why;
		return r;
	}
	return tell_udev(kernel, error);
}

const struct operation windows_operations[] = {
	{.name = BLACKLIST,
		.apply_text = "blacklist {argument}",
		.undo_text = "no longer blacklist {argument}",
		.apply = apply_blacklist,
		.undo = undo_blacklist},
	{.name = NULL},
};
