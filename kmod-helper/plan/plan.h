/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/loan/step.h"
#include "kmod-helper/operation/attribute.h"
#include "kmod-helper/operation/console.h"

/* What a handover would take: functions, steps, and what prevents it. `plan` prints the same object
 * that the hook executes. */

enum blocker_code {
	BLOCKER_NO_IOMMU,
	BLOCKER_NO_DEVICE,
	BLOCKER_IDENTITY,
	BLOCKER_FOREIGN_MEMBER,
	BLOCKER_RESERVED,
	BLOCKER_HELD,
	BLOCKER_HOST_USE, /* "held" too: by the host itself */
	BLOCKER_BOOT_DISPLAY,
	BLOCKER_DEAD,
	BLOCKER_OVERDUE,
	BLOCKER_NO_DRIVER,
	BLOCKER_CONFIG,
	BLOCKER_VFS,
	BLOCKER_NO_ATTRIBUTE, /* "config" too: a file of sysfs that is to be set is not there */
	BLOCKER_ROMFILE,      /* "config" too: a romfile does not exist */
	BLOCKER_IGNORED,      /* Proxmox ignores a line: the VM starts without this device */
	BLOCKER_BACKUP,
	BLOCKER_QUIRK,
};

/* The message says what is in the way; what to do about it, callers add who know the program's
 * settings. */
struct blocker {
	enum blocker_code code;
	char message[ERROR_MESSAGE_SIZE];
};

struct plan_notice {
	char address[PCI_ADDRESS_SIZE]; /* the function that it is about; "" none */
	bool is_warning;
	char message[ERROR_MESSAGE_SIZE];
};

struct plan_function {
	struct pci_function now; /* as sysfs shows it */
	struct loan_function loan;
	bool adopted; /* Proxmox bound it to its target: it is only to be given back */
	struct console_use console; /* of a display that is about to be moved */
};

struct plan {
	struct plan_function *functions;
	size_t function_count;
	struct steps steps;
	struct blocker *blockers;
	size_t blocker_count;
	struct plan_notice *notices; /* what the person should know; stops nothing */
	size_t notice_count;
	struct holders holders; /* who uses the functions that are to move */
	bool is_held;		/* a blocker is about holders that we may not stop */
	bool is_returning;	/* a blocker is about a loan whose return is under way */
};

/* A function asked for. */
struct plan_want {
	char address[PCI_ADDRESS_SIZE];
	char target[PCI_DRIVER_SIZE]; /* "vfio-pci", a variant driver, or any other (bind --driver)
				       */
	/* driver=keep: a VFIO driver that it has already is accepted, else the best one is taken */
	bool keep;
	/* another choice of a mapping: its home is recorded, nothing is done to it */
	bool alternative;
};

/* What is known of a function: its card, its driver or this kernel. A text that is NULL says
 * nothing. */
struct plan_quirk {
	char address[PCI_ADDRESS_SIZE];
	const char *name;
	const char *notice, *warning, *blocker;
	/* the modules on top of its driver's must be unloaded before it can leave: why */
	const char *unload;
	const char *fix;	  /* what a person can do about it */
	const char *source;	  /* where that is known from */
	char driver_version[32];  /* "" unknown */
	unsigned int deadline_ms; /* for a write to its driver; 0: the usual one */
	bool waits_forever;	  /* a driver that does not let go never does */
};

struct plan_request {
	const struct pci_functions *host;
	const struct plan_want *wants;
	size_t want_count;
	const char *const *allow; /* addresses that may be taken although the host may need them */
	size_t allow_count;
	bool refuse_boot_display;
	struct attribute_wishes attributes; /* for any function; used for those taken */
	const struct plan_quirk *quirks;    /* for any function; used for those moved */
	size_t quirk_count;
	const struct loan *own;	   /* the owner's existing loan, whose homes are kept; or NULL */
	const struct loans *loans; /* all loans, the owner's included; or NULL */
};

/* Extends the wants to whole IOMMU groups and lists the steps: consumers (audio, USB) first,
 * displays last. What prevents the handover becomes a blocker, not an error. Other VMs' loans are
 * not checked here. Functions lent by hand are borrowed. Overdue functions are left alone, and
 * their files that may hang are not read. Adds to @plan, which is zeroed or holds blockers. 0 or
 * -ENOMEM. */
int plan_make(const struct kernel *kernel, const struct plan_request *request, struct plan *plan,
	struct error *error);
void plan_done(struct plan *plan);

int plan_block(struct plan *plan, enum blocker_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int plan_add_notice(struct plan *plan, const char *address, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
const char *blocker_name(enum blocker_code code);

/* "ADDRESS: TEXT; fix: FIX (NAME, SOURCE)" of a text of the quirk. */
void plan_quirk_format(const struct plan_quirk *quirk, const char *text, char *buffer, size_t size);

/* Puts the plan's functions and steps into the loan; homes that the loan knows already stay. 0 or
 * -ENOMEM. */
int plan_record(const struct plan *plan, struct loan *loan);

/* Adds the steps of a function that Proxmox bound to vfio-pci itself, as if we had done them, and a
 * step for the id that Proxmox added. 0 or -ENOMEM. */
int plan_adopt(
	const struct kernel *kernel, const struct loan_function *function, struct steps *steps);
