/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the ids and the driver modules of the devices that setup is given. */

#include "setup_devices.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/holder/host_use.h"
#include <string.h>

int setup_devices_modules(
	const struct context *context, const struct setup_wish *wish, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wish->function_count; i++)
		r = driver_modules(context, wish->functions[i], ret);
	return r;
}

int setup_devices_blacklist(const struct context *context, const struct setup_wish *wish,
	struct gpu_driver_files *files, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wish->function_count; i++) {
		if (!pci_is_display(wish->functions[i]))
			continue;
		/* only for NVIDIA: another maker's second driver is for other cards, which may be
		 * the host's */
		r = wish->functions[i]->vendor_id == PCI_VENDOR_NVIDIA
			? gpu_driver_modules(context, wish->functions[i], files, ret)
			: driver_modules(context, wish->functions[i], ret);
	}
	return r;
}

bool setup_driver_is_built_in(const struct context *context, const struct pci_function *function)
{
	char module[PCI_DRIVER_SIZE];

	return function->driver[0] &&
		pci_driver_module(&context->kernel, function->driver, module, sizeof(module)) ==
		0 &&
		!module[0];
}

static void format_ids(const struct pci_function *function, char *buffer, size_t size)
{
	snprintf(buffer, size, "%04x:%04x", function->vendor_id, function->device_id);
}

int setup_devices_ids(const struct setup_wish *wish, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wish->function_count; i++) {
		char ids[16];

		format_ids(wish->functions[i], ids, sizeof(ids));
		r = names_add_once(ret, ids);
	}
	return r;
}

bool setup_devices_have(const struct setup_wish *wish, const struct pci_function *function)
{
	for (size_t i = 0; i < wish->function_count; i++) {
		if (strcmp(wish->functions[i]->address, function->address) == 0)
			return true;
	}
	return false;
}

static int check_one(
	const struct context *context, const struct pci_function *function, struct error *error)
{
	char use[256];

	if (function->bridge)
		return error_set(error, -EINVAL, "dedicate %s: it is a bridge", function->address);
	if (host_use_find(&context->kernel, function->address, use, sizeof(use)))
		return error_set(
			error, -EBUSY, "dedicate %s: the host uses it: %s", function->address, use);
	return 0;
}

/* ids= catches every device with those ids. */
static int check_twins(const struct setup_wish *wish, const struct pci_function *function,
	const struct pci_functions *host, struct error *error)
{
	for (size_t i = 0; i < host->count; i++) {
		const struct pci_function *twin = &host->items[i];

		if (twin->vendor_id != function->vendor_id ||
			twin->device_id != function->device_id || setup_devices_have(wish, twin))
			continue;
		return error_set(error, -EEXIST,
			"dedicate %s: %s has the same ids (%04x:%04x) and would go to vfio-pci too: "
			"name it as well, or use --mode share, which keeps twins apart",
			function->address, twin->address, twin->vendor_id, twin->device_id);
	}
	return 0;
}

int setup_devices_check(const struct context *context, const struct setup_wish *wish,
	const struct pci_functions *host, struct error *error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wish->function_count; i++) {
		r = check_one(context, wish->functions[i], error);
		if (r == 0)
			r = check_twins(wish, wish->functions[i], host, error);
	}
	return r;
}
