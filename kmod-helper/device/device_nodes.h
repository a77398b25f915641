/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/kernel/kernel.h"
#include "pci.h"

/*
 * The device nodes that a function's driver has: who has one open uses the function. By number, for
 * the same node may have other names in containers.
 */

#define NODES_TEXT_SIZE 512

enum node_kind {
	NODE_OWN,    /* this function's alone */
	NODE_CARD,   /* the same, of an NVIDIA card */
	NODE_SHARED, /* all NVIDIA cards' (nvidiactl, nvidia-uvm, …): counts for whoever has no
			card's own */
	NODE_OTHER,  /* that of an NVIDIA card which nobody asks about */
};

struct node {
	dev_t device;
	enum node_kind kind;
	char address[PCI_ADDRESS_SIZE];
	char name[64]; /* "controlC1", "card0", "vfio/15" */
};

struct nodes {
	struct node *items;
	size_t count;
};

/*
 * Adds the nodes of these functions: what the kernel lists below them (/sys/dev; DRM, sound,
 * framebuffers, and behind a USB controller its devices, disks, hidraw and input), NVIDIA's own
 * (from /proc/driver/nvidia: they are in no function's folder), and VFIO's. /dev/iommu is not among
 * them: who uses a device through it has the device's own node open. Reads nothing that hangs while
 * a driver is stuck. 0 or -ENOMEM.
 */
int nodes_collect(const struct kernel *kernel, const char *const *addresses, size_t count,
	struct nodes *nodes);

/* Those through which VFIO gives away an IOMMU group, as @address's. 0 or -ENOMEM. */
int nodes_collect_group(
	const struct kernel *kernel, long iommu_group, const char *address, struct nodes *nodes);

/* "controlC1=116:3 hwC1D0=116:2": to be recorded, for a driver that is about to let go takes them
 * off the list before it waits for their users. Not those that are shared; as many as fit. */
void nodes_format(const struct nodes *nodes, const char *address, char *buffer, size_t size);

/* Adds what nodes_format wrote; what is no such text is left out. 0 or -ENOMEM. */
int nodes_parse(const char *text, const char *address, struct nodes *nodes);

void nodes_done(struct nodes *nodes);
