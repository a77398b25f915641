/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "base/error.h"
#include "kernel.h"
#include "pci.h"

/*
 * Who uses a card now: processes with a descriptor on one of its device nodes. Nodes are compared
 * by device number, so that those made anew inside containers, and deleted ones, count.
 */

enum holder_kind {
	HOLDER_PROCESS,
	HOLDER_CONTAINER,
	HOLDER_VM,
};

struct holder {
	enum holder_kind kind;
	pid_t pid;
	char command[32];
	unsigned int guest; /* the container's or VM's number; 0 for a process of the host */
	char node[64];	    /* "dev/vfio/15", "dri/card0" */
};

struct holders {
	struct holder *items;
	size_t count;
};

/* The nodes of the host's drivers on these functions, found as `dev` attributes below each function
 * in sysfs, and held by somebody. One pass over /proc. 0 or -errno. */
int holders_of_functions(const struct kernel *kernel, const char *const *addresses, size_t count,
	struct holders *ret, struct error *error);

/* Who has /dev/vfio/GROUP open. Never opens it to look: a second open of a group fails, and could
 * make a starting VM fail. */
int holders_of_group(
	const struct kernel *kernel, long iommu_group, struct holders *ret, struct error *error);

/* Waits until nobody has the group open: woken when somebody closes it. 0, -EBUSY past the deadline
 * with the holders in the message, or -errno. */
int holders_await_group(const struct kernel *kernel, long iommu_group, unsigned int deadline_ms,
	struct error *error);

/* "VM 104 (kvm, PID 4242), container 105 (ollama, PID 977)". */
void holders_format(const struct holders *holders, char *buffer, size_t size);
void holders_done(struct holders *holders);
