/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which functions Proxmox would pass to a VM now. Source: PVE/QemuServer/PCI.pm
 * (parse_hostpci_devices, choose_hostpci_devices, reserve_pci_usage) of qemu-server 9.2.6.
 */

#include "hostpci.h"
#include "kmod-helper/base/error.h"
#include "mapping.h"
#include "vm_config.h"
#include <stdbool.h>
#include <stddef.h>

/* What the choice needs to know of the host. */
struct choice_host {
	const char *const *addresses; /* every function, "0000:01:00.0" */
	size_t count;
	const char *node;
	const struct mappings *mappings;
	mapping_lookup look_up;
	/* 0 when the VM may have @address, -EBUSY with a message when another VM has it. NULL: all
	 * are free */
	int (*check_free)(void *context, const char *address, struct error *error);
	void *context; /* for look_up and check_free */
};

/* One hostpciN. */
struct choice_entry {
	unsigned int index; /* N */
	struct hostpci hostpci;
	bool mediated; /* mdev or NVIDIA's vGPU: nothing to bind, no functions to take */
	bool vgpu;     /* mediated, but Proxmox still reserves the function */
	struct alternatives alternatives; /* addresses */
	ptrdiff_t chosen;		  /* index into alternatives; -1: none */
	struct error error;		  /* status 0: none */
	const char *notice; /* Proxmox's error after pre-start, in its words; or NULL */
};

struct choice {
	struct choice_entry *entries; /* HOSTPCI_MAX at most */
	size_t count;
	/* The error with which Proxmox refuses the start: the first one in its order. Status 0: the
	 * VM would start. -EINVAL: the config asks for something impossible; -ENODEV: no such
	 * device; -ENOENT and -ESTALE: see mapping_find; -EBUSY: another VM has the device, or none
	 * is left. */
	struct error error;
};

/* Works out every hostpci entry of @config, even after one that is wrong, so that a plan can show
 * all of them. Returns 0 (look at ret->error) or -ENOMEM. Free with choice_done. */
int choice_make(const struct vm_config *config, const struct choice_host *host, struct choice *ret,
	struct error *error);
void choice_done(struct choice *choice);

/* The chosen addresses, or NULL when there is no choice. */
const struct names *choice_addresses(const struct choice_entry *entry);
