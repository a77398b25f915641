/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the checks of one VM share. */

#include "doctor.h"
#include "hooks/ferry/vm_plan.h"

/* The VM that is checked. */
struct patient {
	struct doctor *doctor;
	struct checklist *list;
	unsigned int vmid;
	struct vm_plan guest;
	const struct vm_config *config; /* of guest */
	char device[PCI_ADDRESS_SIZE];	/* what patient_device() found */
};

/* The function at @address of this host; NULL when there is none. */
const struct pci_function *patient_function(const struct patient *patient, const char *address);

/* vm_cpu.c: `args: -cpu`, and hiding that it is a VM */
void patient_check_cpu(struct patient *patient);
/* A device to name in an attach command: one that the VM has, else the whole card that is best to
 * have: free, not the boot display, without virtual functions. */
const char *patient_device(struct patient *patient);
/* Gives the check added last its fix: to attach that device. The remark names the card, and the
 * others that are as good to have. */
void patient_fix_attach(struct patient *patient);

/* snippets.c: the hookscript, and the one that runs with it */
void patient_check_hookscript(struct patient *patient);
/* guests.c: does another VM of this node name the card of @address? */
bool patient_shares(const struct patient *patient, const char *address);
/* guests.c: who else has its cards */
void patient_check_others(struct patient *patient);
