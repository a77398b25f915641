/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads and writes the record of the host's files that setup changed, with their originals. */

#include "manifest.h"

#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "three_way.h"
#include <errno.h>
#include <json-c/json.h>
#include <stdint.h>
#include <string.h>

#define MAX_BYTES (16 * 1024 * 1024)

static void edit_done(struct manifest_edit *edit)
{
	free(edit->path);
	free(edit->original);
	free(edit->written);
	free(edit->previous);
	json_object_put(edit->record);
}

void manifest_done(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->count; i++)
		edit_done(&manifest->edits[i]);
	free(manifest->edits);
	names_done(&manifest->folders);
	json_object_put(manifest->record);
	*manifest = (struct manifest){0};
}

bool manifest_is_empty(const struct manifest *manifest)
{
	return !manifest->count && !manifest->folders.count && !manifest->pending;
}

struct manifest_edit *manifest_find(const struct manifest *manifest, const char *path)
{
	for (size_t i = 0; i < manifest->count; i++) {
		if (strcmp(manifest->edits[i].path, path) == 0)
			return &manifest->edits[i];
	}
	return NULL;
}

void manifest_forget(struct manifest *manifest, const char *path)
{
	struct manifest_edit *edit = manifest_find(manifest, path);

	if (!edit)
		return;
	edit_done(edit);
	manifest->count--;
	memmove(edit, edit + 1, (size_t)(manifest->edits + manifest->count - edit) * sizeof(*edit));
}

static bool text_equal(const char *left, const char *right)
{
	return left && right ? strcmp(left, right) == 0 : left == right;
}

static int text_copy(const char *text, char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? -ENOMEM : 0;
}

/* ---- JSON */

/* Text, or null for NULL. */
static int get_text(struct json_object *object, const char *key, char **ret, struct error *error)
{
	struct json_object *value = NULL;

	if (!json_object_object_get_ex(object, key, &value))
		return error_set(error, -EBADMSG, "the field '%s' is missing", key);
	if (value && !json_object_is_type(value, json_type_string))
		return error_set(error, -EBADMSG, "the field '%s' is no text", key);
	if (value &&
		strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
		return error_set(error, -EBADMSG, "the field '%s' holds a NUL", key);
	if (text_copy(value ? json_object_get_string(value) : NULL, ret) < 0)
		return error_set_errno(error, -ENOMEM, "read the manifest");
	return 0;
}

static int get_number(struct json_object *object, const char *key, int64_t maximum, int64_t *ret,
	struct error *error)
{
	struct json_object *value = json_object_object_get(object, key);
	int64_t number = json_object_get_int64(value);

	if (!json_object_is_type(value, json_type_int) || number < 0 || number > maximum)
		return error_set(error, -EBADMSG, "the field '%s' is no number in its range", key);
	*ret = number;
	return 0;
}

/* An undo writes to that path as root: it must stay one. */
static int check_path(const char *path, struct error *error)
{
	bool climbs = strncmp(path, "../", 3) == 0 || strstr(path, "/../");

	if (!path[0] || path[0] == '/' || climbs)
		return error_set(error, -EBADMSG, "'%s' is no path of a file", path);
	return 0;
}

static int edit_parse(struct json_object *object, struct manifest_edit *edit, struct error *error)
{
	int64_t mode = 0;
	int r;

	if (!json_object_is_type(object, json_type_object))
		return error_set(error, -EBADMSG, "an edit is no object");
	if ((r = get_text(object, "path", &edit->path, error)) < 0 ||
		(r = check_path(edit->path ? edit->path : "", error)) < 0 ||
		(r = get_number(object, "mode", 07777, &mode, error)) < 0 ||
		(r = get_text(object, "original", &edit->original, error)) < 0 ||
		(r = get_text(object, "written", &edit->written, error)) < 0)
		return r;
	edit->has_previous = json_object_object_get_ex(object, "previous", NULL);
	if (edit->has_previous && (r = get_text(object, "previous", &edit->previous, error)) < 0)
		return r;
	edit->mode = (mode_t)mode;
	edit->record = json_object_get(object);
	return 0;
}

static int edits_parse(struct json_object *list, struct manifest *manifest, struct error *error)
{
	int r = 0;

	if (!json_object_is_type(list, json_type_array))
		return error_set(error, -EBADMSG, "the field 'edits' is no list");
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		struct manifest_edit *edit = LIST_ADD(manifest->edits, manifest->count);

		r = edit ? edit_parse(json_object_array_get_idx(list, i), edit, error)
			 : error_set_errno(error, -ENOMEM, "read the manifest");
	}
	return r;
}

