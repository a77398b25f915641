/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Changes of several files of the host's set-up that belong together: all are made, or none. The
 * originals go into the manifest first; then every new text is written beside its file, so that a
 * full or read-only file system is found out before any file has changed; then the renames; then
 * what is made from the files (initramfs, boot menu). A failure puts everything back. Whoever is
 * killed half-way leaves a manifest from which the next run goes on, or undoes.
 */

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

/* The file as it is now, to be changed in its `after` (malloced; replace it with file_edit_set).
 * Asked for again it is the same one. 0, -ELOOP for a symbolic link (its file may be anybody's),
 * -EPERM when it is not root's alone, -EILSEQ when it holds a NUL, -ENOMEM or -errno of file_read.
 * The pointer lasts until the next call. Free all with file_edits_done. */
int file_edits_open(const struct root *root, const char *path, struct file_edits *edits,
	struct file_edit **ret, struct error *error);
void file_edits_done(struct file_edits *edits);

/* Copies @text as the edit's `after`; NULL: the file is to go. 0 or -ENOMEM. */
int file_edit_set(struct file_edit *edit, const char *text);
bool file_edit_is_change(const struct file_edit *edit);
bool file_edits_have_changes(const struct file_edits *edits);

/* Every change as unified diffs, malloced; "" when there is none. 0, -ENOMEM or -EFBIG. */
int file_edits_diff(const struct file_edits *edits, char **ret, struct error *error);

/* What applying does, one by one, so that tests can have each fail. All 0 or -errno. */
struct edit_ops {
	int (*make_folder)(
		const struct root *root, const char *path, mode_t mode, struct error *error);
	int (*stage)(const struct root *root, const char *path, mode_t mode, const char *text,
		struct error *error);
	int (*commit)(const struct root *root, const char *path, struct error *error);
	int (*remove)(const struct root *root, const char *path, struct error *error);
	/* Makes anew what depends on the files; @refresh is one of REFRESH_…. */
	int (*refresh)(void *context, unsigned int refresh, struct error *error);
	/* Once the files are there: do they say what was meant? May be NULL. */
	int (*verify)(void *context, struct error *error);
};

/* The four that change files, as kmod-helper/base/file.h has them. */
extern const struct edit_ops edit_file_ops;

struct edit_job {
	const struct root *root;
	const struct edit_ops *ops;
	void *context;		/* of refresh and verify */
	unsigned int refreshes; /* what is to be made anew, besides what the manifest says */
	const char *boot_id;	/* noted when something changes; NULL: nothing waits for a reboot */
	struct manifest *manifest;
};

/*
 * Makes the changes of @edits, and all that the manifest still owes. job->manifest is what was
 * read, with what need not be remembered any more forgotten; it is up to date afterwards. Returns
 * 0, or -errno with every file as it was before (-ESTALE when one has changed since it was read);
 * where even that failed the message says so, and the manifest has the originals.
 */
int file_edits_apply(
	const struct edit_job *job, const struct file_edits *edits, struct error *error);

/* Adds to @edits what brings every file of the manifest back to its original; those that have it
 * already are forgotten in the manifest. What cannot be brought back is named in @left, one line
 * for each file. 0 or -ENOMEM. */
int file_edits_undo(const struct root *root, struct manifest *manifest, struct file_edits *edits,
	struct names *left, struct error *error);

/* Deletes what a run has left that was killed before its manifest was there. */
void file_edits_sweep(const struct root *root);

/* "update-initramfs -u -k all" and the like are hooks' affair; these are words for messages. */
const char *refresh_name(unsigned int refresh);
