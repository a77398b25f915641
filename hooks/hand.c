/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hand.h"

#include "commands/commands.h"
#include <errno.h>
#include <stdlib.h>

static bool is_listed(const struct hand_devices *devices, const struct pci_function *function)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (devices->functions[i] == function)
			return true;
	}
	return false;
}

static int add_matches(const char *argument, struct hand_devices *devices, struct error *error)
{
	char device[PCI_ADDRESS_SIZE];
	bool found = false;

	if (pci_device_parse(argument, device, sizeof(device)) < 0)
		return error_set(error, USAGE,
			"'%s' is no PCI address (2b:00, 2b:00.0 or 0000:2b:00.0)", argument);
	for (size_t i = 0; i < devices->host.count; i++) {
		const struct pci_function *function = &devices->host.items[i];

		if (!pci_device_has(device, function->address))
			continue;
		found = true;
		if (!is_listed(devices, function))
			devices->functions[devices->count++] = function;
	}
	if (!found)
		return error_set(error, -ENODEV, "%s is not there (see gpu-ferry list --all)",
			argument);
	return 0;
}

static int compare_groups(const void *left, const void *right)
{
	const struct pci_function *a = *(const struct pci_function *const *)left;
	const struct pci_function *b = *(const struct pci_function *const *)right;

	if (a->iommu_group != b->iommu_group)
		return a->iommu_group > b->iommu_group ? 1 : -1;
	return (a > b) - (a < b);
}

int hand_devices_find(struct context *context, char **arguments, struct hand_devices *ret,
	struct error *error)
{
	int r;

	if (!arguments[0])
		return error_set(error, USAGE, "%s takes a DEVICE", context->command);
	r = pci_scan(&context->kernel, &ret->host, error);
	if (r < 0)
		return r;
	ret->functions = calloc(ret->host.count + 1, sizeof(struct pci_function *));
	if (!ret->functions)
		return error_set_errno(error, -ENOMEM, "look for the devices");
	for (; *arguments; arguments++) {
		r = add_matches(*arguments, ret, error);
		if (r < 0)
			return r;
	}
	qsort(ret->functions, ret->count, sizeof(struct pci_function *), compare_groups);
	return 0;
}

void hand_devices_done(struct hand_devices *devices)
{
	free(devices->functions);
	pci_functions_done(&devices->host);
}
