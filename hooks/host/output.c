/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Prints a change of the host's set-up as JSON. */

#include "output.h"

#include "hooks/base/output.h"
#include "kmod-helper/base/cleanup.h"

static void add_flag(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

static int format_file(const struct file_edit *edit, struct json_object *files, struct error *error)
{
	struct file_edit copy = *edit;
	const struct file_edits only = {.items = &copy, .count = 1};
	struct json_object *object;
	auto_free char *diff = NULL;
	auto_free char *path = NULL;
	int r = file_edits_diff(&only, &diff, error);

	if (r < 0)
		return r;
	if (asprintf(&path, "/%s", edit->path) < 0) {
		path = NULL;
		return error_set_errno(error, -ENOMEM, "format the change");
	}
	object = json_object_new_object();
	json_add_text(object, "path", path);
	json_add_text(object, "action", file_edit_action(edit));
	json_add_text(object, "diff", diff);
	json_object_array_add(files, object);
	return 0;
}

static int add_programs(
	const struct host_change *change, struct json_object *object, struct error *error)
{
	cleanup(names_done) struct names programs = {0};

	if (host_change_programs(change, &programs) < 0)
		return error_set_errno(error, -ENOMEM, "format the change");
	json_add_strings(object, "programs", &programs);
	return 0;
}

int host_change_format(
	const struct host_change *change, struct json_object **ret, struct error *error)
{
	static const char *const loaders[] = {
		[BOOT_LOADER_UNKNOWN] = "",
		[BOOT_LOADER_GRUB] = "grub",
		[BOOT_LOADER_SYSTEMD_BOOT] = "systemd-boot",
	};
	cleanup(json_object_putp) struct json_object *object = json_object_new_object();
	struct json_object *files = json_object_new_array();
	int r = 0;

	json_add_text_or_null(object, "boot_loader", loaders[change->loader->kind]);
	add_flag(object, "proxmox_boot_tool", change->loader->proxmox_boot_tool);
	json_object_object_add(object, "files", files);
	for (size_t i = 0; r == 0 && i < change->edits->count; i++) {
		if (file_edit_is_change(&change->edits->items[i]))
			r = format_file(&change->edits->items[i], files, error);
	}
	if (r == 0)
		r = add_programs(change, object, error);
	add_flag(object, "unfinished", change->manifest->pending);
	if (r == 0) {
		*ret = object;
		object = NULL;
	}
	return r;
}

int host_change_print(const struct host_change *change, struct json_object *object, bool reboot,
	struct error *error)
{
	const struct context *context = change->context;

	add_flag(object, "applied", change->apply);
	add_flag(object, "reboot", reboot || host_reboot_is_due(context, change->manifest));
	return output_json(context, object, error);
}
