/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "doctor.h"
#include "hooks/guest_plan.h"

/* One VM as its checks see it. */
struct patient {
	struct doctor *doctor;
	struct checklist *list;
	unsigned int vmid;
	struct guest_plan guest;
	const struct vm_config *config; /* of guest */
};

/* The function at @address of this host; NULL when there is none. */
const struct pci_function *patient_function(const struct patient *patient, const char *address);

/* vm_cpu.c: `args: -cpu`, and hiding that it is a VM */
void patient_check_cpu(struct patient *patient);
/* guests.c: hookscript and snippet; who else has its cards */
void patient_check_hookscript(struct patient *patient);
void patient_check_others(struct patient *patient);
