/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which kernel modules drive a device: by the kernel's aliases, by what drives it now, and by what
 * is known of the makers of GPUs. */

#include "hooks/base/context.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/device/pci_names.h"
#include "kmod-helper/kernel/module_files.h"

/* A module that a host drives GPUs with. Of one maker's, those come first that are tried first. */
struct gpu_driver {
	uint16_t vendor_id;
	const char *module;
	bool is_nvidias_own; /* not the kernel's: where it is installed, somebody wants it */
};

/* The drivers for @vendor_id one after the other: NULL begins and ends. nvidiafb and the like are
 * not among them: Proxmox VE and Debian blacklist the old framebuffer drivers themselves. */
const struct gpu_driver *gpu_driver_next(uint16_t vendor_id, const struct gpu_driver *after);

/* The one with that module, for NVIDIA's under any distribution's name, "nvidia_current"; NULL when
 * it is not known as a GPU's. */
const struct gpu_driver *gpu_driver_find(const char *module);

/* Appends the modules that could drive the function, each once: by its aliases, and the one that
 * does now; no framebuffer's and none of vfio. 0 or -ENOMEM. */
int driver_modules(
	const struct context *context, const struct pci_function *function, struct names *ret);

/* What the kernels of the host have of these drivers. Their lists of modules are megabytes: they
 * are read at the first question, and never again. Begins as zeros. */
struct gpu_driver_files {
	bool is_read;
	struct names variants;	/* the names of NVIDIA's own, "nvidia_current_open" */
	struct names installed; /* the modules that a kernel has, under whatever name */
};

void gpu_driver_files_done(struct gpu_driver_files *files);

/* The same for a GPU; and its maker's, where the aliases say nothing, and for NVIDIA's always: its
 * own driver may be one that is not installed yet. 0 or -ENOMEM. */
int gpu_driver_modules(const struct context *context, const struct pci_function *function,
	struct gpu_driver_files *files, struct names *ret);

#define GPU_DRIVER_FILE_SIZE 64

#define GPU_DARK_SIZE 512

/* True when a GPU has no driver left once @modules are blacklisted; @ret says so, with the GPU's
 * name. */
bool gpu_goes_dark(const struct context *context, const struct pci_function *function,
	const struct names *modules, struct device_names *names, char ret[static GPU_DARK_SIZE]);

/* The name of the module file of @driver that a kernel has, with _: NVIDIA's driver is loaded as
 * nvidia, but its file may have another name (Debian: nvidia-current, nvidia-current-open,
 * nvidia-tesla-535). False when the kernel has none. Not asked of libkmod: it takes a guide's
 * "install nvidia /bin/false" for a module of that name. */
bool gpu_driver_file(const struct module_files *files, const struct gpu_driver *driver,
	char ret[static GPU_DRIVER_FILE_SIZE]);

/* True when a kernel of this host has the driver. */
bool gpu_driver_is_installed(
	const struct root *root, struct gpu_driver_files *files, const struct gpu_driver *driver);
