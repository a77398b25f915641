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
	USE_SOME_OF_FAMILY, /* of a module that its own family is built on: DRM nodes are theirs */
};

bool driver_module_is_family(const char *module, const char *user)
{
	size_t length = strlen(module);

	return strncmp(user, module, length) == 0 && user[length] == '_';
}

/* The modules that are built on @module: each has one of its references. */
static void list_dependents(const struct kernel *kernel, const char *module, struct names *ret)
{
	char path[PCI_PATH_SIZE];

	snprintf(path, sizeof(path), "sys/module/%s/holders", module);
	(void)kernel_list(kernel, path, ret);
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
	cleanup(names_done) struct names dependents = {0};
	long count = *module ? read_count(kernel, module) : -1;

	if (count < 0)
		return USE_UNKNOWN;
	list_dependents(kernel, module, &dependents);
	for (size_t i = 0; i < dependents.count; i++) {
		if (!driver_module_is_family(module, dependents.names[i]))
			return USE_UNKNOWN;
	}
	if (count <= (long)dependents.count)
		return USE_NONE;
	return dependents.count ? USE_SOME_OF_FAMILY : USE_SOME;
}

bool driver_vfio_is_unused(const struct kernel *kernel)
{
	cleanup(names_done) struct names dependents = {0};
	long count = read_count(kernel, "vfio");

	list_dependents(kernel, "vfio", &dependents);
	/* the same again: none of the dependents went in between */
	return count == (long)dependents.count && read_count(kernel, "vfio") == count;
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

	return use == USE_UNKNOWN || use == USE_SOME_OF_FAMILY ||
		(use == USE_SOME && !has_drm(kernel, address));
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
	enum use use = look(kernel, address, driver, name);

	if (use < USE_SOME || (use == USE_SOME && has_drm(kernel, address)) ||
		pci_driver_is_vfio(driver) || !drives_one(kernel, driver))
		return false;
	snprintf(module, size, "%s", name);
	return true;
}

/* Finds a device of the driver "pci:nvidia", among the links in the driver's folder. */
static bool find_bound(const struct kernel *kernel, const char *driver, const struct names *ignored,
	char *ret, size_t size)
{
	cleanup(names_done) struct names names = {0};
	const char *colon = strchr(driver, ':');
	char folder[PCI_PATH_SIZE], path[2 * PCI_PATH_SIZE], target[256];

	if (!colon)
		return false;
	snprintf(folder, sizeof(folder), "sys/bus/%.*s/drivers/%s", (int)(colon - driver), driver,
		colon + 1);
	if (kernel_list(kernel, folder, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.names[i];

		snprintf(path, sizeof(path), "%s/%s", folder, name);
		/* what is no link is one of the driver's own files */
		if (strcmp(name, "module") == 0 || names_have(ignored, name) ||
			kernel_link(kernel, path, target, sizeof(target)) < 0)
			continue;
		snprintf(ret, size, "%s", name);
		return true;
	}
	return false;
}

bool driver_module_find_device(const struct kernel *kernel, const char *module,
	const struct names *ignored, char *ret, size_t size)
{
	cleanup(names_done) struct names drivers = {0};
	char path[PCI_PATH_SIZE];

	snprintf(path, sizeof(path), "sys/module/%s/drivers", module);
	if (kernel_list(kernel, path, &drivers) < 0)
		return false;
	for (size_t i = 0; i < drivers.count; i++) {
		if (find_bound(kernel, drivers.names[i], ignored, ret, size))
			return true;
	}
	return false;
}
