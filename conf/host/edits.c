/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Changes several files of the host's set-up together: all of them, or none. */

#include "edits.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "three_way.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BYTES (256 * 1024)
#define FILE_MODE 0644
#define FOLDER_MODE 0755
#define MANIFEST_MODE 0600
#define MANIFEST_FOLDER_MODE 0700

/* The initramfs comes first, so that the boot loader is switched over last. */
static const unsigned int refreshes[] = {REFRESH_INITRAMFS, REFRESH_BOOT_LOADER};

#define REFRESH_COUNT (sizeof(refreshes) / sizeof(refreshes[0]))

const struct edit_ops edit_file_ops = {
	.make_folder = folder_make,
	.stage = file_stage,
	.commit = file_commit,
	.remove = file_remove,
};

const char *refresh_name(unsigned int refresh)
{
	return refresh == REFRESH_INITRAMFS ? "the initramfs" : "the boot loader's configuration";
}

void file_edits_done(struct file_edits *edits)
{
	for (size_t i = 0; i < edits->count; i++) {
		free(edits->items[i].path);
		free(edits->items[i].before);
		free(edits->items[i].after);
	}
	free(edits->items);
	*edits = (struct file_edits){0};
}

static bool text_equal(const char *left, const char *right)
{
	return left && right ? strcmp(left, right) == 0 : left == right;
}

bool file_edit_is_change(const struct file_edit *edit)
{
	return !text_equal(edit->before, edit->after);
}

bool file_edits_have_changes(const struct file_edits *edits)
{
	for (size_t i = 0; i < edits->count; i++) {
		if (file_edit_is_change(&edits->items[i]))
			return true;
	}
	return false;
}

int file_edit_set(struct file_edit *edit, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	free(edit->after);
	edit->after = copy;
	return 0;
}

static int refuse_link(const struct root *root, const char *path, struct error *error)
{
	if (!path_is_link(root, path))
		return 0;
	return error_set(error, -ELOOP,
		"change /%s: it is a symbolic link, and gpu-ferry does not change files behind "
		"links: put the file itself there, then try again",
		path);
}

/* Reads the file; *@ret_text is NULL when it does not exist. */
static int text_read(const struct root *root, const char *path, char **ret_text, mode_t *ret_mode,
	struct error *error)
{
	struct file_read_options options = {
		.max = MAX_BYTES, .require_owner = true, .refuse_nul = true};
	auto_free char *text = NULL;
	auto_close int fd = -1;
	struct stat status;
	int r = refuse_link(root, path, error);

	if (r < 0)
		return r;
	r = file_read(root, path, &options, &text, NULL, error);
	if (r < 0 && r != -ENOENT)
		return r;
	fd = file_open(root, path, O_PATH);
	*ret_mode = fd >= 0 && fstat(fd, &status) == 0 ? status.st_mode & 07777 : FILE_MODE;
	*ret_text = TAKE_PTR(text);
	return 0;
}

static int edits_add(struct file_edits *edits, struct file_edit *edit)
{
	struct file_edit *place = LIST_ADD(edits->items, edits->count);

	if (!place)
		return -ENOMEM;
	*place = *edit;
	return 0;
}

int file_edits_open(const struct root *root, const char *path, struct file_edits *edits,
	struct file_edit **ret, struct error *error)
{
	struct file_edit edit = {0};
	int r;

	for (size_t i = 0; i < edits->count; i++) {
		if (strcmp(edits->items[i].path, path) == 0) {
			*ret = &edits->items[i];
			return 0;
		}
	}
	r = text_read(root, path, &edit.before, &edit.mode, error);
	if (r < 0)
		return r;
	edit.path = strdup(path);
	edit.after = edit.before ? strdup(edit.before) : NULL;
	if (!edit.path || (edit.before && !edit.after) || edits_add(edits, &edit) < 0) {
		free(edit.path);
		free(edit.before);
		free(edit.after);
		return error_set_errno(error, -ENOMEM, "read /%s", path);
	}
	*ret = &edits->items[edits->count - 1];
	return 0;
}

