/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads a driver module's use count and says what it means for a function. */

#include "driver_use.h"

#include "kmod-helper/base/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum use {
	USE_UNKNOWN,
	USE_NONE,
	USE_SOME,
};

/* The number of modules that are built on @module. */
static long count_dependents(const struct kernel *kernel, const char *module)
{
	cleanup(names_done) struct names names = {0};
	char path[PCI_PATH_SIZE];

	snprintf(path, sizeof(path), "sys/module/%s/holders", module);
	return kernel_list(kernel, path, &names) < 0 ? 0 : (long)names.count;
}

/* The module's references; -1 when it has no count, as what is built in. */
static long read_count(const struct kernel *kernel, const char *module)
{
	char path[PCI_PATH_SIZE], text[16];

	snprintf(path, sizeof(path), "sys/module/%s/refcnt", module);
	return kernel_read(kernel, path, text, sizeof(text)) < 0 ? -1 : strtol(text, NULL, 10);
}

static enum use read_use(const struct kernel *kernel, const char *module)
{
	long count = *module && !count_dependents(kernel, module) ? read_count(kernel, module) : -1;

	if (count < 0)
		return USE_UNKNOWN;
	return count > 0 ? USE_SOME : USE_NONE;
}

bool driver_vfio_is_unused(const struct kernel *kernel)
{
	long count = read_count(kernel, "vfio");
	long dependents = count_dependents(kernel, "vfio");

	/* the same again: none of the dependents went in between */
	return count == dependents && read_count(kernel, "vfio") == count;
}

static bool has_drm(const struct kernel *kernel, const char *address)
{
	char path[PCI_PATH_SIZE];

	pci_path(address, "drm", path, sizeof(path));
	return kernel_has_folder(kernel, path);
}

/* The use of the driver's module, and its name; "" for none. */
static enum use look(const struct kernel *kernel, const char *address, char *driver, char *module)
{
	*module = '\0';
	if (pci_read_driver(kernel, address, driver, PCI_DRIVER_SIZE) < 0)
		return USE_UNKNOWN;
	if (!*driver)
		return USE_NONE;
	if (pci_driver_module(kernel, driver, module, PCI_DRIVER_SIZE) < 0)
		*module = '\0';
	return read_use(kernel, module);
}

bool driver_may_wait(const struct kernel *kernel, const char *address)
{
	char driver[PCI_DRIVER_SIZE] = "", module[PCI_DRIVER_SIZE];
	enum use use = look(kernel, address, driver, module);

	return use == USE_UNKNOWN || (use == USE_SOME && !has_drm(kernel, address));
}

static bool drives_one(const struct kernel *kernel, const char *driver)
{
	cleanup(names_done) struct names names = {0};
	char path[PCI_PATH_SIZE], device[PCI_ADDRESS_SIZE];
	size_t count = 0;

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s", driver);
	if (kernel_list(kernel, path, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++)
		count += pci_device_parse(names.names[i], device, sizeof(device)) == 0;
	return count == 1;
}

bool driver_is_used(const struct kernel *kernel, const char *address, char *module, size_t size)
{
	char driver[PCI_DRIVER_SIZE] = "", name[PCI_DRIVER_SIZE];

	if (look(kernel, address, driver, name) != USE_SOME || pci_driver_is_vfio(driver) ||
		has_drm(kernel, address) || !drives_one(kernel, driver))
		return false;
	snprintf(module, size, "%s", name);
	return true;
}
