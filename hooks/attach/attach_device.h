/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "change.h"
#include "kmod-helper/device/pci.h"

/* Devices as `attach` is given them, and as VMs' configs name them. */

struct attach_device {
	const char *argument;	/* as typed */
	char host[256];		/* "0000:2b:00", "0000:2b:00.1", or "mapping=NAME" */
	struct names addresses; /* every function that it may mean; a mapping's alternatives too */
	int entry;		/* the hostpci that has it, or its first function; -1: none */
	struct names found;	/* those of its functions that raw entries have */
	bool split;		/* among several */
};

struct attach_devices {
	struct pci_functions host; /* of the machine */
	struct attach_device *items;
	size_t count;
};

/*
 * What the arguments mean on this host. USAGE when one is no DEVICE or none is given, -ENODEV when
 * it is not there, -EINVAL for what Proxmox cannot pass through or sets up itself (bridges,
 * mediated devices), -EEXIST when two arguments leave no function each, and mapping_find's errors.
 * @ret must be zeroed; free with attach_devices_done also on failure.
 */
int attach_devices_find(
	struct context *context, char **arguments, struct attach_devices *ret, struct error *error);
void attach_devices_done(struct attach_devices *devices);

/* Finds for each device the hostpci entry of @config that has it already, or the entries that have
 * its functions one by one. -EEXIST when only a part of it stands there, -ENOMEM. */
int attach_devices_match(struct context *context, const struct guest_config *config,
	struct attach_devices *devices, struct error *error);

/* Notes which other VMs of this node have the devices too. VMs whose configs cannot be read are
 * passed over. 0 or -errno. */
int attach_devices_note_others(struct context *context, const struct attach_devices *devices,
	struct changes *changes, struct error *error);
