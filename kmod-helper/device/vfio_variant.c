/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the VFIO driver that is made for a device, in modules.alias of the running kernel. */

#include "vfio_variant.h"

#include "kmod-helper/base/cleanup.h"
#include "pci.h"
#include <fnmatch.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ALIASES_MAX (64 * 1024 * 1024)
#define ALIAS "alias vfio_pci:"
#define DEVICE "pci:"

static char *read_aliases(const struct kernel *kernel)
{
	struct file_read_options options = {.max = ALIASES_MAX};
	char release[NAME_MAX + 1], path[PATH_MAX];
	char *text = NULL;

	if (kernel_read(kernel, "proc/sys/kernel/osrelease", release, sizeof(release)) <= 0)
		return NULL;
	snprintf(path, sizeof(path), "lib/modules/%s/modules.alias", release);
	(void)file_read(&kernel->root, path, &options, &text, NULL, NULL);
	return text;
}

static size_t count_wildcards(const char *pattern)
{
	size_t count = 0;

	for (; *pattern; pattern++)
		count += *pattern == '*';
	return count;
}

/* One line after ALIAS: "v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci". */
static void look_at(char *line, const char *device, size_t *fewest, char *ret, size_t size)
{
	char *module = strchr(line, ' ');
	size_t wildcards;

	if (!module)
		return;
	*module++ = '\0';
	wildcards = count_wildcards(line);
	if (wildcards >= *fewest || fnmatch(line, device, 0) != 0)
		return;
	*fewest = wildcards;
	snprintf(ret, size, "%s", module);
}

void vfio_variant_find(const struct kernel *kernel, const char *address, char *ret, size_t size)
{
	char path[PCI_PATH_SIZE], device[256];
	auto_free char *text = NULL;
	char *save = NULL;
	size_t fewest = SIZE_MAX;

	snprintf(ret, size, "vfio_pci");
	pci_path(address, "modalias", path, sizeof(path));
	if (kernel_read(kernel, path, device, sizeof(device)) <= 0 ||
		strncmp(device, DEVICE, strlen(DEVICE)) != 0)
		return;
	text = read_aliases(kernel);
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
		line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, ALIAS, strlen(ALIAS)) == 0)
			look_at(line + strlen(ALIAS), device + strlen(DEVICE), &fewest, ret, size);
	}
}

void vfio_variant_driver(const struct kernel *kernel, const char *module, char *ret, size_t size)
{
	cleanup(names_done) struct names drivers = {0};
	char path[PCI_PATH_SIZE];

	snprintf(ret, size, "%s", strcmp(module, "vfio_pci") == 0 ? "vfio-pci" : module);
	snprintf(path, sizeof(path), "sys/module/%s/drivers", module);
	if (kernel_list(kernel, path, &drivers) < 0)
		return;
	for (size_t i = 0; i < drivers.count; i++) {
		if (strncmp(drivers.names[i], DEVICE, strlen(DEVICE)) == 0)
			snprintf(ret, size, "%s", drivers.names[i] + strlen(DEVICE));
	}
}
