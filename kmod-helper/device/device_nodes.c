/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the device nodes of a function's driver. */

#include "device_nodes.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#define GPUS "proc/driver/nvidia/gpus"
#define DEVICES_MAX 16384

/* kernel-open/common/inc/nv-chardev-numbers.h of NVIDIA's driver */
#define NVIDIA_MAJOR 195
#define NVIDIA_MINOR_MODESET 254
#define NVIDIA_MINOR_CONTROL 255
#define NVIDIA_MINOR_UVM 0
#define NVIDIA_MINOR_UVM_TOOLS 1

void nodes_done(struct nodes *nodes)
{
	free(nodes->items);
	*nodes = (struct nodes){0};
}

static int nodes_add(struct nodes *nodes, dev_t device, enum node_kind kind, const char *address,
	const char *name)
{
	struct node *node = LIST_ADD(nodes->items, nodes->count);

	if (!node)
		return -ENOMEM;
	node->device = device;
	node->kind = kind;
	snprintf(node->address, sizeof(node->address), "%s", address);
	snprintf(node->name, sizeof(node->name), "%s", name);
	return 0;
}

/* "226:0" */
static int parse_device_number(const char *text, dev_t *ret)
{
	char copy[32];
	char *colon;
	unsigned long long major_number, minor_number;

	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy))
		return -EINVAL;
	colon = strchr(copy, ':');
	if (!colon)
		return -EINVAL;
	*colon = '\0';
	if (parse_unsigned(copy, 10, UINT32_MAX, &major_number) < 0 ||
		parse_unsigned(colon + 1, 10, UINT32_MAX, &minor_number) < 0)
		return -EINVAL;
	*ret = makedev((unsigned int)major_number, (unsigned int)minor_number);
	return 0;
}

/* Finds the function that a device belongs to: the last address on its path, because those before
 * it are bridges. NULL when it is none of @addresses. */
static const char *find_owner(const char *target, const char *const *addresses, size_t count)
{
	const char *found = NULL;
	const char *last = NULL;

	for (size_t i = 0; i < count; i++) {
		const char *place = strstr(target, addresses[i]);

		if (place && place > target && place[-1] == '/' &&
			place[strlen(addresses[i])] == '/' && (!last || place > last)) {
			last = place;
			found = addresses[i];
		}
	}
	/* another function follows on the path: the one found is only a bridge */
	for (const char *part = last; part && (part = strchr(part, '/')); part++) {
		char name[PCI_ADDRESS_SIZE], device[PCI_ADDRESS_SIZE];
		size_t length = strcspn(part + 1, "/");

		if (length >= sizeof(name))
			continue;
		memcpy(name, part + 1, length);
		name[length] = '\0';
		if (strchr(name, '.') && pci_device_parse(name, device, sizeof(device)) == 0 &&
			strcmp(name, device) == 0)
			return NULL;
	}
	return found;
}

/* /sys/dev/char/116:3 → ../../devices/pci0000:00/0000:00:10.0/0000:01:00.1/sound/card1/controlC1 */
static int collect_listed(const struct kernel *kernel, const char *folder,
	const char *const *addresses, size_t count, struct nodes *nodes)
{
	cleanup(names_done) struct names names = {0};
	int r = 0;

	if (kernel_list(kernel, folder, &names) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		char path[64], target[PATH_MAX];
		const char *owner;
		dev_t device;

		snprintf(path, sizeof(path), "%s/%.32s", folder, names.names[i]);
		if (kernel->ops->target(kernel->context, path, target, sizeof(target)) < 0 ||
			parse_device_number(names.names[i], &device) < 0)
			continue;
		owner = find_owner(target, addresses, count);
		if (owner)
			r = nodes_add(nodes, device, NODE_OWN, owner, strrchr(target, '/') + 1);
	}
	return r;
}

