/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds uses by the host that no process shows: disks, network, keyboards. */

#include "host_use.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/device/pci.h"
#include <linux/input-event-codes.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* PCI function → USB controller → hubs → interface → host → target → block → partition */
#define DEPTH_MAX 14

#define PATH_SIZE 512 /* of a folder below a function */
#define FILE_SIZE 1024

/* The state of one search below a function. */
struct scan {
	const struct kernel *kernel;
	char *mounts;	     /* /proc/self/mountinfo; read at the first disk */
	char *swaps;	     /* /proc/swaps */
	struct names *disks; /* their paths, a partition before its disk; NULL: not asked for */
	char *text;
	size_t size;
};

static void scan_done(struct scan *scan)
{
	free(scan->mounts);
	free(scan->swaps);
}

static bool interface_is_up(const struct kernel *kernel, const char *path)
{
	char file[1024], text[32];

	snprintf(file, sizeof(file), "%s/flags", path);
	return kernel_read(kernel, file, text, sizeof(text)) > 0 &&
		(strtoul(text, NULL, 16) & IFF_UP);
}

/* "vmbr0", or a VLAN on it: "vmbr0.5" */
static bool is_interface(const char *text, const char *name)
{
	size_t length = strlen(name);

	return strncmp(text, name, length) == 0 && strchr(".\t\n ", text[length]);
}

/* IPv4: the destination is the second field, its mask the eighth. IPv6: destination and length are
 * the first two, the interface is the last. */
static bool has_default_route(const struct kernel *kernel, const char *name)
{
	auto_free char *four = kernel_read_text(kernel, "proc/net/route");
	auto_free char *six = kernel_read_text(kernel, "proc/net/ipv6_route");
	char *save = NULL;

	for (char *line = four ? strtok_r(four, "\n", &save) : NULL; line;
		line = strtok_r(NULL, "\n", &save)) {
		char destination[16], mask[16];

		if (is_interface(line, name) &&
			sscanf(line, "%*s %15s %*s %*s %*s %*s %*s %15s", destination, mask) == 2 &&
			strcmp(destination, "00000000") == 0 && strcmp(mask, "00000000") == 0)
			return true;
	}
	for (char *line = six ? strtok_r(six, "\n", &save) : NULL; line;
		line = strtok_r(NULL, "\n", &save)) {
		char *interface = strrchr(line, ' ');

		if (interface && is_interface(interface + 1, name) &&
			strncmp(line, "00000000000000000000000000000000 00 ", 36) == 0)
			return true;
	}
	return false;
}

/* Adds what the host would lose with the interface. */
static void add_route(const struct kernel *kernel, const char *name, char *text, size_t size)
{
	size_t used = strlen(text);

	if (has_default_route(kernel, name))
		snprintf(text + used, size - used,
			" and carries the default route: the host would be cut off");
}

