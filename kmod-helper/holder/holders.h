/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/device/device_nodes.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"

/*
 * Who uses a function now: processes with a descriptor or a mapping of one of its device nodes, and
 * the kernel itself. Nodes are compared by device number, so that those made anew inside
 * containers, and deleted ones, count.
 */

enum holder_kind {
	HOLDER_PROCESS,
	HOLDER_CONTAINER,
	HOLDER_VM,
	HOLDER_KERNEL, /* a module has users, and no process is one */
};

struct holder {
	enum holder_kind kind;
	pid_t pid;	    /* 0: the kernel */
	char command[32];   /* its module, for the kernel */
	unsigned int guest; /* the container's or VM's number; 0 for a process of the host */
	char unit[256];	    /* systemd's service that a process of the host belongs to; "" none */
	char node[64];	    /* the first one found: "controlC1", "vfio/15"; "" for the kernel */
	char address[PCI_ADDRESS_SIZE]; /* the function; a process that has two stands here twice */
};

struct holders {
	struct holder *items;
	size_t count;
	/* "" all; else why there may be others: "looked at 480 processes in 5.0 s, and process
	 * 4242 (perl) of user 65534 has more than 20000 descriptors and mappings: who uses the card
	 * is not known" */
	char unknown[256];
};

/* Who has one of these nodes. One pass over /proc, however many nodes. 0 or -errno. */
int holders_of_nodes(const struct kernel *kernel, const struct nodes *nodes, struct holders *ret,
	struct error *error);

/*
 * Who uses these functions, in one pass. A function whose driver is stuck in remove() has lost its
 * nodes: those that its loan recorded count, and no file of it is read. @loans may be NULL; so may
 * @nodes, to which those looked for are added. 0 or -errno.
 */
int holders_of_functions(const struct kernel *kernel, const struct loans *loans,
	const char *const *addresses, size_t count, struct nodes *nodes, struct holders *ret,
	struct error *error);

/*
 * As holders_of_functions(), for who is about to refuse: what udev's rules do with a device that
 * came a moment ago (alsactl restores a mixer's state) is no use of it, and is waited for, at most
 * five seconds; a module's count that no process explains is read again. Where nobody has them, or
 * a pass does not come to the end, it is one pass.
 */
int holders_that_stay(const struct kernel *kernel, const struct loans *loans,
	const char *const *addresses, size_t count, struct nodes *nodes, struct holders *ret,
	struct error *error);

/* Who has a function whose driver does not let go: of its nodes as @loan recorded them, and of its
 * group through VFIO. 0 or -errno. */
int holders_of_stuck(const struct kernel *kernel, const struct loan *loan, const char *address,
	struct holders *ret, struct error *error);

/* Who has the group open through VFIO. Never opens it to look: a second open of a group fails, and
 * could make a starting VM fail. */
int holders_of_group(
	const struct kernel *kernel, long iommu_group, struct holders *ret, struct error *error);

/* Waits until nobody has the group open: woken when somebody closes it. 0, -EBUSY past the deadline
 * with the holders in the message, or -errno. */
int holders_await_group(const struct kernel *kernel, long iommu_group, unsigned int deadline_ms,
	struct error *error);

/* Appends a copy. 0 or -ENOMEM. */
int holders_add(struct holders *holders, const struct holder *holder);

/* Leaves the processes: a module's count is a guess, they are none. */
void holders_drop_kernel(struct holders *holders);

/* Is one of them this function's? */
bool holders_have(const struct holders *holders, const char *address);

/* True when one before it, of another function, is the same process. */
bool holder_is_repeated(const struct holders *holders, size_t index);

/* "process", "container", "vm", "kernel" */
const char *holder_kind_name(enum holder_kind kind);

/* Some fifty of them, and room in a message for what it says around them. */
#define HOLDERS_TEXT_SIZE 3072

/* A list of them in @buffer: "one, other". Those for which there is no room are counted: ", and 7
 * more". */
struct holders_text {
	char *buffer;
	size_t size;
	size_t used, left_out; /* 0 at first */
};
void holders_text_add(struct holders_text *text, const char *one);

/* "VM 104 (kvm, PID 4242), container 105 (ollama, PID 977)", each process once. */
void holders_format(const struct holders *holders, char *buffer, size_t size);
void holders_done(struct holders *holders);
