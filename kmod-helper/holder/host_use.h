/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include <stdbool.h>
#include <stddef.h>

/* Finds uses of a function by the host itself that no process shows. Both functions write what they
 * found to @text: "network interface eno1 is up". */

/* Finds what sysfs and procfs show: a network interface that is up or belongs to a bridge or bond;
 * a disk (SCSI, SATA, NVMe, virtio, behind USB) that is mounted, swapped to, or a member of
 * something (LVM, MD, multipath); a keyboard or mouse on a USB controller, because the host's
 * console listens to it. */
bool host_use_find(const struct kernel *kernel, const char *address, char *text, size_t size);

/* The same, and what sysfs does not show: a disk on which the kernel has a claim (a ZFS pool,
 * btrfs, a mount in a container's namespace). Opens each disk for a moment, so use it only for
 * functions that are about to be taken. If it cannot be known, it is no use. */
bool host_use_find_claimed(
	const struct kernel *kernel, const char *address, char *text, size_t size);