/* "Device Minor: \t 0" */
static int read_minor(const struct kernel *kernel, const char *address, unsigned int *ret)
{
	char path[PCI_PATH_SIZE], text[4096];
	unsigned long long number;
	char *line;

	snprintf(path, sizeof(path), GPUS "/%.32s/information", address);
	if (kernel_read(kernel, path, text, sizeof(text)) < 0)
		return -ENOENT;
	line = strstr(text, "Device Minor:");
	if (!line)
		return -ENOENT;
	line += strlen("Device Minor:");
	line += strspn(line, " \t");
	line[strcspn(line, " \t\n")] = '\0';
	if (parse_unsigned(line, 10, UINT8_MAX, &number) < 0)
		return -ENOENT;
	*ret = (unsigned int)number;
	return 0;
}

/* /proc/devices: "508 nvidia-uvm" */
static int read_major(const struct kernel *kernel, const char *name, unsigned int *ret)
{
	auto_free char *text = malloc(DEVICES_MAX);
	char *save = NULL;

	if (!text || kernel_read(kernel, "proc/devices", text, DEVICES_MAX) < 0)
		return -ENOENT;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long number;
		char *blank;

		line += strspn(line, " ");
		blank = strchr(line, ' ');
		if (!blank || strcmp(blank + 1, name) != 0)
			continue;
		*blank = '\0';
		if (parse_unsigned(line, 10, UINT32_MAX, &number) < 0)
			continue;
		*ret = (unsigned int)number;
		return 0;
	}
	return -ENOENT;
}

static int add_shared(const struct kernel *kernel, const char *address, struct nodes *nodes)
{
	unsigned int major_number;
	int r = nodes_add(nodes, makedev(NVIDIA_MAJOR, NVIDIA_MINOR_CONTROL), NODE_SHARED, address,
		"nvidiactl");

	if (r == 0)
		r = nodes_add(nodes, makedev(NVIDIA_MAJOR, NVIDIA_MINOR_MODESET), NODE_SHARED,
			address, "nvidia-modeset");
	if (r < 0 || read_major(kernel, "nvidia-uvm", &major_number) < 0)
		return r;
	r = nodes_add(
		nodes, makedev(major_number, NVIDIA_MINOR_UVM), NODE_SHARED, address, "nvidia-uvm");
	return r < 0 ? r
		     : nodes_add(nodes, makedev(major_number, NVIDIA_MINOR_UVM_TOOLS), NODE_SHARED,
			       address, "nvidia-uvm-tools");
}

static bool is_among(const char *address, const char *const *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(addresses[i], address) == 0)
			return true;
	}
	return false;
}

/* NVIDIA's nodes are not in the kernel's device model, so sysfs does not list them. */
static int collect_nvidia(const struct kernel *kernel, const char *const *addresses, size_t count,
	struct nodes *nodes)
{
	cleanup(names_done) struct names cards = {0};
	int r = 0;

	if (kernel_list(kernel, GPUS, &cards) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < cards.count; i++) {
		const char *address = cards.names[i];
		bool asked_for = is_among(address, addresses, count);
		unsigned int minor_number;
		char name[32];

		if (read_minor(kernel, address, &minor_number) < 0)
			continue;
		snprintf(name, sizeof(name), "nvidia%u", minor_number);
		r = nodes_add(nodes, makedev(NVIDIA_MAJOR, minor_number),
			asked_for ? NODE_CARD : NODE_OTHER, address, name);
		if (r == 0 && asked_for)
			r = add_shared(kernel, address, nodes);
	}
	return r;
}

/* /sys/class/vfio/15/dev; "" for no group */
static int add_group(
	const struct kernel *kernel, long iommu_group, const char *address, struct nodes *nodes)
{
	char path[64], text[32], name[32];
	dev_t device;

	snprintf(path, sizeof(path), "sys/class/vfio/%ld/dev", iommu_group);
	/* no node: no function of the group is on vfio-pci */
	if (kernel_read(kernel, path, text, sizeof(text)) < 0 ||
		parse_device_number(text, &device) < 0)
		return 0;
	snprintf(name, sizeof(name), "vfio/%ld", iommu_group);
	return nodes_add(nodes, device, NODE_OWN, address, name);
}

