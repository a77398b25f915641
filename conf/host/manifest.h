/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * What gpu-ferry has changed in files of the host's set-up, with the originals: written before a
 * file is changed, read by `gpu-ferry undo`, also by that of a later version. JSON in
 * /var/lib/gpu-ferry/manifest.json. Fields that this version does not know are kept.
 */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <sys/types.h>

#define MANIFEST_FOLDER "var/lib/gpu-ferry"
#define MANIFEST_PATH MANIFEST_FOLDER "/manifest.json"
#define MANIFEST_SCHEMA 1

/* What is to be made again from the files that changed. Bits. */
#define REFRESH_INITRAMFS 1u   /* update-initramfs -u -k all */
#define REFRESH_BOOT_LOADER 2u /* update-grub, proxmox-boot-tool refresh */

struct manifest_edit {
	char *path;	/* "etc/default/grub" */
	mode_t mode;	/* of the original; of ours, when there was none */
	char *original; /* NULL: there was no such file */
	char *written;	/* what we put there last; NULL: removed */
	/* What the file held before that, while it is not sure that `written` has come to be there;
	 * only with has_previous. */
	char *previous;
	bool has_previous;
	struct json_object *record;
};

struct manifest {
	struct manifest_edit *edits;
	size_t count;
	struct names folders; /* those that were made for our files, the outer ones first */
	unsigned int pending; /* REFRESH_… begun and not ended: killed, or failed */
	char boot_id[64];     /* the boot that a change still waits to replace; "" none */
	struct json_object *record;
};

/* That there is none is an empty manifest. 0, -EPERM when it is not root's alone, -EPROTONOSUPPORT
 * for a newer schema, -EBADMSG for what is no manifest, -ENOMEM or -errno. @ret is untouched on
 * failure; free with manifest_done. */
int manifest_read(const struct root *root, struct manifest *ret, struct error *error);
int manifest_parse(const char *text, struct manifest *ret, struct error *error);
void manifest_done(struct manifest *manifest);

/* The text of the file, malloced. 0, -ENOMEM, or -ERANGE for what could not be read again. */
int manifest_format(const struct manifest *manifest, char **ret_text, struct error *error);

/* True when it says nothing: then there need be no file. */
bool manifest_is_empty(const struct manifest *manifest);

struct manifest_edit *manifest_find(const struct manifest *manifest, const char *path);

/* Notes that @path, which holds @before, is about to hold @after (NULL: no file). What is known of
 * the file already stays: the original is what the file would be without us, changes that others
 * have made since included. 0, -ENOMEM, or revision_revert's -EUCLEAN and -EFBIG, wrapped with the
 * path; then nothing has changed. */
int manifest_note(struct manifest *manifest, const char *path, mode_t mode, const char *before,
	const char *after, struct error *error);
void manifest_forget(struct manifest *manifest, const char *path);

/* The noted changes are made: those back to the original need not be remembered. */
void manifest_settle(struct manifest *manifest);

/* What @edit's file, which holds @current now (NULL: it is not there), is without us: *@ret is
 * malloced, or NULL when it is not to be there. 0, -ENOMEM, -EFBIG, or -EUCLEAN when it was changed
 * since where we had changed it: the message says where. */
int manifest_original(
	const struct manifest_edit *edit, const char *current, char **ret, struct error *error);
