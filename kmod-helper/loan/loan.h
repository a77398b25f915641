/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include "kmod-helper/device/device_nodes.h"
#include "kmod-helper/device/pci.h"
#include "step.h"
#include <stdbool.h>
#include <sys/types.h>

/*
 * A loan: the record that a VM, or a person by hand, has these functions, with everything that is
 * needed to give them back. JSON files in /run/gpu-ferry/loans, one for each VM ("vm-104.json") and
 * one for each group lent by hand ("hand-15.json"); replaced whole, never edited in place. Fields
 * that this version does not know are kept.
 */

#define LOAN_FOLDER "run/gpu-ferry/loans"
#define LOAN_SCHEMA 1

enum loan_owner_kind {
	LOAN_OWNER_VM,
	LOAN_OWNER_HAND,
};

struct loan_owner {
	enum loan_owner_kind kind;
	unsigned int vmid; /* LOAN_OWNER_VM */
	long iommu_group;  /* LOAN_OWNER_HAND: names the file */
};

enum loan_state {
	LOAN_TAKING, /* a handover is under way, or was killed */
	LOAN_LENT,
	LOAN_RETURNING, /* a return is under way, or was killed */
	LOAN_OWED,	/* a return failed in part: what is left is still to be returned */
	LOAN_OVERDUE,	/* a write into a driver has not come back */
};

enum loan_use {
	LOAN_TAKEN,	  /* moved by us: goes home at return */
	LOAN_ALTERNATIVE, /* only recorded: another choice of a mapping that Proxmox may take */
	LOAN_BORROWED,	  /* lent by hand before; stays there */
	LOAN_STATIC,	  /* on its driver before we came (boot set-up); stays there */
};

enum loan_presence {
	LOAN_PRESENT,  /* also when it cannot be known */
	LOAN_LEFT,     /* no device is at its address now */
	LOAN_REPLACED, /* another device is */
};

struct loan_function {
	char address[PCI_ADDRESS_SIZE];
	char identity[PCI_IDENTITY_SIZE]; /* pci_read_identity; "" unknown */
	long iommu_group;
	char home_driver[PCI_DRIVER_SIZE];     /* "" none */
	char home_module[PCI_DRIVER_SIZE];     /* the module it came from; "" built in or none */
	char driver_override[PCI_DRIVER_SIZE]; /* as found; "" unset */
	char target[PCI_DRIVER_SIZE];	       /* "vfio-pci", or a variant driver */
	enum loan_use use;
	enum loan_presence presence; /* as loan_look found it; not recorded */
	/* 1: the host booted with this display. Some kernels show it only on its home driver. */
	unsigned int boot_display;
	/* how long a write to its driver may take, where that is known to be slow; 0: as the loan
	 * says */
	unsigned int slow_deadline_ms;
	/* 1: when its driver does not let go, it never does, not even when its users end */
	unsigned int waits_forever;
	/* the device nodes of its home driver (nodes_format), to find who holds a driver that does
	 * not let go */
	char nodes[NODES_TEXT_SIZE];
	struct json_object *record;
};

struct loan {
	struct loan_owner owner;
	enum loan_state state;
	unsigned int has_started; /* its VM's QEMU has come up: when that is gone, the VM stops */
	char since[32];		  /* RFC 3339, UTC */
	struct loan_function *functions;
	size_t function_count;
	struct steps steps; /* in the order of the handover; a return undoes them backwards */
	unsigned int write_deadline_ms, return_wait_ms;
	pid_t child; /* the process that writes into drivers now; 0: none */
	unsigned long long child_start_time;
	struct json_object *record;
};

struct loans {
	struct loan *items;
	size_t count;
	struct error unreadable; /* the first file that could not be read, if any */
};

/* Sets up an empty loan in the state LOAN_TAKING, since now. */
void loan_init(struct loan *loan, const struct loan_owner *owner);
void loan_done(struct loan *loan);

struct loan_function *loan_find(const struct loan *loan, const char *address);

/* Is the device that was lent still at its address? What is not there owes nothing. */
enum loan_presence loan_function_presence(
	const struct kernel *kernel, const struct loan_function *function);

