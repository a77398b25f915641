/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Changes to the records of attachment.h: only attach, detach and undo make them. */

#include "attachment.h"
#include "hooks/base/context.h"

/* Makes an empty record that is dated now. */
void attachment_init(struct attachment *attachment, unsigned int vmid);

/* Records that @name was changed from @before to @after. When the record has the key already and
 * @before is the value that we set then, the original value stays recorded. 0 or -ENOMEM. */
int attachment_set_key(
	struct attachment *attachment, const char *name, const char *before, const char *after);

/* Records the function as it is now, and replaces an earlier entry for it. 0 or -ENOMEM. */
int attachment_set_function(struct attachment *attachment, const struct pci_function *function);

/* Serialises attach and detach of one VM, or of the listing (ATTACHMENT_STORAGE): a descriptor to
 * close, -EBUSY, or -errno. Without @apply none is needed: then a descriptor of no lock. */
int attachment_lock(struct context *context, bool apply, unsigned int vmid, struct error *error);

/* Write the file (and make its folders), or remove it. Both also remove what a killed writer left.
 * Call with attachment_lock held. 0 or -errno. */
int attachment_write(
	const struct root *root, const struct attachment *attachment, struct error *error);
int attachment_remove(const struct root *root, unsigned int vmid, struct error *error);

/* Removes the folders of the records when no record is left. */
void attachments_remove_folders(const struct root *root);

/* The guests that have a record on this node, in order of their numbers; the caller frees them. 0
 * or -errno. */
int attachments_list(
	const struct root *root, unsigned int **ret_vmids, size_t *ret_count, struct error *error);
