/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include "pci.h"
#include <stdbool.h>

/* What a module's use count says about a function. Opening a device node takes a reference on its
 * module, so while a driver's module has no reference, no process in /proc has a node open either.
 * The modules of its own family that are built on it (nvidia_uvm on nvidia) are counted too, each
 * once; where others are, the count says nothing. */

/* nvidia_drm belongs to nvidia's family; kvmgt, which uses i915, does not belong to i915's. */
bool driver_module_is_family(const char *module, const char *user);

/* Could this function's remove() have to wait for somebody? Cheap. False for a driver whose module
 * nobody uses, and for DRM drivers, which unplug without waiting. True when it cannot be known. */
bool driver_may_wait(const struct kernel *kernel, const char *address);

/* True when nobody has a device, a group or a container of VFIO open: its module then has no other
 * references than those of the modules that are built on it. False also when that cannot be known,
 * as where vfio is built in. Cheap. */
bool driver_vfio_is_unused(const struct kernel *kernel);

/* True when the driver's module is used and @address is the only function that it drives, so the
 * use must be of this function. If no process has its nodes open, the user is something in the
 * kernel itself. Never true for DRM drivers: the console uses them, and lets go. Writes the
 * module's name. */
bool driver_is_used(const struct kernel *kernel, const char *address, char *module, size_t size);

/* A device other than those in @ignored (addresses) that a driver of @module has now: its name in
 * @ret. False when there is none. */
bool driver_module_find_device(const struct kernel *kernel, const char *module,
	const struct names *ignored, char *ret, size_t size);
