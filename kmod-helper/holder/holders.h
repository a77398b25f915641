/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "container_name.h"
#include "kmod-helper/base/error.h"
#include "kmod-helper/device/device_nodes.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"

/* Finds who uses a function now: processes with a descriptor or a mapping of one of its device
 * nodes, and the kernel itself. Nodes are compared by device number, so nodes made anew inside
 * containers and deleted nodes count too. */

enum holder_kind {
	HOLDER_PROCESS,
	HOLDER_CONTAINER,
	HOLDER_VM,
	HOLDER_KERNEL, /* a module has users, but none of them is a process */
};

struct holder {
	enum holder_kind kind;
	pid_t pid;	    /* 0: the kernel */
	char command[32];   /* for the kernel: its module */
	unsigned int guest; /* the container's or VM's number; 0 for a process of the host */
	char unit[256];	    /* the systemd service, of the host or in the container; "" none */
	char application[CONTAINER_NAME_SIZE]; /* its container of Docker or Podman; "" none */
	char node[64]; /* the first one found: "controlC1", "vfio/15"; "" for the kernel */
	char address[PCI_ADDRESS_SIZE]; /* the function; a process with two is listed twice */
};

struct holders {
	struct holder *items;
	size_t count;
	/* "" all; else why there may be others: "looked at 480 processes in 5.0 s, and process
	 * 4242 (perl) of user 65534 has more than 20000 descriptors and mappings: who uses the card
	 * is not known" */
	char unknown[256];
};

/* Finds who has one of these nodes, in one pass over /proc, however many nodes there are. 0 or
 * -errno. */
int holders_of_nodes(const struct kernel *kernel, const struct nodes *nodes, struct holders *ret,
	struct error *error);

/* Finds who uses these functions, in one pass. A function whose driver is stuck in remove() has
 * lost its nodes: then the nodes that its loan recorded count, and none of its files is read. The
 * nodes looked for are added to @nodes. @loans and @nodes may be NULL. 0 or -errno. */
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

/* Finds who has a function whose driver does not let go, by the nodes that @loan recorded and by
 * its group through VFIO. 0 or -errno. */
int holders_of_stuck(const struct kernel *kernel, const struct loan *loan, const char *address,
	struct holders *ret, struct error *error);

/* Finds who has the group open through VFIO. Never opens the group to test it: a second open of a
 * group fails, so this could make a starting VM fail. */
int holders_of_group(
	const struct kernel *kernel, long iommu_group, struct holders *ret, struct error *error);

/* Waits until nobody has the group open; wakes when somebody closes it. 0, -EBUSY past the deadline
 * with the open node and the holders in the message, or -errno. */
int holders_await_group(const struct kernel *kernel, long iommu_group, unsigned int deadline_ms,
	struct error *error);

/* Appends a copy. 0 or -ENOMEM. */
int holders_add(struct holders *holders, const struct holder *holder);

/* Removes the entries of which @drops says true. */
void holders_drop(struct holders *holders, bool (*drops)(const void *data, const struct holder *),
	const void *data);

/* Removes the kernel's entries: a module's count is a guess. A process is not, so those stay. */
void holders_drop_kernel(struct holders *holders);

/* Does one of the holders use this function? */
bool holders_have(const struct holders *holders, const char *address);

/* True when an earlier entry is the same process, with another function. */
bool holder_is_repeated(const struct holders *holders, size_t index);

/* "process", "container", "vm", "kernel" */
const char *holder_kind_name(enum holder_kind kind);

/* Room for about fifty holders, and for the text around them in a message. */
#define HOLDERS_TEXT_SIZE 3072

/* A list of holders as text in @buffer: "one, other". Those that do not fit are counted: ", and 7
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
