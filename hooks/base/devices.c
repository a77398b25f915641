/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the functions of this host that a DEVICE argument means. */

#include "devices.h"

#include "conf/pve/mapping.h"
#include "conf/pve/node_name.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool has_attribute(struct context *context, const char *address, const char *name)
{
	char path[PCI_PATH_SIZE];

	pci_path(address, name, path, sizeof(path));
	return kernel_has_folder(&context->kernel, path);
}

/* "": the file is not there; sysfs writes "0x1458". */
static void read_id_text(
	struct context *context, const char *address, const char *name, char *ret, size_t size)
{
	char path[PCI_PATH_SIZE], text[8];
	ssize_t length;

	ret[0] = '\0';
	pci_path(address, name, path, sizeof(path));
	length = kernel_read(&context->kernel, path, text, sizeof(text));
	if (length > 2 && (size_t)length - 2 < size)
		memcpy(ret, text + 2, (size_t)length - 1);
}

int devices_look_up(void *data, const char *address, struct mapping_device *ret)
{
	const struct hardware *hardware = data;
	const struct pci_function *function = pci_find(hardware->host, address);
	struct context *context = hardware->context;
	bool types;

	if (!function)
		return -ENODEV;
	types = has_attribute(context, address, "mdev_supported_types");
	*ret = (struct mapping_device){
		.iommu_group = (int)function->iommu_group,
		.vgpu = !types && has_attribute(context, address, "nvidia"),
	};
	ret->mdev = types || ret->vgpu;
	read_id_text(context, address, "vendor", ret->vendor, sizeof(ret->vendor));
	read_id_text(context, address, "device", ret->device, sizeof(ret->device));
	read_id_text(context, address, "subsystem_vendor", ret->subsystem_vendor,
		sizeof(ret->subsystem_vendor));
	read_id_text(context, address, "subsystem_device", ret->subsystem_device,
		sizeof(ret->subsystem_device));
	return 0;
}

static bool is_listed(const struct devices *devices, const struct pci_function *function)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (devices->functions[i] == function)
			return true;
	}
	return false;
}

/* How many of the host's functions @device means; those not listed yet are added. */
static size_t add_matches(const char *device, struct devices *devices)
{
	size_t found = 0;

	for (size_t i = 0; i < devices->host.count; i++) {
		const struct pci_function *function = &devices->host.items[i];

		if (!pci_device_has(device, function->address))
			continue;
		found++;
		if (!is_listed(devices, function))
			devices->functions[devices->count++] = function;
	}
	return found;
}

static int add_list(const struct names *ids, struct devices *devices, struct error *error)
{
	for (size_t i = 0; i < ids->count; i++) {
		char device[PCI_ADDRESS_SIZE];

		if (pci_device_parse(ids->names[i], device, sizeof(device)) < 0 ||
			!add_matches(device, devices))
			return error_set(error, -ENODEV, "%s is not there", ids->names[i]);
	}
	return 0;
}

static int add_mapping(
	struct context *context, const char *name, struct devices *devices, struct error *error)
{
	cleanup(alternatives_done) struct alternatives alternatives = {0};
	cleanup(mappings_done) struct mappings mappings = {0};
	struct hardware hardware = {.context = context, .host = &devices->host};
	char node[NODE_NAME_SIZE];
	int r = node_name(&context->kernel.root, node, sizeof(node), error);

	if (r == 0)
		r = mappings_read(&context->kernel.root, &mappings, error);
	if (r == 0)
		r = mapping_find(
			&mappings, name, node, devices_look_up, &hardware, &alternatives, error);
	if (r == -ENOENT)
		return error_set(error, USAGE,
			"'%s' is no PCI address (2b:00, 2b:00.0 or 0000:2b:00.0), and no resource "
			"mapping of this node has that name",
			name);
	for (size_t i = 0; r == 0 && i < alternatives.count; i++)
		r = add_list(&alternatives.lists[i], devices, error);
	return r;
}

static int add_argument(
	struct context *context, const char *argument, struct devices *devices, struct error *error)
{
	char device[PCI_ADDRESS_SIZE];

	if (pci_device_parse(argument, device, sizeof(device)) < 0)
		return add_mapping(context, argument, devices, error);
	if (!add_matches(device, devices))
		return error_set(
			error, -ENODEV, "%s is not there (see gpu-ferry list --all)", argument);
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

int devices_find(
	struct context *context, char **arguments, struct devices *ret, struct error *error)
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
		r = add_argument(context, *arguments, ret, error);
		if (r < 0)
			return r;
	}
	qsort(ret->functions, ret->count, sizeof(struct pci_function *), compare_groups);
	return 0;
}

void devices_done(struct devices *devices)
{
	free(devices->functions);
	pci_functions_done(&devices->host);
}