static int folders_parse(struct json_object *list, struct names *ret, struct error *error)
{
	int r = 0;

	if (!json_object_is_type(list, json_type_array))
		return error_set(error, -EBADMSG, "the field 'folders' is no list");
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		const char *path = json_object_get_string(json_object_array_get_idx(list, i));

		r = check_path(path ? path : "", error);
		if (r == 0 && names_add(ret, path) < 0)
			r = error_set_errno(error, -ENOMEM, "read the manifest");
	}
	return r;
}

static int fields_parse(struct json_object *object, struct manifest *manifest, struct error *error)
{
	auto_free char *boot_id = NULL;
	int64_t schema = 0, pending = 0;
	int r = get_number(object, "schema", INT32_MAX, &schema, error);

	if (r < 0)
		return r;
	if (schema > MANIFEST_SCHEMA)
		return error_set(error, -EPROTONOSUPPORT,
			"it was written by a newer gpu-ferry (schema %lld): install that again",
			(long long)schema);
	if ((r = edits_parse(json_object_object_get(object, "edits"), manifest, error)) < 0 ||
		(r = folders_parse(json_object_object_get(object, "folders"), &manifest->folders,
			 error)) < 0 ||
		(r = get_number(object, "pending", INT32_MAX, &pending, error)) < 0 ||
		(r = get_text(object, "boot_id", &boot_id, error)) < 0)
		return r;
	manifest->pending = (unsigned int)pending & (REFRESH_INITRAMFS | REFRESH_BOOT_LOADER);
	snprintf(manifest->boot_id, sizeof(manifest->boot_id), "%s", boot_id ? boot_id : "");
	manifest->record = json_object_get(object);
	return 0;
}

static void put_object(struct json_object **object)
{
	json_object_put(*object);
}

int manifest_parse(const char *text, struct manifest *ret, struct error *error)
{
	cleanup(put_object) struct json_object *object = json_tokener_parse(text);
	cleanup(manifest_done) struct manifest manifest = {0};
	int r;

	if (!json_object_is_type(object, json_type_object))
		return error_set(error, -EBADMSG, "it is no JSON object");
	r = fields_parse(object, &manifest, error);
	if (r < 0)
		return r;
	*ret = manifest;
	manifest = (struct manifest){0};
	return 0;
}

int manifest_read(const struct root *root, struct manifest *ret, struct error *error)
{
	struct file_read_options options = {.max = MAX_BYTES, .require_owner = true};
	auto_free char *text = NULL;
	int r = file_read(root, MANIFEST_PATH, &options, &text, NULL, error);

	if (r == -ENOENT) {
		*ret = (struct manifest){0};
		return 0;
	}
	if (r < 0)
		return r;
	r = manifest_parse(text, ret, error);
	return r < 0 ? error_wrap(error, r, "read /" MANIFEST_PATH) : 0;
}

/* A copy of what was read, so that unknown fields come along. */
static struct json_object *record_copy(struct json_object *record)
{
	struct json_object *copy = NULL;

	if (record && json_object_deep_copy(record, &copy, NULL) == 0)
		return copy;
	return json_object_new_object();
}

static void add_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, text ? json_object_new_string(text) : NULL);
}

static struct json_object *edit_format(const struct manifest_edit *edit)
{
	struct json_object *object = record_copy(edit->record);

	add_text(object, "path", edit->path);
	json_object_object_add(object, "mode", json_object_new_int64(edit->mode));
	add_text(object, "original", edit->original);
	add_text(object, "written", edit->written);
	if (edit->has_previous)
		add_text(object, "previous", edit->previous);
	else
		json_object_object_del(object, "previous");
	return object;
}

