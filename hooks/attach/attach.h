/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "attachment_edit.h"
#include "change.h"

/*
 * Putting a GPU into a VM's config, and taking that back. What is done is recorded before it is
 * done (attachment.h); what qm did is read back from the config.
 */

/*
 * Attaches the devices of @arguments to the VM, by the options in @context, or with --dry-run says
 * what it would do. 0; USAGE; -ENOENT no such VM here, -EISNAM a container's number, -EINVAL what
 * cannot be, -ENOSPC all hostpci are in use, -EBUSY another attach of this VM is at work, the
 * errors of attach_devices_find, attach_devices_match, snippet_check_ours and changes_apply.
 */
int attach_guest(struct context *context, unsigned int vmid, char **arguments, struct error *error);

/*
 * Takes back what attach did to the VM, but for keys that somebody has changed since: those are
 * named and left alone. A record of a VM that is no more is dropped. 0; -ENOENT when nothing is
 * recorded or the VM is on another node, -EBUSY while its loan stands, or the errors of
 * changes_apply.
 */
int detach_guest(struct context *context, unsigned int vmid, struct error *error);

/* The same for every VM that has a record on this node; goes on after an error. 0 (also when there
 * is none), or the first error; the others are logged. @ret_count (may be NULL): how many there
 * were. */
int detach_all(struct context *context, size_t *ret_count, struct error *error);
