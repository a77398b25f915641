/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Changes to the records of attachment.h: only attach, detach and undo make them. */

#include "attachment.h"
#include "hooks/base/context.h"

/* An empty record, since now. */
void attachment_init(struct attachment *attachment, unsigned int vmid);

/* Remembers that @name went from @before to @after. Where the record has the key already, and
 * @before is what was set then, what stood there first is kept. 0 or -ENOMEM. */
int attachment_set_key(
	struct attachment *attachment, const char *name, const char *before, const char *after);
void attachment_drop_key(struct attachment *attachment, const char *name);

/* Remembers the function as it is now, in place of what was remembered. 0 or -ENOMEM. */
int attachment_set_function(struct attachment *attachment, const struct pci_function *function);

/* Serialises attach and detach of one VM, or of the listing (ATTACHMENT_STORAGE): a descriptor to
 * close, -EBUSY, or -errno. Without @apply none is needed: then a descriptor of no lock. */
int attachment_lock(struct context *context, bool apply, unsigned int vmid, struct error *error);

/* Writes the file, making the folders, or removes it, and what a killed writer of it has left: to
 * be called with attachment_lock. 0 or -errno. */
int attachment_write(
	const struct root *root, const struct attachment *attachment, struct error *error);
int attachment_remove(const struct root *root, unsigned int vmid, struct error *error);

/* Removes the records' folders, where no record is left. */
void attachments_remove_folders(const struct root *root);

/* The VMs that have a record on this node, in order of their numbers; the caller frees them. 0 or
 * -errno. */
int attachments_list(
	const struct root *root, unsigned int **ret_vmids, size_t *ret_count, struct error *error);
