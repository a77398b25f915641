/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the processor that a VM's config gives to its guest. */

#include "patient.h"

#include "conf/pve/vm_cpu.h"
#include "kmod-helper/base/cleanup.h"
#include <string.h>

/* @text in single quotes, as a shell takes it. */
static void quote(const char *text, char *buffer, size_t size)
{
	size_t used = 0;

	for (; *text && used + sizeof("'\\''") < size; text++)
		used += (size_t)snprintf(
			buffer + used, size - used, *text == '\'' ? "'\\''" : "%c", *text);
	buffer[used] = '\0';
}

static void fix_arguments(struct patient *patient, const struct cpu_arguments *cpu)
{
	const char *remark = *cpu->dropped ? "  # not carried over: " : "";
	char rest[4096];

	quote(cpu->rest, rest, sizeof(rest));
	if (*rest)
		check_fix(patient->list, "qm set %u --args '%s' --cpu '%s'%s%s", patient->vmid,
			rest, cpu->native, remark, cpu->dropped);
	else
		check_fix(patient->list, "qm set %u --delete args && qm set %u --cpu '%s'%s%s",
			patient->vmid, patient->vmid, cpu->native, remark, cpu->dropped);
}

static void check_arguments(struct patient *patient)
{
	const char *arguments = vm_config_get(patient->config, "args");
	cleanup(cpu_arguments_done) struct cpu_arguments cpu = {0};

	if (cpu_arguments_parse(arguments, vm_config_get(patient->config, "cpu"), &cpu) < 0) {
		check_add(patient->list, CHECK_PASS, "vm_args_cpu",
			"args has no -cpu that overrides Proxmox VE's own");
		return;
	}
	check_add(patient->list, CHECK_WARN, "vm_args_cpu",
		"args: -cpu replaces all CPU settings of Proxmox VE itself, including the Hyper-V "
		"enlightenments");
	fix_arguments(patient, &cpu);
}

/* Fermi and older, by the ranges of their ids: their last drivers are 391 and 342. */
static bool is_before_kepler(const struct pci_function *function)
{
	unsigned int id = function->device_id;

	return id < 0x0fc0 || (id >= 0x1040 && id <= 0x10ff) || id == 0x1140 ||
		(id >= 0x1200 && id <= 0x127f);
}

/* By its name, or because it is in a laptop: not in a box beside it. */
static bool is_mobile(const struct patient *patient, const struct pci_function *function)
{
	char name[128], path[PCI_PATH_SIZE], removable[16];

	device_name(patient->doctor->names, function->vendor_id, function->device_id, name,
		sizeof(name));
	if (strstr(name, "Mobile") || strstr(name, "Max-Q"))
		return true;
	pci_path(function->address, "removable", path, sizeof(path));
	return patient->doctor->platform.laptop &&
		(kernel_read(&patient->doctor->context->kernel, path, removable,
			 sizeof(removable)) <= 0 ||
			strcmp(removable, "removable") != 0);
}

/* Why the VM should be hidden from the driver of one of its NVIDIA cards; NULL: no reason. NVIDIA's
 * drivers accept a VM from version 465 on. */
static const char *reason_to_hide(
	const struct patient *patient, const struct pci_function *function)
{
	if (is_before_kepler(function))
		return "its last driver is older than 465";
	return is_mobile(patient, function) ? "it is a laptop card" : NULL;
}

/* Whether the VM has a display of NVIDIA's, and why it should be hidden. */
static bool find_nvidia(const struct patient *patient, const char **ret_reason)
{
	const struct choice *choice = &patient->guest.resolved.choice;
	bool found = false;

	for (size_t i = 0; i < choice->count; i++) {
		const struct names *addresses = choice_addresses(&choice->entries[i]);

		for (size_t k = 0; addresses && !*ret_reason && k < addresses->count; k++) {
			const struct pci_function *function =
				patient_function(patient, addresses->names[k]);

			if (!function || function->vendor_id != PCI_VENDOR_NVIDIA ||
				!pci_is_display(function))
				continue;
			found = true;
			*ret_reason = reason_to_hide(patient, function);
		}
	}
	return found;
}

static void check_hidden(struct patient *patient)
{
	const char *cpu = vm_config_get(patient->config, "cpu");
	const char *reason = NULL;
	const char *why_not = find_nvidia(patient, &reason)
		? "NVIDIA's drivers since 465 accept a VM"
		: "only old drivers of NVIDIA's refuse a VM";

	if (cpu_is_hidden(cpu) && reason) {
		check_add(patient->list, CHECK_PASS, "vm_cpu_hidden",
			"hidden=1 is set: the guest does not see that it is a VM");
	} else if (cpu_is_hidden(cpu)) {
		check_add(patient->list, CHECK_PASS, "vm_cpu_hidden",
			"hidden=1 is set: the guest does not see that it is a VM (not needed: %s)",
			why_not);
	} else if (reason) {
		check_add(patient->list, CHECK_WARN, "vm_cpu_hidden",
			"the guest sees that it is a VM, and the card's driver may refuse that "
			"(code 43): %s",
			reason);
		check_fix(patient->list, "qm set %u --cpu '%s,hidden=1'", patient->vmid,
			cpu ? cpu : "host");
	} else {
		check_add(patient->list, CHECK_PASS, "vm_cpu_hidden", "hidden=1 is not needed: %s",
			why_not);
	}
}

void patient_check_cpu(struct patient *patient)
{
	check_arguments(patient);
	check_hidden(patient);
}
