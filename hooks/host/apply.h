/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/host/boot_loader.h"
#include "conf/host/edits.h"
#include "hooks/base/context.h"

/* Putting a change of the host's set-up into effect: the files, then update-initramfs and what
 * writes the boot loader's configuration, with their own output as progress. For setup and undo. */

struct host_change {
	struct context *context;
	bool apply; /* asked for; else it is only shown */
	const struct boot_loader *loader;
	struct manifest *manifest;
	const struct file_edits *edits;
	unsigned int refreshes; /* for these edits; what the manifest owes comes on top */
	const char *needed;	/* an argument that has to be configured then; NULL: none */
};

/* Where the command is to apply its change: sees that it may, catches signals, and serialises setup
 * and undo. *@ret_lock is a descriptor to close, untouched where nothing is to be applied. 0,
 * -EBUSY, or -errno. */
int host_change_begin(struct context *context, bool apply, int *ret_lock, struct error *error);

/* Are the programs there that the change needs? 0, -ENOENT, or -ENOSYS when the boot loader is not
 * known. Nothing is changed. */
int host_change_check(const struct host_change *change, struct error *error);

/* The errors of host_change_check and file_edits_apply; -EIO when a program failed. */
int host_change_apply(const struct host_change *change, struct error *error);

/* No file is to be changed, and no program owed. */
bool host_change_is_nothing(const struct host_change *change);

/* Adds what the change runs, in its order: "update-initramfs -u -k all", "update-grub". 0 or
 * -ENOMEM. */
int host_change_programs(const struct host_change *change, struct names *ret);

/* "To be run then: update-initramfs -u -k all, then update-grub", when it runs any. 0 or -ENOMEM.
 */
int host_change_print_programs(const struct host_change *change, struct error *error);

/* "write", "change" or "remove". */
const char *file_edit_action(const struct file_edit *edit);

/* True when the kernel's arguments, or what modprobe does at boot, will be others. To be asked
 * before host_change_apply, which settles what is pending. */
bool host_change_needs_reboot(const struct host_change *change);

/* True while the host still runs the boot in which an earlier change was made. */
bool host_reboot_is_due(const struct context *context, const struct manifest *manifest);
