/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Records what gpu-ferry has changed in files of the host's set-up, with the originals. The record
 * is written before a file is changed, and read by `gpu-ferry undo`, maybe of a later version. JSON
 * in /var/lib/gpu-ferry/manifest.json. Fields that this version does not know are kept. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <sys/types.h>

#define MANIFEST_FOLDER "var/lib/gpu-ferry"
#define MANIFEST_PATH MANIFEST_FOLDER "/manifest.json"
#define MANIFEST_SCHEMA 1

/* Bits: what must be made anew from the files that changed. */
#define REFRESH_INITRAMFS 1u   /* update-initramfs -u -k all */
#define REFRESH_BOOT_LOADER 2u /* update-grub, proxmox-boot-tool refresh */

struct manifest_edit {
	char *path;	/* "etc/default/grub" */
	mode_t mode;	/* of the original, or of ours when there was none */
	char *original; /* NULL: there was no such file */
	char *written;	/* what we put there last; NULL: removed */
	/* What the file held before `written`, as long as it is not certain that `written` is in
	 * the file; only with has_previous. */
	char *previous;
	bool has_previous;
	struct json_object *record;
};

struct manifest {
	struct manifest_edit *edits;
	size_t count;
	struct names folders; /* those made for our files, outer ones first */
	unsigned int pending; /* REFRESH_… still to be done: killed, or failed */
	char boot_id[64];     /* the boot in which a change waits for the next one; "" none */
	struct json_object *record;
};

/* Reads the manifest; a missing file is an empty manifest. 0, -EPERM when the file is not root's or
 * others may write to it, -EPROTONOSUPPORT for a newer schema, -EBADMSG when it is no manifest,
 * -ENOMEM or -errno. @ret is untouched on failure; free with manifest_done. */
int manifest_read(const struct root *root, struct manifest *ret, struct error *error);
int manifest_parse(const char *text, struct manifest *ret, struct error *error);
void manifest_done(struct manifest *manifest);

/* The text of the file, malloced. 0, -ENOMEM, or -ERANGE for what could not be read again. */
int manifest_format(const struct manifest *manifest, char **ret_text, struct error *error);

/* True when it records nothing; then no file is needed. */
bool manifest_is_empty(const struct manifest *manifest);

struct manifest_edit *manifest_find(const struct manifest *manifest, const char *path);

/* Notes that @path, which holds @before, is about to hold @after (NULL: no file). If the manifest
 * knows the file already, it updates that entry: the original is what the file would be without us,
 * with the changes that others have made since. 0, -ENOMEM, or revision_revert's -EUCLEAN and
 * -EFBIG, wrapped with the path; then nothing has changed. */
int manifest_note(struct manifest *manifest, const char *path, mode_t mode, const char *before,
	const char *after, struct error *error);
void manifest_forget(struct manifest *manifest, const char *path);

/* Called when the noted changes are made: forgets the files that are back at their original. */
void manifest_settle(struct manifest *manifest);

/* Works out what the file of @edit would be without us; it holds @current now (NULL: it does not
 * exist). *@ret is malloced, or NULL when the file should not exist. 0, -ENOMEM, -EFBIG, or
 * -EUCLEAN when somebody has changed the same place since; the message says where. */
int manifest_original(
	const struct manifest_edit *edit, const char *current, char **ret, struct error *error);
