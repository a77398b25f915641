/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/names.h"
#include <stdio.h>

/* What a fault report keeps of a file: the lines, keys and words that gpu-ferry reads. A line that
 * is left out leaves an empty one or a "#", so that line numbers in messages stay true. */

struct filter {
	FILE *out;
	char *text; /* ends with NUL; may be written into */
	size_t length;
	const struct names *nodes; /* of the cluster, this one first */
	struct names *private;	   /* names of guests that were left out are added to it */
};

void filter_vm(struct filter *filter);	       /* a VM's config */
void filter_container(struct filter *filter);  /* a container's config */
void filter_storage(struct filter *filter);    /* storage.cfg */
void filter_mapping(struct filter *filter);    /* mapping/pci.cfg */
void filter_attachment(struct filter *filter); /* the record of an attach */
void filter_settings(struct filter *filter);   /* our own files, without the comments */
void filter_arguments(struct filter *filter);  /* a kernel command line */
void filter_grub(struct filter *filter);       /* /etc/default/grub */
void filter_modprobe(struct filter *filter);   /* modprobe.d */
void filter_modules(struct filter *filter);    /* the modules to load */
void filter_boot_ids(struct filter *filter);   /* proxmox-boot-uuids */
void filter_cpuinfo(struct filter *filter);    /* /proc/cpuinfo */
void filter_routes(struct filter *filter);     /* /proc/net/route and ipv6_route */
void filter_mounts(struct filter *filter);     /* /proc/self/mountinfo */
void filter_swaps(struct filter *filter);      /* /proc/swaps */
void filter_qemu(struct filter *filter);       /* the command line of a VM's QEMU */
void filter_nvidia(struct filter *filter);     /* /proc/driver/nvidia/gpus/…/information */
void filter_node_name(struct filter *filter);  /* /etc/hostname */
void filter_journal(struct filter *filter);    /* our messages: after all other files */

/* "node1" for this node, "node2" … for the others; "node0" for one that the cluster does not have.
 */
const char *filter_node(const struct names *nodes, const char *name, size_t length, char ret[16]);

/* Replaces what has the form of a MAC or a UUID by zeros, in place, also in an interface's name. */
void filter_addresses(char *text);
