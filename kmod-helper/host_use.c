/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "host_use.h"

#include "base/cleanup.h"
#include "pci.h"
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX                                                                                  \
	14 /* PCI function → USB controller → hubs → interface → host → target → block \
	    */

/* The mounted and swapped devices, read once: "8:1" of /proc/self/mountinfo, names of /proc/swaps.
 */
struct storage {
	char *mounts;
	char *swaps;
};

static bool path_is_link(const struct kernel *kernel, const char *path)
{
	char name[256];

	return kernel_link(kernel, path, name, sizeof(name)) == 0;
}

static bool interface_is_up(const struct kernel *kernel, const char *path)
{
	char file[1024], text[32];

	snprintf(file, sizeof(file), "%s/flags", path);
	return kernel_read(kernel, file, text, sizeof(text)) > 0 &&
		(strtoul(text, NULL, 16) & IFF_UP);
}

static bool network_is_used(
	const struct kernel *kernel, const char *folder, char *text, size_t size)
{
	cleanup(names_done) struct names names = {0};
	char path[800], file[1024];

	if (kernel_list(kernel, folder, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names.names[i]);
		snprintf(file, sizeof(file), "%s/master", path);
		if (path_is_link(kernel, file)) {
			snprintf(text, size, "network interface %s belongs to a bridge or bond",
				names.names[i]);
			return true;
		}
		if (interface_is_up(kernel, path)) {
			snprintf(text, size, "network interface %s is up", names.names[i]);
			return true;
		}
	}
	return false;
}

/* "36 35 98:0 /mnt1 …": the third field of a line */
static bool is_mounted(const char *mounts, const char *device)
{
	size_t length = strlen(device);

	for (const char *line = mounts; line; line = strchr(line, '\n')) {
		const char *field;

		line += *line == '\n';
		field = strchr(line, ' ');
		field = field ? strchr(field + 1, ' ') : NULL;
		if (field && strncmp(field + 1, device, length) == 0 && field[1 + length] == ' ')
			return true;
	}
	return false;
}

/* "/dev/sda2   partition …": the first field of a line */
static bool is_swap(const char *swaps, const char *name)
{
	char start[280];
	size_t length = (size_t)snprintf(start, sizeof(start), "/dev/%s", name);

	for (const char *line = swaps; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, start, length) == 0 && strchr(" \t", line[length]))
			return true;
	}
	return false;
}

static bool has_holders(const struct kernel *kernel, const char *path)
{
	cleanup(names_done) struct names names = {0};
	char folder[1024];

	snprintf(folder, sizeof(folder), "%s/holders", path);
	return kernel_list(kernel, folder, &names) == 0 && names.count;
}

static bool disk_is_used(const struct kernel *kernel, const struct storage *storage,
	const char *path, char *text, size_t size)
{
	const char *name = strrchr(path, '/') + 1;
	char file[1024], device[32];

	snprintf(file, sizeof(file), "%s/dev", path);
	if (kernel_read(kernel, file, device, sizeof(device)) <= 0)
		return false;
	if (storage->mounts && is_mounted(storage->mounts, device))
		snprintf(text, size, "disk %s is mounted", name);
	else if (storage->swaps && is_swap(storage->swaps, name))
		snprintf(text, size, "disk %s is swapped to", name);
	else if (has_holders(kernel, path))
		snprintf(text, size, "disk %s is part of a volume (LVM, MD, multipath)", name);
	else
		return false;
	return true;
}

/* A disk and its partitions lie below …/block/; network interfaces below …/net/. */
static bool look_into(const struct kernel *kernel, const struct storage *storage, const char *path,
	unsigned int depth, char *text, size_t size)
{
	cleanup(names_done) struct names names = {0};
	char child[512];

	if (depth > DEPTH_MAX || kernel_list(kernel, path, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++) {
		if (snprintf(child, sizeof(child), "%s/%s", path, names.names[i]) >=
				(int)sizeof(child) ||
			path_is_link(kernel, child))
			continue;
		if (strcmp(names.names[i], "net") == 0) {
			if (network_is_used(kernel, child, text, size))
				return true;
			continue;
		}
		if (strstr(child, "/block/") && disk_is_used(kernel, storage, child, text, size))
			return true;
		if (look_into(kernel, storage, child, depth + 1, text, size))
			return true;
	}
	return false;
}

bool host_use_find(const struct kernel *kernel, const char *address, char *text, size_t size)
{
	struct storage storage = {
		.mounts = kernel_read_text(kernel, "proc/self/mountinfo"),
		.swaps = kernel_read_text(kernel, "proc/swaps"),
	};
	char path[PCI_PATH_SIZE];
	bool found;

	pci_path(address, NULL, path, sizeof(path));
	found = look_into(kernel, &storage, path, 0, text, size);
	free(storage.mounts);
	free(storage.swaps);
	return found;
}
