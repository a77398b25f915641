/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/pve/mapping.h"
#include "context.h"
#include "kmod-helper/device/pci.h"

/* Devices as a person names them, for bind and unbind by hand: a function, a card, or a mapping's
 * name, which means every device that the mapping has on this node. */

/* What the arguments mean on this host, each function once, sorted by group. */
struct devices {
	struct pci_functions host;
	const struct pci_function **functions;
	size_t count;
};

/* USAGE when an argument is no DEVICE, -ENODEV when it is not there,
 * and mapping_find's errors. @ret must be
 * zeroed; free with devices_done also on failure. */
int devices_find(
	struct context *context, char **arguments, struct devices *ret, struct error *error);
void devices_done(struct devices *devices);

/* What a mapping is compared with: a mapping_lookup whose context is a struct hardware. */
struct hardware {
	struct context *context;
	const struct pci_functions *host;
};

int devices_look_up(void *hardware, const char *address, struct mapping_device *ret);
