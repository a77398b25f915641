/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "change.h"
#include "kmod-helper/device/pci.h"

/* Devices: how `attach` is given them, and how the VMs' configs name them. */

struct attach_device {
	const char *argument;	/* as typed */
	char host[256];		/* "0000:2b:00", "0000:2b:00.1", or "mapping=NAME" */
	struct names addresses; /* every function that it may mean; a mapping's alternatives too */
	int entry;		/* the hostpci that has it, or its first function; -1: none */
	struct names found;	/* its functions that are in raw entries (no mapping) */
	bool split;		/* they are in several entries */
};

struct attach_devices {
	struct pci_functions host; /* every function of this host */
	struct attach_device *items;
	size_t count;
};

/* Finds the devices that the arguments mean on this host. Returns 0, USAGE (an argument is not a
 * DEVICE, or there is none), -ENODEV (the device is not there), -EINVAL (Proxmox cannot pass it
 * through, or sets it up itself: bridges, mediated devices), -EEXIST (two arguments need the same
 * function), or mapping_find's errors. @ret must be zeroed; free with attach_devices_done also on
 * failure. */
int attach_devices_find(
	struct context *context, char **arguments, struct attach_devices *ret, struct error *error);
void attach_devices_done(struct attach_devices *devices);

/* Finds, for each device, the hostpci entry of @config that has it already, or the entries that
 * have its functions one by one. Returns 0, -EEXIST (the config has only a part of the device, or
 * uses it for mediated devices), or -ENOMEM. */
int attach_devices_match(struct context *context, const struct guest_config *config,
	struct attach_devices *devices, struct error *error);

/* Adds a note for each other VM of this node that has one of the devices too. VMs whose configs
 * cannot be read are skipped. 0 or -errno. */
int attach_devices_note_others(struct context *context, const struct attach_devices *devices,
	struct changes *changes, struct error *error);
