/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "gpu_drivers.h"
#include "hooks/base/context.h"
#include "kmod-helper/device/pci.h"

/* The devices that setup is about: their ids, and the modules of their drivers. */

enum setup_mode {
	SETUP_SHARE,	 /* the host owns the card until a VM wants it */
	SETUP_DEDICATED, /* vfio-pci has the card from boot on */
};

struct setup_wish {
	enum setup_mode mode;
	const struct pci_function *const *functions; /* for SETUP_DEDICATED, by address */
	size_t function_count;
	bool windows;	 /* SETUP_DEDICATED: also blacklist their drivers */
	const char *vfs; /* vfs_rules_change's wish; NULL: these rules stay as they are */
};

/* True when the function is one of the wish. */
bool setup_devices_have(const struct setup_wish *wish, const struct pci_function *function);

/* Checks that vfio-pci can have the functions of the wish from boot on. 0, -EBUSY (the host itself
 * uses one, for network or storage), -EEXIST (a device that is not named has the same ids and would
 * go too), or -EINVAL (one is a bridge). */
int setup_devices_check(const struct context *context, const struct setup_wish *wish,
	const struct pci_functions *host, struct error *error);

/* The ids of the functions, such as "10de:2704", each once. 0 or -ENOMEM. */
int setup_devices_ids(const struct setup_wish *wish, struct names *ret);

/* The modules that could drive the functions of the wish: by their aliases, and those that do now.
 * 0 or -ENOMEM. */
int setup_devices_modules(
	const struct context *context, const struct setup_wish *wish, struct names *ret);

/* The same for displays only, and for NVIDIA's cards always all that there are: drivers that may
 * be installed yet. 0 or -ENOMEM. */
int setup_devices_blacklist(const struct context *context, const struct setup_wish *wish,
	struct gpu_driver_files *files, struct names *ret);

/* True when the function's driver is built into the kernel: it takes the function before vfio-pci
 * can, whatever modprobe's files say. */
bool setup_driver_is_built_in(const struct context *context, const struct pci_function *function);
