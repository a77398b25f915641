/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Tells which kernel modules drive a device, and which of them are installed. */

#include "gpu_drivers.h"

#include "kmod-helper/base/cleanup.h"
#include <string.h>

static const struct gpu_driver drivers[] = {
	{.vendor_id = PCI_VENDOR_NVIDIA, .module = "nouveau"},
	{.vendor_id = PCI_VENDOR_NVIDIA, .module = "nova_core"},
	{.vendor_id = PCI_VENDOR_NVIDIA, .module = "nvidia", .is_nvidias_own = true},
	{.vendor_id = 0x1002, .module = "amdgpu"},
	{.vendor_id = 0x1002, .module = "radeon"},
	{.vendor_id = 0x8086, .module = "i915"},
	{.vendor_id = 0x8086, .module = "xe"},
};

/* Behind the last one. */
#define DRIVERS_END (drivers + sizeof(drivers) / sizeof(drivers[0]))

const struct gpu_driver *gpu_driver_next(uint16_t vendor_id, const struct gpu_driver *after)
{
	for (const struct gpu_driver *next = after ? after + 1 : drivers; next < DRIVERS_END;
		next++) {
		if (next->vendor_id == vendor_id)
			return next;
	}
	return NULL;
}

const struct gpu_driver *gpu_driver_find(const char *module)
{
	for (const struct gpu_driver *driver = drivers; driver < DRIVERS_END; driver++) {
		size_t length = strlen(driver->module);

		if (strncmp(driver->module, module, length) == 0 &&
			(!module[length] || (driver->is_nvidias_own && module[length] == '_')))
			return driver;
	}
	return NULL;
}

static bool is_framebuffer(const char *module)
{
	size_t length = strlen(module);

	return length > 2 && strcmp(module + length - 2, "fb") == 0;
}

/* Leaves out vfio-pci and its variants, which the card goes to, and old framebuffer drivers. */
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

static int add_aliases(const struct context *context, const struct pci_function *function,
	struct names *ret, bool *ret_known)
{
	cleanup(names_done) struct names found = {0};
	int r = 0;

	(void)pci_alias_modules(&context->kernel, function->address, &found, NULL);
	for (size_t i = 0; r == 0 && i < found.count; i++)
		r = add_module(ret, found.names[i]);
	*ret_known = found.count > 0;
	return r;
}

int driver_modules(
	const struct context *context, const struct pci_function *function, struct names *ret)
{
	bool known;
	int r = add_aliases(context, function, ret, &known);

	return r < 0 ? r : add_current(context, function, ret);
}

bool gpu_goes_dark(const struct context *context, const struct pci_function *function,
	const struct names *modules, struct device_names *names, char ret[static GPU_DARK_SIZE])
{
	cleanup(names_done) struct names needed = {0};
	char name[128];

	if (!pci_is_display(function) || driver_modules(context, function, &needed) < 0 ||
		!needed.count)
		return false;
	for (size_t i = 0; i < needed.count; i++) {
		if (!names_have(modules, needed.names[i]))
			return false;
	}
	device_name_short(names, function->vendor_id, function->device_id, name, sizeof(name));
	snprintf(ret, GPU_DARK_SIZE,
		"%s (%s) loses its driver too: %s is blacklisted for all cards%s",
		function->address, name, needed.names[0],
		function->boot_display ? "; it is the boot display: the host's console goes dark"
				       : "");
	return true;
}

bool gpu_driver_file(const struct module_files *files, const struct gpu_driver *driver,
	char ret[static GPU_DRIVER_FILE_SIZE])
{
	cleanup(names_done) struct names variants = {0};
	const char *file = driver->module;

	if (!module_files_have(files, file)) {
		if (driver->is_nvidias_own)
			(void)module_files_variants(files, driver->module, &variants);
		file = variants.count ? variants.names[0] : NULL;
	}
	if (file)
		snprintf(ret, GPU_DRIVER_FILE_SIZE, "%s", file);
	return file;
}

void gpu_driver_files_done(struct gpu_driver_files *files)
{
	names_done(&files->variants);
	names_done(&files->installed);
}

static int add_kernel(const struct module_files *kernel, struct gpu_driver_files *files)
{
	char file[GPU_DRIVER_FILE_SIZE];
	int r = 0;

	for (const struct gpu_driver *driver = drivers; r == 0 && driver < DRIVERS_END; driver++) {
		if (driver->is_nvidias_own)
			r = module_files_variants(kernel, driver->module, &files->variants);
		if (r == 0 && gpu_driver_file(kernel, driver, file))
			r = names_add_once(&files->installed, driver->module);
	}
	return r;
}

static int read_kernels(const struct root *root, struct gpu_driver_files *files)
{
	cleanup(names_done) struct names releases = {0};
	int r = 0;

	if (files->is_read)
		return 0;
	(void)folder_list(root, "lib/modules", &releases);
	for (size_t i = 0; r == 0 && i < releases.count; i++) {
		cleanup(module_files_done) struct module_files kernel = {0};

		if (module_files_read(root, releases.names[i], &kernel, NULL) == 0)
			r = add_kernel(&kernel, files);
	}
	files->is_read = r == 0;
	return r;
}

int gpu_driver_modules(const struct context *context, const struct pci_function *function,
	struct gpu_driver_files *files, struct names *ret)
{
	const struct gpu_driver *driver = NULL;
	bool known;
	int r = add_aliases(context, function, ret, &known);

	if (r == 0)
		r = add_current(context, function, ret);
	if (known && function->vendor_id != PCI_VENDOR_NVIDIA)
		return r;
	while (r == 0 && (driver = gpu_driver_next(function->vendor_id, driver))) {
		r = names_add_once(ret, driver->module);
		if (r == 0 && driver->is_nvidias_own)
			r = read_kernels(&context->kernel.root, files);
		for (size_t i = 0; r == 0 && driver->is_nvidias_own && i < files->variants.count;
			i++)
			r = names_add_once(ret, files->variants.names[i]);
	}
	return r;
}

bool gpu_driver_is_installed(
	const struct root *root, struct gpu_driver_files *files, const struct gpu_driver *driver)
{
	return read_kernels(root, files) == 0 && names_have(&files->installed, driver->module);
}
