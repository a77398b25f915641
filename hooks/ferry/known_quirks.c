/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds which quirks are about which function of this host. */

#include "known_quirks.h"

#include "kmod-helper/base/list.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_SIZE 96

static void read_or_empty(const struct kernel *kernel, const char *path, char *ret, size_t size)
{
	if (kernel_read(kernel, path, ret, size) <= 0)
		ret[0] = '\0';
}

/* The version of the driver's module; "" when it has none, as those of the kernel itself. */
static void read_driver_version(
	const struct kernel *kernel, const char *driver, char *ret, size_t size)
{
	char module[PCI_DRIVER_SIZE], path[PCI_PATH_SIZE];

	if (pci_driver_module(kernel, driver, module, sizeof(module)) < 0 || !*module)
		snprintf(module, sizeof(module), "%s", driver);
	snprintf(path, sizeof(path), "sys/module/%s/version", module);
	read_or_empty(kernel, path, ret, size);
}

/* "modeset=N"; a parameter that cannot be read has another value. */
static bool has_parameter(const struct kernel *kernel, const struct quirk *quirk)
{
	const char *value = strchr(quirk->unless_parameter, '=');
	char path[PCI_PATH_SIZE], now[64];

	snprintf(path, sizeof(path), "sys/module/%s/parameters/%.*s", quirk->module,
		(int)(value - quirk->unless_parameter), quirk->unless_parameter);
	read_or_empty(kernel, path, now, sizeof(now));
	return strcmp(now, value + 1) == 0;
}

static bool module_fits(const struct kernel *kernel, const struct quirk *quirk)
{
	char path[PCI_PATH_SIZE];

	if (!quirk->module)
		return true;
	snprintf(path, sizeof(path), "sys/module/%s", quirk->module);
	return kernel_has_folder(kernel, path) &&
		!(quirk->unless_parameter && has_parameter(kernel, quirk));
}

static bool kernel_fits(const struct kernel *kernel, const struct quirk *quirk)
{
	char release[VERSION_SIZE];

	if (!quirk->kernels.count)
		return true;
	read_or_empty(kernel, "proc/sys/kernel/osrelease", release, sizeof(release));
	return quirk_version_matches(&quirk->kernels, release);
}

static bool is_beside(const struct quirk *quirk, const struct pci_functions *host)
{
	bool found = !quirk->beside.count;

	for (size_t i = 0; i < host->count && !found; i++) {
		const struct quirk_device device = {.vendor_id = host->items[i].vendor_id,
			.device_id = host->items[i].device_id};

		found = quirk_ids_have(&quirk->beside, &device);
	}
	return found;
}

/* Puts the version of the function's driver into @version where the quirk asks for it. */
static bool is_about(const struct kernel *kernel, const struct quirk *quirk,
	const struct pci_function *function, char version[VERSION_SIZE])
{
	const struct quirk_device device = {.vendor_id = function->vendor_id,
		.device_id = function->device_id,
		.class_code = function->class_code,
		.is_virtual = *function->parent,
		.driver = function->driver};

	version[0] = '\0';
	if (!quirk_is_about(quirk, &device) || !kernel_fits(kernel, quirk) ||
		!module_fits(kernel, quirk))
		return false;
	if (quirk->driver_versions.count)
		read_driver_version(kernel, function->driver, version, VERSION_SIZE);
	return quirk_version_matches(&quirk->driver_versions, version);
}

int known_quirks_find(const struct kernel *kernel, const struct quirks *quirks,
	const struct pci_functions *host, struct known_quirks *ret, struct error *error)
{
	char version[VERSION_SIZE];

	for (size_t i = 0; i < host->count * quirks->count; i++) {
		const struct pci_function *function = &host->items[i / quirks->count];
		const struct quirk *quirk = &quirks->items[i % quirks->count];
		struct known_quirk *known;

		if (!is_about(kernel, quirk, function, version) || !is_beside(quirk, host))
			continue;
		known = LIST_ADD(ret->items, ret->count);
		if (!known)
			return error_set_errno(error, -ENOMEM, "look for quirks");
		known->plan = (struct plan_quirk){.name = quirk->name,
			.notice = quirk->notice,
			.warning = quirk->warning,
			.blocker = quirk->blocker,
			.unload = quirk->unload,
			.fix = quirk->fix,
			.source = quirk->source ? quirk->source : quirk->place,
			.deadline_ms = quirk->deadline_ms,
			.waits_forever = quirk->waits_forever};
		snprintf(known->plan.address, sizeof(known->plan.address), "%s", function->address);
		snprintf(known->plan.driver_version, sizeof(known->plan.driver_version), "%.31s",
			version);
		known->reset_method = quirk->reset_method;
	}
	return 0;
}

void known_quirks_done(struct known_quirks *known)
{
	free(known->items);
	*known = (struct known_quirks){0};
}
