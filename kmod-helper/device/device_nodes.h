/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/kernel/kernel.h"
#include "pci.h"

/* Lists the device nodes of a function's driver: a process that has one open uses the function.
 * Nodes are compared by number, because the same node may have another name in a container. */

#define NODES_TEXT_SIZE 512

enum node_kind {
	NODE_OWN,    /* this function's alone */
	NODE_CARD,   /* the same, for an NVIDIA card */
	NODE_SHARED, /* of all NVIDIA cards (nvidiactl, …): counts for a user with no card node */
	NODE_OTHER,  /* of an NVIDIA card that was not asked for */
};

struct node {
	dev_t device;
	enum node_kind kind;
	char address[PCI_ADDRESS_SIZE];
	char name[64]; /* "controlC1", "card0", "vfio/15", "vfio/devices/vfio2" */
};

struct nodes {
	struct node *items;
	size_t count;
};

/* Adds the nodes of these functions: those that the kernel lists below them (/sys/dev: DRM, sound,
 * framebuffers, and behind a USB controller its devices, disks, hidraw and input), NVIDIA's own
 * (from /proc/driver/nvidia, because they are in no function's folder), and VFIO's. /dev/iommu is
 * left out: a process that uses a device through it has the device's own node open too. Reads
 * nothing that hangs while a driver is stuck. 0 or -ENOMEM. */
int nodes_collect(const struct kernel *kernel, const char *const *addresses, size_t count,
	struct nodes *nodes);

/* Adds the nodes through which VFIO passes an IOMMU group, as nodes of @address. Their names are
 * those below /dev. 0 or -ENOMEM. */
int nodes_collect_group(
	const struct kernel *kernel, long iommu_group, const char *address, struct nodes *nodes);

/* "controlC1=116:3 hwC1D0=116:2": this text is recorded, because a driver that is about to let go
 * takes its nodes off the list before it waits for their users. Shared nodes are left out; as many
 * as fit. */
void nodes_format(const struct nodes *nodes, const char *address, char *buffer, size_t size);

/* Adds what nodes_format wrote; any other text is ignored. 0 or -ENOMEM. */
int nodes_parse(const char *text, const char *address, struct nodes *nodes);

/* Has NVIDIA's own program, nvidia-modprobe, make the nodes of the card @number ("0"), of all cards
 * and of nvidia-uvm; with @modeset that of nvidia-modeset too. The kernel makes none of them.
 * -ENOENT when it is not installed, -EIO when it fails, or -errno. */
int nodes_make_nvidia(
	const struct kernel *kernel, const char *number, bool modeset, struct error *error);

void nodes_done(struct nodes *nodes);
