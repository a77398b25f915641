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

/* Reads an id without its "0x": sysfs writes "0x1458". @ret is "" when the file is not there. */
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

void device_meaning_done(struct device_meaning *meaning)
{
	names_done(&meaning->addresses);
}

int devices_add_functions(
	const struct pci_functions *host, const char *device, struct names *addresses)
{
	char whole[PCI_ADDRESS_SIZE];
	int r = 0;

	if (pci_device_parse(device, whole, sizeof(whole)) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < host->count; i++) {
		const char *address = host->items[i].address;

		if (pci_device_has(whole, address))
			r = names_add_once(addresses, address);
	}
	return r;
}

int devices_read_mapping(struct context *context, const struct pci_functions *host,
	const char *name, struct device_meaning *ret, struct error *error)
{
	cleanup(alternatives_done) struct alternatives alternatives = {0};
	cleanup(mappings_done) struct mappings mappings = {0};
	struct hardware hardware = {.context = context, .host = host};
	const struct mapping *mapping;
	char node[NODE_NAME_SIZE];
	int r = node_name(&context->kernel.root, node, sizeof(node), error);

	if (r == 0)
		r = mappings_read(&context->kernel.root, &mappings, error);
	if (r < 0)
		return r;
	mapping = mapping_by_name(&mappings, name);
	ret->mediated = mapping && mapping->mdev && strcmp(mapping->mdev, "1") == 0;
	r = mapping_find(&mappings, name, node, devices_look_up, &hardware, &alternatives, error);
	if (r == -ENOENT)
		r = mapping_explain_absence(&mappings, name, node, error);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < alternatives.count; i++) {
		for (size_t n = 0; r == 0 && n < alternatives.lists[i].count; n++)
			r = devices_add_functions(
				host, alternatives.lists[i].names[n], &ret->addresses);
	}
	return r < 0 ? error_set_errno(error, r, "look for the mapping %s", name) : 0;
}

int device_find(struct context *context, const struct pci_functions *host, const char *argument,
	struct device_meaning *ret, struct error *error)
{
	int r;

	if (pci_device_parse(argument, ret->device, sizeof(ret->device)) < 0) {
		ret->device[0] = '\0';
		r = devices_read_mapping(context, host, argument, ret, error);
		if (r == -ENOENT)
			return error_set(error, USAGE,
				"'%s' is not a PCI address (2b:00, 2b:00.0 or 0000:2b:00.0), and "
				"no resource mapping of this node has that name",
				argument);
		return r;
	}
	r = devices_add_functions(host, ret->device, &ret->addresses);
	if (r < 0)
		return error_set_errno(error, r, "look for %s", argument);
	return ret->addresses.count
		? 0
		: error_set(error, -ENODEV, "%s is not there (see gpu-ferry list --all)", argument);
}

static bool is_listed(const struct devices *devices, const struct pci_function *function)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (devices->functions[i] == function)
			return true;
	}
	return false;
}

static int add_argument(
	struct context *context, const char *argument, struct devices *devices, struct error *error)
{
	cleanup(device_meaning_done) struct device_meaning meaning = {0};
	int r = device_find(context, &devices->host, argument, &meaning, error);

	for (size_t i = 0; r == 0 && i < meaning.addresses.count; i++) {
		const struct pci_function *function =
			pci_find(&devices->host, meaning.addresses.names[i]);

		if (!is_listed(devices, function))
			devices->functions[devices->count++] = function;
	}
	return r;
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