int file_edits_diff(const struct file_edits *edits, char **ret, struct error *error)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	int r = stream ? 0 : error_set_errno(error, -ENOMEM, "compare the files");

	for (size_t i = 0; r == 0 && i < edits->count; i++) {
		auto_free char *diff = NULL;

		r = revision_diff(edits->items[i].path, edits->items[i].before,
			edits->items[i].after, &diff, error);
		if (r == 0)
			fputs(diff, stream);
	}
	if (stream && fclose(stream) == EOF && r == 0)
		r = error_set_errno(error, -ENOMEM, "compare the files");
	if (r < 0) {
		free(text);
		return r;
	}
	*ret = text;
	return 0;
}

/* ---- applying */

static int manifest_write(
	const struct edit_job *job, const struct manifest *manifest, struct error *error)
{
	auto_free char *text = NULL;
	int r;

	if (manifest_is_empty(manifest))
		return job->ops->remove(job->root, MANIFEST_PATH, error);
	r = manifest_format(manifest, &text, error);
	if (r == 0)
		r = job->ops->make_folder(job->root, MANIFEST_FOLDER, MANIFEST_FOLDER_MODE, error);
	if (r == 0)
		r = job->ops->stage(job->root, MANIFEST_PATH, MANIFEST_MODE, text, error);
	if (r == 0)
		r = job->ops->commit(job->root, MANIFEST_PATH, error);
	if (r < 0)
		file_discard(job->root, MANIFEST_PATH);
	return r;
}

static int check_unchanged(
	const struct edit_job *job, const struct file_edits *edits, struct error *error)
{
	for (size_t i = 0; i < edits->count; i++) {
		const struct file_edit *edit = &edits->items[i];
		auto_free char *now = NULL;
		mode_t mode;
		int r = text_read(job->root, edit->path, &now, &mode, error);

		if (r < 0)
			return r;
		if (!text_equal(now, edit->before))
			return error_set(error, -ESTALE,
				"change /%s: somebody else has just changed it: run the same "
				"command again",
				edit->path);
	}
	return 0;
}

static bool folder_exists(const struct root *root, const char *path)
{
	auto_close int fd = file_open(root, path, O_RDONLY | O_DIRECTORY);

	return fd >= 0;
}

/* The folder of @path, or false when it is the root. */
static bool folder_of(const char *path, char *ret, size_t size)
{
	const char *slash = strrchr(path, '/');

	return slash && snprintf(ret, size, "%.*s", (int)(slash - path), path) < (int)size;
}

/* Notes the folders that have to be made for new files. */
static int note_folders(
	const struct edit_job *job, const struct file_edits *edits, struct error *error)
{
	struct names *folders = &job->manifest->folders;
	char folder[PATH_MAX];

	for (size_t i = 0; i < edits->count; i++) {
		if (!edits->items[i].after ||
			!folder_of(edits->items[i].path, folder, sizeof(folder)) ||
			folder_exists(job->root, folder))
			continue;
		if (names_add_once(folders, folder) < 0)
			return error_set_errno(error, -ENOMEM, "make the folder /%s", folder);
	}
	return 0;
}

static int make_folders(
	const struct edit_job *job, const struct file_edits *edits, struct error *error)
{
	char folder[PATH_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < edits->count; i++) {
		if (edits->items[i].after &&
			folder_of(edits->items[i].path, folder, sizeof(folder)) &&
			!folder_exists(job->root, folder))
			r = job->ops->make_folder(job->root, folder, FOLDER_MODE, error);
	}
	return r;
}

/* Removes our folders that are empty. A folder that still holds something stays, and stays noted as
 * ours. */
static void remove_folders(const struct edit_job *job, struct names *folders)
{
	size_t kept = 0;

	for (size_t i = folders->count; i-- > 0;) {
		if (folder_remove_empty(job->root, folders->names[i])) {
			free(folders->names[i]);
			folders->names[i] = NULL;
		}
	}
	for (size_t i = 0; i < folders->count; i++) {
		if (folders->names[i])
			folders->names[kept++] = folders->names[i];
	}
	folders->count = kept;
}

static int note_all(const struct edit_job *job, const struct file_edits *edits, struct error *error)
{
	int r = note_folders(job, edits, error);

	for (size_t i = 0; r == 0 && i < edits->count; i++) {
		const struct file_edit *edit = &edits->items[i];

		if (file_edit_is_change(edit))
			r = manifest_note(job->manifest, edit->path, edit->mode, edit->before,
				edit->after, error);
	}
	return r;
}

