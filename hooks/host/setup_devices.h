/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/device/pci.h"

/* The devices that setup is about: their ids, and the modules of their drivers. */

enum setup_mode {
	SETUP_SHARE,	 /* the host owns the card until a VM wants it */
	SETUP_DEDICATED, /* the card is vfio-pci's from boot on */
};

struct setup_wish {
	enum setup_mode mode;
	const struct pci_function *const *functions; /* SETUP_DEDICATED: those, by address */
	size_t function_count;
	bool windows; /* SETUP_DEDICATED: and their drivers are blacklisted */
};

/* Can the functions of the wish be vfio-pci's from boot on? 0; -EBUSY when the host itself uses one
 * (network, storage); -EEXIST when one that is not named has the same ids and would go too; -EINVAL
 * when one is a bridge. */
int setup_devices_check(const struct context *context, const struct setup_wish *wish,
	const struct pci_functions *host, struct error *error);

/* "10de:2704", each once. 0 or -ENOMEM. */
int setup_devices_ids(const struct setup_wish *wish, struct names *ret);

/* The modules that could drive the functions of the wish: by their aliases, and those that do now.
 * 0 or -ENOMEM. */
int setup_devices_modules(
	const struct context *context, const struct setup_wish *wish, struct names *ret);

/* The same for displays only, and for NVIDIA's cards always all that there are: drivers that may
 * be installed yet. 0 or -ENOMEM. */
int setup_devices_blacklist(
	const struct context *context, const struct setup_wish *wish, struct names *ret);

/* True when the driver that the function has now is no module: it takes the function before
 * vfio-pci can, whatever modprobe's files say. */
bool setup_driver_is_built_in(const struct context *context, const struct pci_function *function);
