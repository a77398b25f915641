/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry undo`: takes back all that setup and attach changed. */

#include "commands.h"

#include "hooks/attach/attach.h"
#include "hooks/attach/attachment_edit.h"
#include "hooks/base/output.h"
#include "hooks/host/output.h"
#include "hooks/host/setup.h"
#include "kmod-helper/base/cleanup.h"

struct undo_options {
	bool apply;
	bool dry_run;
};

static unsigned int refreshes_of(const struct file_edits *edits)
{
	unsigned int refreshes = 0;

	for (size_t i = 0; i < edits->count; i++) {
		if (file_edit_is_change(&edits->items[i]))
			refreshes |= host_setup_refresh_of(edits->items[i].path);
	}
	return refreshes;
}

static int print_plan(const struct host_change *change, struct error *error)
{
	auto_free char *diff = NULL;
	int r = file_edits_diff(change->edits, &diff, error);

	if (r < 0)
		return r;
	output_diff(change->context, diff);
	r = host_change_print_programs(change, error);
	if (r == 0 && host_change_is_nothing(change))
		puts(change->manifest->count ? "No change to the host's set-up can be undone now."
					     : "No change to the host's set-up is left to undo.");
	return r;
}

/* Applies the undo even when no file changes: the manifest must be removed also when its files are
 * as before already. */
static int carry_out(const struct host_change *change, bool was_empty, struct error *error)
{
	if (!change->apply)
		return host_change_is_nothing(change) ? 0 : host_change_check(change, error);
	fflush(stdout);
	if (!was_empty)
		return host_change_apply(change, error);
	file_edits_sweep(&change->context->kernel.root);
	return 0;
}

static int change_text(const struct host_change *change, bool was_empty, struct error *error)
{
	bool nothing = host_change_is_nothing(change);
	bool reboot = host_change_needs_reboot(change);
	int r = print_plan(change, error);

	if (r == 0)
		r = carry_out(change, was_empty, error);
	if (r < 0 || nothing)
		return r;
	if (!change->apply)
		puts("Nothing has been changed yet: to do it, run gpu-ferry undo --apply.");
	else if (reboot)
		puts("Reboot now: the change takes effect at the next boot.");
	return 0;
}

static int change_json(const struct host_change *change, bool was_empty, const struct names *left,
	struct error *error)
{
	cleanup(json_object_putp) struct json_object *object = NULL;
	bool reboot = host_change_needs_reboot(change);
	int r = host_change_format(change, &object, error);

	if (r < 0)
		return r;
	json_add_strings(object, "not_undone", left);
	r = carry_out(change, was_empty, error);
	return r < 0 ? r : host_change_print(change, TAKE_PTR(object), reboot, error);
}

static int tell_left(const struct context *context, const struct names *left, struct error *error)
{
	for (size_t i = 0; i < left->count; i++)
		log_write(&context->log, LOG_ERR, "not undone: %s", left->names[i]);
	if (!left->count)
		return 0;
	return error_set(error, -EUCLEAN,
		"%zu of the changed files could not be undone: change them by hand, with the originals "
		"in /" MANIFEST_PATH ", then run `gpu-ferry undo --apply` again",
		left->count);
}

static int undo_host(struct context *context, bool apply, struct error *error)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};
	cleanup(names_done) struct names left = {0};
	struct boot_loader loader;
	struct host_change change = {.context = context,
		.apply = apply,
		.loader = &loader,
		.manifest = &manifest,
		.edits = &edits};
	bool was_empty;
	int r = manifest_read(&context->kernel.root, &manifest, error);

	if (r < 0)
		return r;
	was_empty = manifest_is_empty(&manifest);
	r = file_edits_undo(&context->kernel.root, &manifest, &edits, &left, error);
	if (r < 0)
		return r;
	boot_loader_find(&context->kernel.root, &loader);
	change.refreshes = refreshes_of(&edits);
	r = context->output == OUTPUT_TEXT ? change_text(&change, was_empty, error)
					   : change_json(&change, was_empty, &left, error);
	return r < 0 ? r : tell_left(context, &left, error);
}

/* Takes back the guests' changes first. An error there does not stop the undo of the host's set-up.
 */
static int undo_attachments(struct context *context, bool apply, struct error *error)
{
	size_t count = 0;
	int r = detach_all(context, apply, &count, error);

	if (count && !apply && context->output == OUTPUT_TEXT)
		puts("These guests would be detached: nothing has been changed yet.");
	fflush(stdout);
	return r;
}

static int undo_all(struct context *context, bool apply, struct error *error)
{
	struct error later = {0};
	int r = undo_attachments(context, apply, error);
	int second = undo_host(context, apply, &later);

	if (second == 0 && apply)
		attachments_remove_folders(&context->kernel.root);
	if (second == 0)
		return r;
	if (r < 0)
		log_write(&context->log, LOG_ERR, "%s", later.message);
	else
		*error = later;
	return r < 0 ? r : second;
}

static int run_undo(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct undo_options *options = data;
	auto_close int lock = -1;
	int r;

	if (arguments[0])
		return error_set(error, USAGE, "undo takes no argument '%s'", arguments[0]);
	if (options->apply && options->dry_run)
		return error_set(error, USAGE, "use either --apply or --dry-run, not both");
	r = host_change_begin(context, options->apply, &lock, error);
	return r < 0 ? r : undo_all(context, options->apply, error);
}

#define AT(field) offsetof(struct undo_options, field)

static const struct command_option options_of_undo[] = {
	{"apply", 0, NULL, "make the change; without this option the diff is only shown",
		AT(apply)},
	{"dry-run", 0, NULL, "only show the diff, as without --apply", AT(dry_run)},
	{0},
};

const struct command command_undo = {
	.name = "undo",
	.arguments = "",
	.options = options_of_undo,
	.options_size = sizeof(struct undo_options),
	.example = "gpu-ferry undo",
	.run = run_undo,
};
