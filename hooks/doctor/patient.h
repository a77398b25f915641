/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* One VM, as the checks of its config see it. */

#include "doctor.h"
#include "hooks/ferry/vm_plan.h"

/* One VM as its checks see it. */
struct patient {
	struct doctor *doctor;
	struct checklist *list;
	unsigned int vmid;
	struct vm_plan guest;
	const struct vm_config *config; /* of guest */
};

/* The function at @address of this host; NULL when there is none. */
const struct pci_function *patient_function(const struct patient *patient, const char *address);

/* vm_cpu.c: `args: -cpu`, and hiding that it is a VM */
void patient_check_cpu(struct patient *patient);
/* The device that attach could be told: what it has, else a GPU that shows nothing, else any. */
const char *patient_device(const struct patient *patient);

/* snippets.c: the hookscript, and the one that runs with it */
void patient_check_hookscript(struct patient *patient);
/* guests.c: who else has its cards */
void patient_check_others(struct patient *patient);
