/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kernel.h"
#include <stdbool.h>
#include <stddef.h>

/*
 * Is a function in use by the host itself, in ways that leave no process to be found? A network
 * interface that is up or belongs to a bridge or bond; a disk that is mounted, swapped to, or a
 * member of something (LVM, MD, multipath). Writes what it found to @text: "network interface eno1
 * is up". A disk whose user is not in sysfs (a ZFS pool of whole disks) shows in its holders or not
 * at all.
 */
bool host_use_find(const struct kernel *kernel, const char *address, char *text, size_t size);
