/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Questions about one VM that several of its checks ask. */

#include "patient.h"

#include <stdio.h>
#include <string.h>

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

/* The higher, the less one wants the card. */
static unsigned int count_drawbacks(
	const struct patient *patient, const struct pci_function *function)
{
	const struct doctor *doctor = patient->doctor;

	return (function->boot_display ? 8u : 0u) +
		(loans_find(&doctor->loans, function->address) ? 4u : 0u) +
		(patient_shares(patient, function->address) ? 2u : 0u) +
		(pci_count_virtual(&doctor->host, function) ? 1u : 0u);
}

const char *patient_device(struct patient *patient)
{
	const struct doctor *doctor = patient->doctor;
	const struct pci_function *found = NULL;
	unsigned int least = 0;

	if (first_device(patient))
		return first_device(patient);
	for (size_t i = 0; i < doctor->host.count; i++) {
		const struct pci_function *function = &doctor->host.items[i];
		unsigned int drawbacks;

		if (!is_gpu(doctor, function))
			continue;
		drawbacks = count_drawbacks(patient, function);
		if (found && drawbacks >= least)
			continue;
		found = function;
		least = drawbacks;
	}
	if (!found)
		return "DEVICE";
	snprintf(patient->device, sizeof(patient->device), "%.*s",
		/* its virtual functions may be in the same slot */
		(int)strcspn(found->address, pci_count_virtual(&doctor->host, found) ? "" : "."),
		found->address);
	return strncmp(patient->device, "0000:", 5) == 0 ? patient->device + 5 : patient->device;
}
