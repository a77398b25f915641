/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which kernel modules drive a device: by the kernel's aliases, by what drives it now, and by what
 * is known of the makers of GPUs. */

#include "hooks/base/context.h"
#include "kmod-helper/device/pci.h"

#define PCI_VENDOR_NVIDIA 0x10de

/* A module that a host drives GPUs with. Of one maker's, those come first that are tried first. */
struct gpu_driver {
	uint16_t vendor_id;
	const char *module;
	bool is_nvidias_own; /* not the kernel's: where it is installed, somebody wants it */
};

/* The drivers for @vendor_id one after the other: NULL begins and ends. nvidiafb and the like are
 * not among them: Proxmox VE and Debian blacklist the old framebuffer drivers themselves. */
const struct gpu_driver *gpu_driver_next(uint16_t vendor_id, const struct gpu_driver *after);

/* The one with that module; NULL when it is not known as a GPU's. */
const struct gpu_driver *gpu_driver_find(const char *module);

/* Appends the modules that could drive the function, each once: by its aliases, and the one that
 * does now; no framebuffer's and none of vfio. 0 or -ENOMEM. */
int driver_modules(
	const struct context *context, const struct pci_function *function, struct names *ret);

/* The same for a GPU; and its maker's, where the aliases say nothing, and for NVIDIA's always: its
 * own driver may be one that is not installed yet. 0 or -ENOMEM. */
int gpu_driver_modules(
	const struct context *context, const struct pci_function *function, struct names *ret);

/* True when a kernel of this host has the module. Not asked of libkmod: it takes a guide's
 * "install nvidia /bin/false" for a module of that name. */
bool driver_is_installed(const struct root *root, const char *module);
