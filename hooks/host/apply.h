/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/host/boot_loader.h"
#include "conf/host/edits.h"
#include "hooks/base/context.h"

/* Applies a change of the host's set-up, for setup and undo: writes the files, then runs
 * update-initramfs and the program that writes the boot loader's configuration. Their own output is
 * the progress. */

struct host_change {
	struct context *context;
	bool apply; /* asked for; else it is only shown */
	const struct boot_loader *loader;
	struct manifest *manifest;
	const struct file_edits *edits;
	unsigned int refreshes; /* for these edits; what the manifest still owes is added */
	const char *needed;	/* an argument that must be configured afterwards; NULL: none */
};

/* Where the command is to apply its change: sees that it may, catches signals, and serialises setup
 * and undo. *@ret_lock is a descriptor to close, untouched where nothing is to be applied. 0,
 * -EBUSY, or -errno. */
int host_change_begin(struct context *context, bool apply, int *ret_lock, struct error *error);

/* Checks that the programs that the change needs are there. Changes nothing. 0, -ENOENT, or -ENOSYS
 * when the boot loader is not known. */
int host_change_check(const struct host_change *change, struct error *error);

/* Applies the change. 0, the errors of host_change_check and file_edits_apply, or -EIO when a
 * program failed. */
int host_change_apply(const struct host_change *change, struct error *error);

/* True when no file has to change, and no program has to run. */
bool host_change_is_nothing(const struct host_change *change);

/* Adds the programs that the change runs, in order: "update-initramfs -u -k all", "update-grub". 0
 * or -ENOMEM. */
int host_change_programs(const struct host_change *change, struct names *ret);

/* Prints "To be run then: update-initramfs -u -k all, then update-grub", when the change runs any.
 * 0 or -ENOMEM. */
int host_change_print_programs(const struct host_change *change, struct error *error);

/* "write", "change" or "remove". */
const char *file_edit_action(const struct file_edit *edit);

/* True when the change alters the kernel's arguments, or what modprobe does at boot. Ask before
 * host_change_apply, after which nothing is pending any more. */
bool host_change_needs_reboot(const struct host_change *change);

/* True while an earlier change waits for a reboot: the host still runs the boot in which it was
 * made. */
bool host_reboot_is_due(const struct context *context, const struct manifest *manifest);
