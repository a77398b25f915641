/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the ids and the driver modules of the devices that setup is given. */

#include "setup_devices.h"

#include "conf/host/kernel_arguments.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/holder/host_use.h"
#include "kmod-helper/kernel/module_files.h"
#include <string.h>

/* What a guide blacklists for a maker's GPUs, installed or not. nvidiafb and the like are not among
 * them: Proxmox VE and Debian blacklist the old framebuffer drivers themselves. */
static const struct {
	uint16_t vendor_id;
	const char *modules[3];
} makers[] = {
	{0x10de, {"nouveau", "nvidia", NULL}},
	{0x1002, {"amdgpu", "radeon", NULL}},
	{0x8086, {"i915", "xe", NULL}},
};

static bool is_framebuffer(const char *module)
{
	size_t length = strlen(module);

	return length > 2 && strcmp(module + length - 2, "fb") == 0;
}

/* vfio-pci and its variants are what the card goes to, not what is kept from it. */
static int add_module(struct names *names, const char *module)
{
	if (!module[0] || strstr(module, "vfio") || is_framebuffer(module))
		return 0;
	return names_add_once(names, module);
}

static int add_current(
	const struct context *context, const struct pci_function *function, struct names *ret)
{
	char module[PCI_DRIVER_SIZE];

	if (!function->driver[0] ||
		pci_driver_module(&context->kernel, function->driver, module, sizeof(module)) < 0)
		return 0;
	return add_module(ret, module);
}

static int add_aliases(
	const struct context *context, const struct pci_function *function, struct names *ret)
{
	const struct kernel *kernel = &context->kernel;
	cleanup(names_done) struct names found = {0};
	char path[PCI_PATH_SIZE], alias[256];
	int r = 0;

	pci_path(function->address, "modalias", path, sizeof(path));
	if (kernel_read(kernel, path, alias, sizeof(alias)) <= 0 ||
		kernel->ops->module_lookup(kernel->context, alias, &found, NULL) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < found.count; i++)
		r = add_module(ret, found.names[i]);
	return r;
}

static int add_modules(
	const struct context *context, const struct pci_function *function, struct names *ret)
{
	int r = add_aliases(context, function, ret);

	return r < 0 ? r : add_current(context, function, ret);
}

static int add_makers(uint16_t vendor_id, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
		for (size_t k = 0;
			r == 0 && makers[i].vendor_id == vendor_id && makers[i].modules[k]; k++)
			r = names_add_once(ret, makers[i].modules[k]);
	}
	return r;
}

int setup_devices_modules(
	const struct context *context, const struct setup_wish *wish, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wish->function_count; i++)
		r = add_modules(context, wish->functions[i], ret);
	return r;
}

int setup_devices_blacklist(
	const struct context *context, const struct setup_wish *wish, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < wish->function_count; i++) {
		if (!pci_is_display(wish->functions[i]))
			continue;
		r = add_modules(context, wish->functions[i], ret);
		/* another maker's second driver is for other cards, which may be the host's */
		if (r == 0 && wish->functions[i]->vendor_id == 0x10de)
			r = add_makers(0x10de, ret);
	}
	return r;
}

int setup_gpu_modules(
	const struct context *context, const struct pci_functions *host, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < host->count; i++) {
		if (!pci_is_display(&host->items[i]))
			continue;
		r = add_modules(context, &host->items[i], ret);
		if (r == 0)
			r = add_makers(host->items[i].vendor_id, ret);
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

static bool release_has_nvidia(const struct root *root, const char *release)
{
	cleanup(module_files_done) struct module_files files = {0};

	return module_files_read(root, release, &files, NULL) == 0 &&
		(module_files_have(&files, "nvidia") ||
			module_files_have(&files, "nvidia_current"));
}

bool setup_nvidia_is_installed(const struct context *context)
{
	cleanup(names_done) struct names releases = {0};
	bool found = false;

	(void)folder_list(&context->kernel.root, "lib/modules", &releases);
	for (size_t i = 0; i < releases.count && !found; i++)
		found = release_has_nvidia(&context->kernel.root, releases.names[i]);
	return found;
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

static bool is_wished(const struct setup_wish *wish, const struct pci_function *function)
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
			twin->device_id != function->device_id || is_wished(wish, twin))
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