static int stage_all(
	const struct edit_job *job, const struct file_edits *edits, struct error *error)
{
	int r = make_folders(job, edits, error);

	for (size_t i = 0; r == 0 && i < edits->count; i++) {
		const struct file_edit *edit = &edits->items[i];

		if (file_edit_is_change(edit) && edit->after)
			r = job->ops->stage(job->root, edit->path, edit->mode, edit->after, error);
	}
	for (size_t i = 0; r < 0 && i < edits->count; i++)
		file_discard(job->root, edits->items[i].path);
	return r;
}

static int commit_one(const struct edit_job *job, const struct file_edit *edit, struct error *error)
{
	if (!file_edit_is_change(edit))
		return 0;
	return edit->after ? job->ops->commit(job->root, edit->path, error)
			   : job->ops->remove(job->root, edit->path, error);
}

static int restore_one(
	const struct edit_job *job, const struct file_edit *edit, struct error *error)
{
	int r;

	if (!file_edit_is_change(edit))
		return 0;
	if (!edit->before)
		return job->ops->remove(job->root, edit->path, error);
	r = job->ops->stage(job->root, edit->path, edit->mode, edit->before, error);
	if (r == 0)
		r = job->ops->commit(job->root, edit->path, error);
	if (r < 0)
		file_discard(job->root, edit->path);
	return r;
}

/* Puts the first @count files back, the last first. Returns 0, or the first failure. */
static int restore(const struct edit_job *job, const struct file_edits *edits, size_t count,
	struct error *error)
{
	int first = 0;

	for (size_t i = count; i-- > 0;) {
		struct error later = {0};
		int r = restore_one(job, &edits->items[i], first ? &later : error);

		first = first ? first : r;
	}
	return first;
}

static int commit_all(
	const struct edit_job *job, const struct file_edits *edits, struct error *error)
{
	struct error failed = {0};
	size_t done = 0;
	int r = 0;

	for (; r == 0 && done < edits->count; done++)
		r = commit_one(job, &edits->items[done], error);
	if (r == 0 && job->ops->verify)
		r = job->ops->verify(job->context, error);
	if (r == 0)
		return 0;
	/* the file that failed is put back too: it may be renamed (fsync failed) */
	failed.status = restore(job, edits, done, &failed);
	for (size_t i = 0; i < edits->count; i++)
		file_discard(job->root, edits->items[i].path);
	if (failed.status < 0)
		return error_wrap(error, -EUCLEAN,
			"%s; not all files could be restored: run `gpu-ferry undo --apply`",
			failed.message);
	return r;
}

/* Makes anew all that is pending. @ret_begun gets what was tried, successful or not. */
static int refresh_all(const struct edit_job *job, unsigned int *ret_begun, struct error *error)
{
	for (size_t i = 0; i < REFRESH_COUNT; i++) {
		int r;

		if (!(job->manifest->pending & refreshes[i]))
			continue;
		*ret_begun |= refreshes[i];
		r = job->ops->refresh(job->context, refreshes[i], error);
		if (r < 0)
			return r;
		job->manifest->pending &= ~refreshes[i];
	}
	return 0;
}

static void finish(const struct edit_job *job)
{
	remove_folders(job, &job->manifest->folders);
	manifest_settle(job->manifest);
	/* a folder of ours that holds files of others stays, and is theirs from now on */
	if (!job->manifest->count)
		names_done(&job->manifest->folders);
	/* if this fails, the next run repeats what was done, which does no harm */
	(void)manifest_write(job, job->manifest, NULL);
	if (manifest_is_empty(job->manifest))
		folder_remove_empty(job->root, MANIFEST_FOLDER);
}

/* After a failed refresh: puts the files back, then makes anew from them what had been begun. */
static int roll_back(const struct edit_job *job, const struct file_edits *edits,
	struct manifest *before, unsigned int begun, int status, struct error *error)
{
	struct error failed = {0};
	int r = restore(job, edits, edits->count, &failed);

