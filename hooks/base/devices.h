/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/pve/mapping.h"
#include "context.h"
#include "kmod-helper/device/pci.h"

/* Devices as a person names them, for bind, unbind and setup: a function, a card, or the name of a
 * mapping, which means every device that the mapping has on this node. */

/* What one argument means on this host. */
struct device_meaning {
	char device[PCI_ADDRESS_SIZE]; /* "0000:2b:00", "0000:2b:00.1"; "" for a mapping's name */
	bool mediated;		       /* the mapping is for mediated devices */
	struct names addresses; /* every function that it may mean; a mapping's alternatives too */
};

/* USAGE when it is no DEVICE, -ENODEV when it is not there, -ENOMEM, and mapping_find's errors; for
 * a mapping of mediated devices ->mediated is set also then. @ret must be zeroed; free with
 * device_meaning_done also on failure. */
int device_find(struct context *context, const struct pci_functions *host, const char *argument,
	struct device_meaning *ret, struct error *error);
void device_meaning_done(struct device_meaning *meaning);

/* The same for what is known to be a mapping's name: -ENOENT when there is none. */
int devices_read_mapping(struct context *context, const struct pci_functions *host,
	const char *name, struct device_meaning *ret, struct error *error);

/* Adds every function of the host that the address @device means, each once; none when it is no
 * address. 0 or -ENOMEM. */
int devices_add_functions(
	const struct pci_functions *host, const char *device, struct names *addresses);

/* The functions that the arguments mean on this host: each one once, sorted by group. */
struct devices {
	struct pci_functions host;
	const struct pci_function **functions;
	size_t count;
};

/* Finds the functions. Returns 0, USAGE (an argument is not a DEVICE), -ENODEV (the device is not
 * there), or mapping_find's errors. @ret must be zeroed; free with devices_done also on failure. */
int devices_find(
	struct context *context, char **arguments, struct devices *ret, struct error *error);
void devices_done(struct devices *devices);

/* The hardware that a mapping is compared with. devices_look_up is a mapping_lookup whose context
 * is a struct hardware. */
struct hardware {
	struct context *context;
	const struct pci_functions *host;
};

int devices_look_up(void *hardware, const char *address, struct mapping_device *ret);
