/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "attachment_edit.h"
#include "change.h"

/* Adds a GPU to the config of a VM or a container, and takes it out again. Each change is recorded
 * before it is made (attachment.h), and what qm or pct did is read back from the config. */

struct attach_options {
	bool tune;	      /* cpu, args and agent too */
	bool primary_gpu;     /* the first device gets x-vga=1 */
	bool enable_snippets; /* the web page is to list the hookscript */
	bool dry_run;	      /* say what would be done */
	const char *machine;  /* what to set it to; NULL: left as it is */
	const char *bios;
};

/*
 * Attaches the devices of @arguments to the VM or container, or for a dry run says what it would
 * do. 0; USAGE; -ENOENT no such guest here, -EINVAL what cannot be, -ENOSPC all hostpci or devN are
 * in use, -EBUSY another attach of this guest is at work, the errors of attach_devices_find,
 * attach_devices_match, attach_nodes_plan, snippet_check_ours and changes_apply.
 */
int attach_guest(struct context *context, const struct attach_options *options, unsigned int vmid,
	char **arguments, struct error *error);

/*
 * Takes back what attach did to the guest, or without @apply says what it would do; but for keys
 * that somebody has changed since: those are named and left alone. A record of a guest that is no
 * more is dropped. 0; -ENOENT when nothing is recorded or it is on another node, -EBUSY while its
 * loan stands, or the errors of changes_apply.
 */
int detach_guest(struct context *context, bool apply, unsigned int vmid, struct error *error);

/* Does the same for every guest that has a record on this node, and continues after an error.
 * Returns 0 (also when there is no record) or the first error; later errors are logged.
 * *@ret_count, unless NULL, is the number of guests. */
int detach_all(struct context *context, bool apply, size_t *ret_count, struct error *error);
