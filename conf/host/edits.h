/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Changes several files of the host's set-up together: either all are changed, or none. First the
 * originals go into the manifest. Then every new text is written beside its file, so that a full or
 * read-only file system is noticed before any file has changed. Then come the renames, and last
 * what is made from the files (initramfs, boot menu). A failure puts everything back. If the
 * program is killed half-way, the next run continues or undoes from the manifest. */

#include "manifest.h"

struct file_edit {
	char *path; /* "etc/default/grub" */
	mode_t mode;
	char *before; /* NULL: there is no such file */
	char *after;  /* NULL: there will be none */
};

struct file_edits {
	struct file_edit *items;
	size_t count;
};

/* Opens the file as it is now; change its `after` with file_edit_set. A second call for the same
 * path gives the same edit. 0, -ELOOP for a symbolic link (it may lead to anybody's file), -EPERM
 * when the file is not root's or others may write to it, -EILSEQ when it holds a NUL, -ENOMEM or
 * -errno of file_read. The pointer is valid until the next call. Free all with file_edits_done. */
int file_edits_open(const struct root *root, const char *path, struct file_edits *edits,
	struct file_edit **ret, struct error *error);
void file_edits_done(struct file_edits *edits);

/* Copies @text as the edit's `after`; NULL deletes the file. 0 or -ENOMEM. */
int file_edit_set(struct file_edit *edit, const char *text);
bool file_edit_is_change(const struct file_edit *edit);
bool file_edits_have_changes(const struct file_edits *edits);

/* Every change as unified diffs, malloced; "" when there is none. 0, -ENOMEM or -EFBIG. */
int file_edits_diff(const struct file_edits *edits, char **ret, struct error *error);

/* The single operations of applying, as a table so that tests can make each of them fail. All
 * return 0 or -errno. */
struct edit_ops {
	int (*make_folder)(
		const struct root *root, const char *path, mode_t mode, struct error *error);
	int (*stage)(const struct root *root, const char *path, mode_t mode, const char *text,
		struct error *error);
	int (*commit)(const struct root *root, const char *path, struct error *error);
	int (*remove)(const struct root *root, const char *path, struct error *error);
	/* Makes anew what depends on the files; @refresh is one of REFRESH_…. */
	int (*refresh)(void *context, unsigned int refresh, struct error *error);
	/* Checks that the changed files say what was meant. May be NULL. */
	int (*verify)(void *context, struct error *error);
};

/* The four operations that change files, from kmod-helper/base/file.h. */
extern const struct edit_ops edit_file_ops;

struct edit_job {
	const struct root *root;
	const struct edit_ops *ops;
	void *context;		/* for refresh and verify */
	unsigned int refreshes; /* what to make anew, besides what the manifest says */
	const char *boot_id;	/* noted when something changes; NULL: nothing waits for a reboot */
	struct manifest *manifest;
};

/* Makes the changes of @edits, and whatever the manifest still has pending. job->manifest is the
 * manifest that was read, without the entries that are no longer needed; it is up to date
 * afterwards. Returns 0, or -errno with every file as it was before (-ESTALE when one has changed
 * since it was read). If not even that worked, the message says so, and the manifest has the
 * originals. */
int file_edits_apply(
	const struct edit_job *job, const struct file_edits *edits, struct error *error);

/* Adds to @edits the changes that bring every file of the manifest back to its original. A file
 * that has its original already is removed from the manifest. @left gets one line for each file
 * that cannot be brought back. 0 or -ENOMEM. */
int file_edits_undo(const struct root *root, struct manifest *manifest, struct file_edits *edits,
	struct names *left, struct error *error);

/* Deletes what a run left behind that was killed before it had written its manifest. */
void file_edits_sweep(const struct root *root);

/* The name of a refresh in messages. The commands themselves (update-initramfs -u -k all …) belong
 * to hooks/. */
const char *refresh_name(unsigned int refresh);
