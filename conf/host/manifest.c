/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads and writes the record of the host's files that setup changed, with their originals. */

#include "manifest.h"

#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/record/record.h"
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

/* ---- as JSON */

static bool edit_has_previous(const void *edit)
{
	return ((const struct manifest_edit *)edit)->has_previous;
}

static const struct record_field edit_fields[] = {
	{"path", RECORD_STRING, RECORD_MEMBER(struct manifest_edit, path), .required = true},
	{"mode", RECORD_NUMBER, RECORD_MEMBER(struct manifest_edit, mode), .maximum = 07777},
	{"original", RECORD_STRING, RECORD_MEMBER(struct manifest_edit, original),
		.required = true},
	{"written", RECORD_STRING, RECORD_MEMBER(struct manifest_edit, written), .required = true},
	{"previous", RECORD_STRING, RECORD_MEMBER(struct manifest_edit, previous),
		.is_there = edit_has_previous},
};
static const struct record_format edit_format = {RECORD_FIELDS(edit_fields),
	.size = sizeof(struct manifest_edit), .record = offsetof(struct manifest_edit, record)};

static const struct record_field manifest_fields[] = {
	{"edits", RECORD_LIST, RECORD_MEMBER(struct manifest, edits),
		.count = offsetof(struct manifest, count), .format = &edit_format},
	{"folders", RECORD_NAMES, RECORD_MEMBER(struct manifest, folders)},
	{"pending", RECORD_NUMBER, RECORD_MEMBER(struct manifest, pending), .maximum = INT32_MAX},
	{"boot_id", RECORD_TEXT, RECORD_MEMBER(struct manifest, boot_id), .required = true},
};

/* An undo writes to this path as root, so it must not lead anywhere else. */
static int check_path(const char *path, struct error *error)
{
	bool climbs = path && (strncmp(path, "../", 3) == 0 || strstr(path, "/../"));

	if (!path || !path[0] || path[0] == '/' || climbs)
		return error_set(error, -EBADMSG, "'%s' is not a file path", path ? path : "");
	return 0;
}

static int check_paths(const void *record, struct error *error)
{
	const struct manifest *manifest = record;
	int r = 0;

	for (size_t i = 0; r == 0 && i < manifest->count; i++)
		r = check_path(manifest->edits[i].path, error);
	for (size_t i = 0; r == 0 && i < manifest->folders.count; i++)
		r = check_path(manifest->folders.names[i], error);
	return r;
}

static const struct record_format manifest_record = {RECORD_FIELDS(manifest_fields),
	.size = sizeof(struct manifest), .record = offsetof(struct manifest, record),
	.schema = MANIFEST_SCHEMA, .max = MAX_BYTES, .check = check_paths};

int manifest_parse(const char *text, struct manifest *ret, struct error *error)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	int r = record_parse(&manifest_record, text, &manifest, error);

	if (r < 0)
		return r;
	/* null, for no file, is not the same as no field */
	for (size_t i = 0; i < manifest.count; i++)
		manifest.edits[i].has_previous =
			json_object_object_get_ex(manifest.edits[i].record, "previous", NULL);
	manifest.pending &= REFRESH_INITRAMFS | REFRESH_BOOT_LOADER;
	*ret = manifest;
	manifest = (struct manifest){0};
	return 0;
}

int manifest_read(const struct root *root, struct manifest *ret, struct error *error)
{
	auto_free char *text = NULL;
	int r = record_read_file(root, MANIFEST_PATH, &manifest_record, &text, error);

	if (r == -ENOENT) {
		*ret = (struct manifest){0};
		return 0;
	}
	if (r < 0)
		return r;
	r = manifest_parse(text, ret, error);
	return r < 0 ? error_wrap(error, r, "read /" MANIFEST_PATH) : 0;
}

int manifest_format(const struct manifest *manifest, char **ret_text, struct error *error)
{
	return record_write(&manifest_record, manifest, ret_text, error);
}

/* ---- what is the original */

/* The original of a file that we created: none, or what somebody else has added to it. Blank lines
 * alone do not keep the file. */
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
	/* somebody else has removed the file: that is their change, and it stays removed */
	if (!current)
		return copy_original(NULL, ret, error);
	if (!edit->written)
		return error_set(error, -EUCLEAN,
			"/%s: it was created again after gpu-ferry had removed it", edit->path);
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
		return error_set_errno(error, -ENOMEM, "record the change of /%s", path);
	r = note_fill(known, path, before, after);
	if (r < 0) {
		if (!known->path)
			manifest->count--;
		return error_set_errno(error, r, "record the change of /%s", path);
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
