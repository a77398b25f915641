/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "context.h"
#include "kmod-helper/loan.h"
#include "kmod-helper/pci.h"

/* Devices as a person names them, for bind and unbind by hand: a function, a card, or a mapping's
 * name, which means every device that the mapping has on this node. */

/* What the arguments mean on this host, each function once, sorted by group. */
struct hand_devices {
	struct pci_functions host;
	const struct pci_function **functions;
	size_t count;
};

/* USAGE when an argument is no DEVICE, -ENODEV when it is not there,
 * and mapping_find's errors. @ret must be
 * zeroed; free with hand_devices_done also on failure. */
int hand_devices_find(
	struct context *context, char **arguments, struct hand_devices *ret, struct error *error);
void hand_devices_done(struct hand_devices *devices);