static bool network_is_used(
	const struct kernel *kernel, const char *folder, char *text, size_t size)
{
	cleanup(names_done) struct names names = {0};
	char path[PATH_SIZE + 300], file[FILE_SIZE], master[256];

	if (kernel_list(kernel, folder, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names.names[i]);
		snprintf(file, sizeof(file), "%s/master", path);
		if (kernel_link(kernel, file, master, sizeof(master)) == 0) {
			snprintf(text, size, "network interface %s belongs to a bridge or bond",
				names.names[i]);
			add_route(kernel, master, text, size);
			return true;
		}
		if (interface_is_up(kernel, path)) {
			snprintf(text, size, "network interface %s is up", names.names[i]);
			add_route(kernel, names.names[i], text, size);
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

/* "8:1" */
static bool parse_device(const char *text, dev_t *ret)
{
	unsigned long long major_number, minor_number;

	if (parse_leading(&text, 10, UINT32_MAX, &major_number) < 0 || *text++ != ':' ||
		parse_leading(&text, 10, UINT32_MAX, &minor_number) < 0)
		return false;
	*ret = makedev((unsigned int)major_number, (unsigned int)minor_number);
	return true;
}

/* What udev found on a disk, "zfs_member"; "" when it is not known. */
static void read_content(const struct scan *scan, const char *device, char *ret, size_t size)
{
	auto_free char *text = NULL;
	const char *type;
	char path[64];

	snprintf(path, sizeof(path), "run/udev/data/b%.20s", device);
	text = kernel_read_text(scan->kernel, path);
	type = text ? strstr(text, "\nE:ID_FS_TYPE=") : NULL;
	type = type ? strchr(type, '=') + 1 : "";
	snprintf(ret, size, "%.*s", (int)strcspn(type, "\n"), type);
}

/* Tests a disk for which sysfs shows no use: does the kernel have a claim on it? */
static bool disk_is_claimed(const struct scan *scan, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char file[FILE_SIZE], device[32], content[32];
	dev_t number;

	snprintf(file, sizeof(file), "%s/dev", path);
	if (kernel_read(scan->kernel, file, device, sizeof(device)) <= 0 ||
		!parse_device(device, &number))
		return false;
	snprintf(file, sizeof(file), "dev/%s", name);
	/* sysfs writes "cciss!c0d0" for dev/cciss/c0d0 */
	for (char *character = file; (character = strchr(character, '!'));)
		*character = '/';
	if (scan->kernel->ops->block_is_claimed(scan->kernel->context, file, number) != 1)
		return false;
	read_content(scan, device, content, sizeof(content));
	snprintf(scan->text, scan->size, "disk %s is in use by the kernel (%s)", name,
		*content ? content : "mounted elsewhere, or part of a pool");
	return true;
}

static void read_mounts(struct scan *scan)
{
	if (!scan->mounts)
		scan->mounts = kernel_read_text(scan->kernel, "proc/self/mountinfo");
	if (!scan->swaps)
		scan->swaps = kernel_read_text(scan->kernel, "proc/swaps");
}

static bool disk_is_used(struct scan *scan, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char file[FILE_SIZE], device[32];

	snprintf(file, sizeof(file), "%s/dev", path);
	if (kernel_read(scan->kernel, file, device, sizeof(device)) <= 0)
		return false;
	read_mounts(scan);
	if (scan->mounts && is_mounted(scan->mounts, device))
		snprintf(scan->text, scan->size, "disk %s is mounted", name);
	else if (scan->swaps && is_swap(scan->swaps, name))
		snprintf(scan->text, scan->size, "disk %s is used for swap", name);
	else if (has_holders(scan->kernel, path))
		snprintf(scan->text, scan->size, "disk %s is part of a volume (LVM, MD, multipath)",
			name);
	else if (scan->disks && names_add(scan->disks, path) < 0)
		snprintf(scan->text, scan->size, "disk %s: out of memory", name);
	else
		return false;
	return true;
}

static bool is_block(const struct scan *scan, const char *path)
{
	char file[FILE_SIZE], name[64];

	snprintf(file, sizeof(file), "%s/subsystem", path);
	return kernel_link(scan->kernel, file, name, sizeof(name)) == 0 &&
		strcmp(name, "block") == 0;
}

/* The bits of an input device's capabilities, as words of 64 bits, the highest first. */
static bool has_bit(const char *words, unsigned int bit)
{
	const char *end = words + strlen(words);

	for (unsigned int word = 0; end > words; word++) {
		const char *start = end;

		while (start > words && start[-1] != ' ')
			start--;
		if (word == bit / 64)
			return strtoull(start, NULL, 16) >> bit % 64 & 1;
		end = start > words ? start - 1 : words;
	}
	return false;
}

static bool read_capabilities(
	const struct scan *scan, const char *path, const char *kind, char *ret, size_t size)
{
	char file[FILE_SIZE];

	snprintf(file, sizeof(file), "%s/capabilities/%s", path, kind);
	return kernel_read(scan->kernel, file, ret, size) > 0;
}

/* udev's own test (udev-builtin-input_id.c): the keys from Escape to D; relative axes and a button.
 */
static bool input_is_used(const struct scan *scan, const char *path)
{
	char keys[256], axes[64], file[FILE_SIZE], name[64] = "unnamed";
	bool keyboard = true, mouse;

	if (!read_capabilities(scan, path, "key", keys, sizeof(keys)))
		return false;
	for (unsigned int key = KEY_ESC; key <= KEY_D; key++)
		keyboard = keyboard && has_bit(keys, key);
	mouse = read_capabilities(scan, path, "rel", axes, sizeof(axes)) && has_bit(axes, REL_X) &&
		has_bit(axes, REL_Y) && has_bit(keys, BTN_LEFT);
	if (!keyboard && !mouse)
		return false;
	snprintf(file, sizeof(file), "%s/name", path);
	kernel_read(scan->kernel, file, name, sizeof(name));
	snprintf(scan->text, scan->size, "%s \"%s\" is plugged into it",
		keyboard ? "keyboard" : "mouse", name);
	return true;
}

static bool scan_folder(struct scan *scan, const char *path, unsigned int depth);

/* In sysfs a namespace that several controllers could reach is not a disk of any of them: nvme0c1n2
 * is a hidden path to nvme0n2. */
static bool hidden_path_is_used(struct scan *scan, const char *name, unsigned int depth)
{
	char head[64], path[PATH_SIZE];
	size_t before = strcspn(name, "c"), controller = before + strcspn(name + before, "n");

	if (strncmp(name, "nvme", 4) != 0 || !name[before] || !name[controller])
		return false;
	snprintf(head, sizeof(head), "%.*s%s", (int)before, name, name + controller);
	snprintf(path, sizeof(path), "sys/class/block/%s", head);
	return scan_folder(scan, path, depth + 1) || disk_is_used(scan, path);
}

/* One folder below the function. */
static bool child_is_used(struct scan *scan, const char *path, const char *name, unsigned int depth)
{
	/* every device has this folder, and nothing of interest is in it */
	if (strcmp(name, "power") == 0)
		return false;
	if (strcmp(name, "net") == 0)
		return network_is_used(scan->kernel, path, scan->text, scan->size);
	/* audio functions have input devices too, for their plugs: only those behind USB are a
	 * person's */
	if (strncmp(name, "input", 5) == 0 && strstr(path, "/usb") && input_is_used(scan, path))
		return true;
	if (hidden_path_is_used(scan, name, depth))
		return true;
	/* a partition before its disk, which the kernel claims with it */
	return scan_folder(scan, path, depth + 1) ||
		(is_block(scan, path) && disk_is_used(scan, path));
}

static bool scan_folder(struct scan *scan, const char *path, unsigned int depth)
{
	cleanup(names_done) struct names names = {0};
	char child[PATH_SIZE];

	if (depth > DEPTH_MAX || kernel_list_folders(scan->kernel, path, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++) {
		if (snprintf(child, sizeof(child), "%s/%s", path, names.names[i]) <
				(int)sizeof(child) &&
			child_is_used(scan, child, names.names[i], depth))
			return true;
	}
	return false;
}

static bool scan_device(struct scan *scan, const char *address)
{
	char path[PCI_PATH_SIZE];

	pci_path(address, NULL, path, sizeof(path));
	return scan_folder(scan, path, 0);
}

bool host_use_find(const struct kernel *kernel, const char *address, char *text, size_t size)
{
	cleanup(scan_done) struct scan scan = {.kernel = kernel, .text = text, .size = size};

	return scan_device(&scan, address);
}

bool host_use_find_claimed(
	const struct kernel *kernel, const char *address, char *text, size_t size)
{
	cleanup(names_done) struct names disks = {0};
	cleanup(scan_done) struct scan scan = {
		.kernel = kernel, .text = text, .size = size, .disks = &disks};

	if (scan_device(&scan, address))
		return true;
	for (size_t i = 0; i < disks.count; i++) {
		if (disk_is_claimed(&scan, disks.names[i]))
			return true;
	}
	return false;
}
