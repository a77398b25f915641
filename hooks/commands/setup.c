/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry setup`: shows, or makes, the changes that the host's boot set-up needs. */

#include "commands.h"

#include "hooks/base/devices.h"
#include "hooks/base/output.h"
#include "hooks/host/output.h"
#include "hooks/host/setup.h"
#include "kmod-helper/base/cleanup.h"
#include <string.h>

struct setup_options {
	const char *mode; /* NULL: share */
	bool windows;
	const char *vfs;
	bool apply;
	bool dry_run;
};

static int read_mode(const struct setup_options *options, enum setup_mode *ret, struct error *error)
{
	const char *mode = options->mode ? options->mode : "share";

	if (strcmp(mode, "share") != 0 && strcmp(mode, "dedicated") != 0)
		return error_set(
			error, USAGE, "--mode is share or dedicated, not '%s'", options->mode);
	*ret = strcmp(mode, "share") == 0 ? SETUP_SHARE : SETUP_DEDICATED;
	return 0;
}

static int read_wish(struct context *context, const struct setup_options *options, char **arguments,
	struct devices *devices, struct setup_wish *ret, struct error *error)
{
	int r = read_mode(options, &ret->mode, error);

	if (r < 0)
		return r;
	ret->vfs = options->vfs;
	if (ret->mode == SETUP_SHARE && arguments[0])
		return error_set(error, USAGE,
			"setup takes a DEVICE only with --mode dedicated: a shared card needs none");
	if (ret->mode == SETUP_SHARE && options->windows)
		return error_set(error, USAGE,
			"--windows only works with --mode dedicated: the driver of a shared card "
			"is blacklisted while a Windows guest runs, not at boot");
	if (ret->mode == SETUP_SHARE)
		return pci_scan(&context->kernel, &devices->host, error);
	r = devices_find(context, arguments, devices, error);
	ret->functions = devices->functions;
	ret->function_count = devices->count;
	ret->windows = options->windows;
	return r;
}

static void print_loader(const struct boot_loader *loader)
{
	static const char *const names[] = {
		[BOOT_LOADER_UNKNOWN] = "not known",
		[BOOT_LOADER_GRUB] = "GRUB",
		[BOOT_LOADER_SYSTEMD_BOOT] = "systemd-boot",
	};

	output_print("Boot loader: %s%s\n", names[loader->kind],
		loader->proxmox_boot_tool ? ", managed by proxmox-boot-tool" : "");
}

static void print_reboot(const struct host_change *change, bool needed, bool applied)
{
	if (needed)
		puts(applied ? "Reboot now: the change takes effect at the next boot."
			     : "A reboot is needed after that.");
	else if (host_reboot_is_due(change->context, change->manifest))
		puts("A reboot is still needed for what was changed before.");
	else if (change->edits->count)
		puts("No reboot is needed.");
}

static int print_plan(
	const struct host_setup *setup, const struct host_change *change, struct error *error)
{
	auto_free char *diff = NULL;
	int r = file_edits_diff(change->edits, &diff, error);

	if (r < 0)
		return r;
	print_loader(&setup->loader);
	for (size_t i = 0; i < setup->notices.count; i++)
		output_print("Note: %s\n", setup->notices.names[i]);
	output_diff(change->context, diff);
	if (setup->manifest.pending)
		puts("An earlier run was interrupted: this one finishes its work.");
	r = host_change_print_programs(change, error);
	if (r == 0 && host_change_is_nothing(change))
		puts("Nothing to do: the host is set up.");
	return r;
}

/* Makes the change; without --apply it only checks that the change could be made. */
static int carry_out(const struct host_change *change, struct error *error)
{
	if (host_change_is_nothing(change))
		return 0;
	if (!change->apply)
		return host_change_check(change, error);
	fflush(stdout);
	return host_change_apply(change, error);
}

static int run_text(
	const struct host_setup *setup, const struct host_change *change, struct error *error)
{
	bool nothing = host_change_is_nothing(change);
	bool reboot = host_change_needs_reboot(change);
	int r = print_plan(setup, change, error);

	if (r == 0)
		r = carry_out(change, error);
	if (r < 0)
		return r;
	print_reboot(change, reboot, change->apply);
	if (!nothing && !change->apply)
		puts("Nothing has been changed yet: to do it, run the same command with --apply.");
	return 0;
}

static int run_json(
	const struct host_setup *setup, const struct host_change *change, struct error *error)
{
	cleanup(json_object_putp) struct json_object *object = NULL;
	bool reboot = host_change_needs_reboot(change);
	int r = host_change_format(change, &object, error);

	if (r < 0)
		return r;
	json_add_strings(object, "notes", &setup->notices);
	r = carry_out(change, error);
	return r < 0 ? r : host_change_print(change, TAKE_PTR(object), reboot, error);
}

/* The first note: without an IOMMU the rest is of no use yet. */
static int note_iommu(struct context *context, struct names *notices, struct error *error)
{
	struct platform platform = {0};
	char why[128], note[256];
	int r = platform_read(&context->kernel, &platform, error);

	if (r < 0 || !host_iommu_is_missing(&platform, why, sizeof(why)))
		return r;
	snprintf(note, sizeof(note),
		"%s: nothing that setup does helps before it is on; gpu-ferry doctor says where",
		why);
	return names_add(notices, note) < 0 ? error_set_errno(error, -ENOMEM, "look at the IOMMU")
					    : 0;
}

static int run(struct context *context, bool apply, const struct setup_wish *wish,
	const struct pci_functions *host, struct error *error)
{
	cleanup(host_setup_done) struct host_setup setup = {0};
	struct host_change change = {.context = context,
		.apply = apply,
		.loader = &setup.loader,
		.manifest = &setup.manifest,
		.edits = &setup.edits};
	int r = note_iommu(context, &setup.notices, error);

	if (r == 0)
		r = host_setup_find(context, wish, host, &setup, error);
	if (r < 0)
		return r;
	change.needed = setup.needed;
	change.refreshes = setup.refreshes;
	return context->output == OUTPUT_TEXT ? run_text(&setup, &change, error)
					      : run_json(&setup, &change, error);
}

static int run_setup(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct setup_options *options = data;
	struct devices devices = {0};
	struct setup_wish wish = {0};
	auto_close int lock = -1;
	int r;

	if (options->apply && options->dry_run)
		return error_set(error, USAGE, "use either --apply or --dry-run, not both");
	r = host_change_begin(context, options->apply, &lock, error);
	if (r < 0)
		return r;
	r = read_wish(context, options, arguments, &devices, &wish, error);
	if (r == 0)
		r = run(context, options->apply, &wish, &devices.host, error);
	devices_done(&devices);
	return r;
}

#define AT(field) offsetof(struct setup_options, field)

static const struct command_option options_of_setup[] = {
	{"mode", 0, "share|dedicated",
		"who owns the cards: share (the default): the host, until a VM needs them; "
		"dedicated: only VMs, and the DEVICEs are named",
		AT(mode)},
	{"windows", 0, NULL,
		"with --mode dedicated: blacklist the drivers of the devices' displays too",
		AT(windows)},
	{"vfs", 0, "DEVICE=NUMBER",
		"let the device make so many virtual functions (SR-IOV) at boot; 0 takes it back",
		AT(vfs)},
	{"apply", 0, NULL, "make the change; without this option the diff is only shown",
		AT(apply)},
	{"dry-run", 0, NULL, "only show the diff, as without --apply", AT(dry_run)},
	{0},
};

const struct command command_setup = {
	.name = "setup",
	.arguments = "[DEVICE…]",
	.options = options_of_setup,
	.options_size = sizeof(struct setup_options),
	.example = "gpu-ferry setup --mode dedicated 2b:00",
	.run = run_setup,
};
