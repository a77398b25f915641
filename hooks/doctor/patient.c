/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Questions about one VM that several of its checks ask. */

#include "patient.h"

const struct pci_function *patient_function(const struct patient *patient, const char *address)
{
	return pci_find(&patient->doctor->host, address);
}

static const char *first_device(const struct patient *patient)
{
	const struct choice *choice = &patient->guest.resolved.choice;

	for (size_t i = 0; i < choice->count; i++) {
		const struct choice_entry *entry = &choice->entries[i];

		if (entry->hostpci.mapping)
			return entry->hostpci.mapping;
		if (entry->hostpci.host && entry->hostpci.ids.count == 1)
			return entry->hostpci.host;
	}
	return NULL;
}

const char *patient_device(const struct patient *patient)
{
	const struct doctor *doctor = patient->doctor;
	const struct pci_function *found = NULL;

	if (first_device(patient))
		return first_device(patient);
	for (size_t i = 0; i < doctor->host.count; i++) {
		const struct pci_function *function = &doctor->host.items[i];

		if (is_gpu(doctor, function) &&
			(!found || (found->boot_display && !function->boot_display)))
			found = function;
	}
	return found ? found->address : "DEVICE";
}
