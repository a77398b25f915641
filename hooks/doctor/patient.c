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

/* "2b:00": the whole card; one function where its virtual functions may be in the same slot. */
static void format_device(const struct patient *patient, const struct pci_function *function,
	char ret[static PCI_ADDRESS_SIZE])
{
	size_t domain = strncmp(function->address, "0000:", 5) == 0 ? 5 : 0;

	snprintf(ret, PCI_ADDRESS_SIZE, "%s", function->address + domain);
	if (!pci_count_virtual(&patient->doctor->host, function))
		ret[strcspn(ret, ".")] = '\0';
}

static const struct pci_function *find_best(const struct patient *patient)
{
	const struct doctor *doctor = patient->doctor;
	const struct pci_function *found = NULL;

	for (size_t i = 0; i < doctor->host.count; i++) {
		const struct pci_function *function = &doctor->host.items[i];

		if (is_gpu(doctor, function) &&
			(!found ||
				count_drawbacks(patient, function) <
					count_drawbacks(patient, found)))
			found = function;
	}
	return found;
}

const char *patient_device(struct patient *patient)
{
	const struct pci_function *best;

	if (first_device(patient))
		return first_device(patient);
	best = find_best(patient);
	if (!best)
		return "DEVICE";
	format_device(patient, best, patient->device);
	return patient->device;
}

/* Appends ", or 66:00 (H100 SXM5 80GB)" for every other card that is as good to have as @best. */
static void append_equals(
	const struct patient *patient, const struct pci_function *best, char *buffer, size_t size)
{
	const struct doctor *doctor = patient->doctor;
	const struct pci_function *end = doctor->host.items + doctor->host.count;

	/* @best is the first of them */
	for (const struct pci_function *function = best + 1; function < end; function++) {
		char device[PCI_ADDRESS_SIZE], name[128];
		size_t used = strlen(buffer);

		if (!is_gpu(doctor, function) ||
			count_drawbacks(patient, function) != count_drawbacks(patient, best))
			continue;
		format_device(patient, function, device);
		device_name_short(doctor->names, function->vendor_id, function->device_id, name,
			sizeof(name));
		snprintf(buffer + used, size - used, ", or %s (%s)", device, name);
	}
}

void patient_fix_attach(struct patient *patient)
{
	const char *device = patient_device(patient);
	const struct pci_function *best = first_device(patient) ? NULL : find_best(patient);
	char equals[1024] = "", name[128];

	if (!best) {
		check_fix(patient->list, "gpu-ferry attach %u %s", patient->vmid, device);
		return;
	}
	device_name_short(
		patient->doctor->names, best->vendor_id, best->device_id, name, sizeof(name));
	append_equals(patient, best, equals, sizeof(equals));
	check_fix(patient->list, "gpu-ferry attach %u %s  # %s%s", patient->vmid, device, name,
		equals);
}
