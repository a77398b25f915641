/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include "pci.h"
#include <stdbool.h>

/*
 * What a module's use count says about a function: opening a device node takes a reference on the
 * module behind it, so while a driver's module has none, nobody can be found in /proc either. A
 * module that others are built on (nvidia) tells nothing by its count.
 */

/* May this function's remove() have to wait for somebody? Cheap. False for a driver whose module
 * nobody uses, and for DRM drivers, which unplug without waiting. True when it cannot be known. */
bool driver_may_wait(const struct kernel *kernel, const char *address);

/*
 * True when the driver's module is used and @address is the only function that it drives, so that
 * the use must be of this one: something in the kernel itself, where no process has its nodes open.
 * Never for DRM drivers (the console is a user of theirs, and lets go). Writes the module's name.
 */
bool driver_is_used(const struct kernel *kernel, const char *address, char *module, size_t size);