int manifest_format(const struct manifest *manifest, char **ret_text, struct error *error)
{
	cleanup(put_object) struct json_object *object = record_copy(manifest->record);
	struct json_object *edits = json_object_new_array();
	struct json_object *folders = json_object_new_array();
	const char *text;

	for (size_t i = 0; i < manifest->count; i++)
		json_object_array_add(edits, edit_format(&manifest->edits[i]));
	for (size_t i = 0; i < manifest->folders.count; i++)
		json_object_array_add(folders, json_object_new_string(manifest->folders.names[i]));
	json_object_object_add(object, "schema", json_object_new_int64(MANIFEST_SCHEMA));
	json_object_object_add(object, "edits", edits);
	json_object_object_add(object, "folders", folders);
	json_object_object_add(object, "pending", json_object_new_int64(manifest->pending));
	add_text(object, "boot_id", manifest->boot_id);
	text = json_object_to_json_string_ext(
		object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	*ret_text = text ? strdup(text) : NULL;
	return *ret_text ? 0 : error_set_errno(error, -ENOMEM, "write the manifest");
}

/* ---- what is the original */

/* A file of ours: what somebody else has put into it stays, blank lines do not keep it. */
static int created_original(
	const struct manifest_edit *edit, const char *current, char **ret, struct error *error)
{
	auto_free char *rest = NULL;
	int r;

	if (!current || text_equal(current, edit->written)) {
		*ret = NULL;
		return 0;
	}
	r = revision_remove(edit->written ? edit->written : "", current, &rest, error);
	if (r < 0)
		return error_wrap(error, r, "/%s", edit->path);
	*ret = text_is_blank(rest) ? NULL : TAKE_PTR(rest);
	return 0;
}

static int copy_original(const char *text, char **ret, struct error *error)
{
	int r = text_copy(text, ret);

	return r < 0 ? error_set_errno(error, r, "look at the originals") : 0;
}

int manifest_original(
	const struct manifest_edit *edit, const char *current, char **ret, struct error *error)
{
	int r;

	if (edit->has_previous && text_equal(current, edit->previous))
		return copy_original(edit->original, ret, error);
	if (!edit->original)
		return created_original(edit, current, ret, error);
	if (text_equal(current, edit->written) || text_equal(current, edit->original))
		return copy_original(edit->original, ret, error);
	/* somebody has removed it: that is a change of theirs, and stays */
	if (!current)
		return copy_original(NULL, ret, error);
	if (!edit->written)
		return error_set(error, -EUCLEAN,
			"/%s: somebody has written it anew since gpu-ferry removed it", edit->path);
	r = revision_revert(edit->original, edit->written, current, ret, error);
	return r < 0 ? error_wrap(error, r, "/%s", edit->path) : 0;
}

static int note_fill(
	struct manifest_edit *edit, const char *path, const char *before, const char *after)
{
	auto_free char *path_copy = strdup(path);
	auto_free char *previous = NULL;
	char *written = NULL;

	if (!path_copy || text_copy(before, &previous) < 0 || text_copy(after, &written) < 0)
		return -ENOMEM;
	free(edit->path);
	free(edit->written);
	free(edit->previous);
	edit->path = TAKE_PTR(path_copy);
	edit->previous = TAKE_PTR(previous);
	edit->has_previous = true;
	edit->written = written;
	return 0;
}

int manifest_note(struct manifest *manifest, const char *path, mode_t mode, const char *before,
	const char *after, struct error *error)
{
	struct manifest_edit *known = manifest_find(manifest, path);
	auto_free char *original = NULL;
	int r = known ? manifest_original(known, before, &original, error)
		      : copy_original(before, &original, error);

	if (r < 0)
		return r;
	if (!known)
		known = LIST_ADD(manifest->edits, manifest->count);
	if (!known)
		return error_set_errno(error, -ENOMEM, "note the change of /%s", path);
	r = note_fill(known, path, before, after);
	if (r < 0) {
		if (!known->path)
			manifest->count--;
		return error_set_errno(error, r, "note the change of /%s", path);
	}
	free(known->original);
	known->original = TAKE_PTR(original);
	known->mode = mode;
	return 0;
}

void manifest_settle(struct manifest *manifest)
{
	for (size_t i = manifest->count; i-- > 0;) {
		struct manifest_edit *edit = &manifest->edits[i];

		free(TAKE_PTR(edit->previous));
		edit->has_previous = false;
		if (text_equal(edit->original, edit->written))
			manifest_forget(manifest, edit->path);
	}
}