static int collect_vfio(const struct kernel *kernel, const char *const *addresses, size_t count,
	struct nodes *nodes)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		char driver[PCI_DRIVER_SIZE];

		if (pci_read_driver(kernel, addresses[i], driver, sizeof(driver)) == 0 &&
			pci_driver_is_vfio(driver))
			r = add_group(
				kernel, pci_read_group(kernel, addresses[i]), addresses[i], nodes);
	}
	return r;
}

int nodes_collect(const struct kernel *kernel, const char *const *addresses, size_t count,
	struct nodes *nodes)
{
	int r = collect_listed(kernel, "sys/dev/char", addresses, count, nodes);

	if (r == 0)
		r = collect_listed(kernel, "sys/dev/block", addresses, count, nodes);
	if (r == 0)
		r = collect_nvidia(kernel, addresses, count, nodes);
	return r == 0 ? collect_vfio(kernel, addresses, count, nodes) : r;
}

/* DEVICE/vfio-dev/vfio3/dev, where the kernel passes devices one by one (iommufd). A process that
 * has a device through /dev/iommu has this node open. /dev/iommu alone gives no device, and no
 * driver waits for it. */
static int add_member(
	const struct kernel *kernel, const char *member, const char *address, struct nodes *nodes)
{
	cleanup(names_done) struct names names = {0};
	char folder[PCI_PATH_SIZE];
	int r = 0;

	pci_path(member, "vfio-dev", folder, sizeof(folder));
	if (kernel_list(kernel, folder, &names) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		char path[PCI_PATH_SIZE + 64], text[32], name[64];
		dev_t device;

		snprintf(path, sizeof(path), "%s/%.32s/dev", folder, names.names[i]);
		snprintf(name, sizeof(name), "vfio/devices/%.32s", names.names[i]);
		if (kernel_read(kernel, path, text, sizeof(text)) > 0 &&
			parse_device_number(text, &device) == 0)
			r = nodes_add(nodes, device, NODE_OWN, address, name);
	}
	return r;
}

int nodes_collect_group(
	const struct kernel *kernel, long iommu_group, const char *address, struct nodes *nodes)
{
	cleanup(names_done) struct names members = {0};
	char path[64];
	int r = add_group(kernel, iommu_group, address, nodes);

	snprintf(path, sizeof(path), "sys/kernel/iommu_groups/%ld/devices", iommu_group);
	if (r < 0 || kernel_list(kernel, path, &members) < 0)
		return r;
	for (size_t i = 0; r == 0 && i < members.count; i++)
		r = add_member(kernel, members.names[i], address, nodes);
	return r;
}

void nodes_format(const struct nodes *nodes, const char *address, char *buffer, size_t size)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < nodes->count; i++) {
		const struct node *node = &nodes->items[i];
		char text[128];
		int length;

		if (node->kind > NODE_CARD || strcmp(node->address, address) != 0)
			continue;
		length = snprintf(text, sizeof(text), "%s%s=%u:%u", used ? " " : "", node->name,
			major(node->device), minor(node->device));
		if (length < 0 || used + (size_t)length >= size)
			return;
		memcpy(buffer + used, text, (size_t)length + 1);
		used += (size_t)length;
	}
}

int nodes_parse(const char *text, const char *address, struct nodes *nodes)
{
	char copy[NODES_TEXT_SIZE];
	char *save = NULL;
	int r = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ", &save); r == 0 && word;
		word = strtok_r(NULL, " ", &save)) {
		char *equals = strrchr(word, '=');
		dev_t device;

		if (!equals || parse_device_number(equals + 1, &device) < 0)
			continue;
		*equals = '\0';
		r = nodes_add(nodes, device, NODE_OWN, address, word);
	}
	return r;
}

int nodes_make_nvidia(
	const struct kernel *kernel, const char *number, bool modeset, struct error *error)
{
	const char *const arguments[] = {
		"/usr/bin/nvidia-modprobe", "-u", "-c", number, modeset ? "-m" : NULL, NULL};

	return kernel->ops->run(kernel->context, arguments, error);
}
