/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include <stddef.h>

/* VFIO drivers that are made for one kind of device (mlx5_vfio_pci, xe-vfio-pci). They name their
 * devices in aliases that begin with "vfio_pci:", and take a device only by its driver_override. */

/* The module whose alias fits the function best: the one with the fewest "*", as libvirt chooses
 * (virPCIDeviceFindBestVFIOVariant in src/util/virpci.c); "vfio_pci" when none fits better, or when
 * that cannot be known. The caller gives room for PCI_DRIVER_SIZE bytes. */
void vfio_variant_find(const struct kernel *kernel, const char *address, char *ret, size_t size);

/* The PCI driver of such a module. The names may differ in "-" and "_", which only the loaded
 * module tells; before that it is the module's name, and "vfio-pci" for vfio_pci. */
void vfio_variant_driver(const struct kernel *kernel, const char *module, char *ret, size_t size);