	if (r < 0)
		return error_wrap(error, -EUCLEAN,
			"%s; not all files could be restored: run `gpu-ferry undo --apply`",
			failed.message);
	before->pending |= begun;
	remove_folders(job, &job->manifest->folders);
	manifest_done(job->manifest);
	*job->manifest = *before;
	*before = (struct manifest){0};
	(void)manifest_write(job, job->manifest, NULL);
	if (refresh_all(job, &begun, &failed) < 0)
		error_wrap(error, status,
			"the files are restored, but %s must still be rebuilt from them: fix the "
			"cause, then run the same command again",
			refresh_name(job->manifest->pending & REFRESH_INITRAMFS
					? REFRESH_INITRAMFS
					: REFRESH_BOOT_LOADER));
	else
		error_wrap(error, status, "everything is as it was before");
	finish(job);
	return status;
}

static void sweep(const struct edit_job *job, const struct file_edits *edits)
{
	file_sweep(job->root, MANIFEST_PATH);
	for (size_t i = 0; i < edits->count; i++)
		file_sweep(job->root, edits->items[i].path);
	for (size_t i = 0; i < job->manifest->count; i++)
		file_sweep(job->root, job->manifest->edits[i].path);
}

static int manifest_copy(const struct manifest *manifest, struct manifest *ret, struct error *error)
{
	auto_free char *text = NULL;
	int r = manifest_format(manifest, &text, error);

	return r < 0 ? r : manifest_parse(text, ret, error);
}

static int change_files(const struct edit_job *job, const struct file_edits *edits,
	struct manifest *before, struct error *error)
{
	int r = manifest_write(job, job->manifest, error);

	if (r < 0)
		return r;
	r = stage_all(job, edits, error);
	if (r == 0)
		r = commit_all(job, edits, error);
	if (r < 0 && r != -EUCLEAN) {
		remove_folders(job, &job->manifest->folders);
		(void)manifest_write(job, before, NULL);
	}
	return r;
}

int file_edits_apply(
	const struct edit_job *job, const struct file_edits *edits, struct error *error)
{
	cleanup(manifest_done) struct manifest before = {0};
	unsigned int begun = 0;
	int r = check_unchanged(job, edits, error);

	if (r == 0)
		r = manifest_copy(job->manifest, &before, error);
	if (r < 0)
		return r;
	sweep(job, edits);
	job->manifest->pending |= job->refreshes;
	if (job->boot_id)
		snprintf(
			job->manifest->boot_id, sizeof(job->manifest->boot_id), "%s", job->boot_id);
	r = note_all(job, edits, error);
	if (r == 0)
		r = change_files(job, edits, &before, error);
	if (r < 0)
		return r;
	r = refresh_all(job, &begun, error);
	if (r < 0)
		return roll_back(job, edits, &before, begun, r, error);
	finish(job);
	return 0;
}

/* Returns 1 when the file holds its original already. */
static int undo_one(const struct root *root, const struct manifest_edit *known,
	struct file_edits *edits, struct error *error)
{
	auto_free char *original = NULL;
	struct file_edit *edit = NULL;
	int r = file_edits_open(root, known->path, edits, &edit, error);

	if (r < 0 || !edit)
		return r;
	r = manifest_original(known, edit->before, &original, error);
	if (r < 0)
		return r;
	free(edit->after);
	edit->after = TAKE_PTR(original);
	/* the file is gone, so only the manifest knows its mode */
	if (!edit->before)
		edit->mode = known->mode;
	return file_edit_is_change(edit) ? 0 : 1;
}

int file_edits_undo(const struct root *root, struct manifest *manifest, struct file_edits *edits,
	struct names *left, struct error *error)
{
	for (size_t i = manifest->count; i-- > 0;) {
		struct error why = {0};
		int r = undo_one(root, &manifest->edits[i], edits, &why);

		if (r > 0)
			manifest_forget(manifest, manifest->edits[i].path);
		if (r == -ENOMEM || (r < 0 && names_add(left, why.message) < 0))
			return error_set_errno(error, -ENOMEM, "undo");
	}
	return 0;
}

void file_edits_sweep(const struct root *root)
{
	file_sweep(root, MANIFEST_PATH);
	folder_remove_empty(root, MANIFEST_FOLDER);
}