/* Sets @presence of each function. */
void loan_look(const struct kernel *kernel, struct loan *loan);

/* How a function whose driver does not let go comes home: a sentence, and the begin of one about a
 * reboot until then. @function may be NULL. */
const char *loan_overdue_text(const struct loan_function *function);

/* Appends a copy. 0 or -ENOMEM. */
int loan_add_function(struct loan *loan, const struct loan_function *function);

/* Moves the function and its steps from one loan to another. 0, or -ENOMEM with nothing moved. */
int loan_move_function(struct loan *from, struct loan *to, const char *address);

/* The same for every function of a group (a gone VM's card that goes straight over). With the last
 * group that @from has taken, the steps that belong to no function move too, because then nobody is
 * left whose return would undo them. */
int loan_move_group(struct loan *from, struct loan *to, long iommu_group);

/* Removes the function and its steps. */
void loan_drop_function(struct loan *loan, const char *address);

/* Text of a loan to struct and back. 0, -EPROTONOSUPPORT for a newer schema, -EBADMSG for what is
 * no loan, -ENOMEM, or -ERANGE or -EFBIG for what could not be read again. The text is malloced. */
int loan_parse(const char *text, struct loan *ret, struct error *error);
int loan_format(const struct loan *loan, char **ret_text, struct error *error);

/* Writes the file (making the folders), or removes it. 0 or -errno. */
int loan_write(const struct root *root, const struct loan *loan, struct error *error);
int loan_remove(const struct root *root, const struct loan_owner *owner, struct error *error);

/* Its write has not come back: the loan's process is left to @step, which is one of the loan's. */
void loan_set_overdue(struct loan *loan, struct step *step);

/* Reads the loan of @owner. -ENOENT when there is none; -EPERM when the file is not root's or
 * others may write to it. On the live root an overdue loan whose write has come back is read as
 * LOAN_OWED. One whose write is past its deadline is read as LOAN_OVERDUE, even when nobody waits
 * for it any more. */
int loan_read(const struct root *root, const struct loan_owner *owner, struct loan *ret,
	struct error *error);

/* The step of @address (any, when NULL) whose write has not come back; NULL when there is none. */
const struct step *loan_find_stuck(const struct loan *loan, const char *address);

/* True while the process of this loan's last handover or return lives: the child of a killed hook
 * finishes its current write. Stuck steps are not counted. */
bool loan_is_busy(const struct root *root, const struct loan *loan);
/* Waits for that process to end. 0 or -EBUSY past the deadline. */
int loan_await(const struct root *root, const struct loan *loan, unsigned int deadline_ms);

/* Reads every loan. If a file cannot be read, ret->unreadable says so; the caller judges that. 0
 * (also when there is no folder) or -errno. */
int loans_read(const struct root *root, struct loans *ret, struct error *error);
void loans_done(struct loans *loans);

/* 0, or the error of the first file that could not be read: what it has, nobody knows. */
int loans_check(const struct loans *loans, struct error *error);

/* Makes @notify, which is inotify's, readable when a loan is written or removed. 0, also when that
 * was so already, or -errno (-ENOENT: there is no folder yet). */
int loans_notify(const struct root *root, int notify);

/* Marks lent boot displays among @functions: some kernels show that only on the home driver. */
void loans_mark_boot_displays(const struct loans *loans, struct pci_functions *functions);

/* The loan that has the function; alternatives do not count. NULL when there is none. For a
 * function that a VM has borrowed it is the loan by hand, because those files come first. */
const struct loan *loans_find(const struct loans *loans, const char *address);

/* The same, but for a borrowed function it is the loan of the VM. */
const struct loan *loans_find_user(const struct loans *loans, const char *address);

/* The loan of @owner; NULL when there is none. */
const struct loan *loans_find_owner(const struct loans *loans, const struct loan_owner *owner);

bool loan_owner_equal(const struct loan_owner *left, const struct loan_owner *right);
/* "VM 104", "by hand". */
void loan_owner_format(const struct loan_owner *owner, char *buffer, size_t size);
const char *loan_state_name(enum loan_state state);
