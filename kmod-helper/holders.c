/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "holders.h"

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/process.h"
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#define NODE_DEPTH_MAX 12 /* pci device → usb controller → hubs → interface → block → partition */
#define WAIT_STEP_MS 200

struct node {
	dev_t device;
	char name[64];
};

struct nodes {
	struct node *items;
	size_t count;
};

static void nodes_done(struct nodes *nodes)
{
	free(nodes->items);
	*nodes = (struct nodes){0};
}

static int nodes_add(struct nodes *nodes, dev_t device, const char *name)
{
	struct node *grown = reallocarray(nodes->items, nodes->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	nodes->items = grown;
	grown[nodes->count].device = device;
	snprintf(grown[nodes->count].name, sizeof(grown->name), "%s", name);
	nodes->count++;
	return 0;
}

void holders_done(struct holders *holders)
{
	free(holders->items);
	*holders = (struct holders){0};
}

/* "226:0" */
static int parse_device_number(char *text, dev_t *ret)
{
	char *colon = strchr(text, ':');
	unsigned long long major_number, minor_number;

	if (!colon)
		return -EINVAL;
	*colon = '\0';
	if (parse_unsigned(text, 10, UINT32_MAX, &major_number) < 0 ||
		parse_unsigned(colon + 1, 10, UINT32_MAX, &minor_number) < 0)
		return -EINVAL;
	*ret = makedev((unsigned int)major_number, (unsigned int)minor_number);
	return 0;
}

static bool is_link(const struct kernel *kernel, const char *path)
{
	char name[256];

	return kernel_link(kernel, path, name, sizeof(name)) == 0;
}

/* Every `dev` attribute below a function is a node of its. Links lead elsewhere, and another PCI
 * address below a bridge is another function. */
static int collect_nodes(
	const struct kernel *kernel, const char *path, unsigned int depth, struct nodes *nodes)
{
	cleanup(names_done) struct names names = {0};
	char child[512], text[32];
	int r = 0;

	if (depth > NODE_DEPTH_MAX || kernel_list(kernel, path, &names) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		const char *name = names.names[i];
		dev_t device;

		if (snprintf(child, sizeof(child), "%s/%s", path, name) >= (int)sizeof(child))
			continue;
		if (strcmp(name, "dev") == 0) {
			if (kernel_read(kernel, child, text, sizeof(text)) > 0 &&
				parse_device_number(text, &device) == 0)
				r = nodes_add(nodes, device, strrchr(path, '/') + 1);
		} else if (!is_link(kernel, child)) {
			r = collect_nodes(kernel, child, depth + 1, nodes);
		}
	}
	return r;
}

/* The number after @prefix in @text, followed by @end; 0 when there is none. */
static unsigned int number_after(const char *text, const char *prefix, char end)
{
	const char *found = strstr(text, prefix);
	unsigned long long number;
	char digits[16];
	size_t length;

	if (!found)
		return 0;
	found += strlen(prefix);
	length = strspn(found, "0123456789");
	if (length >= sizeof(digits) || found[length] != end)
		return 0;
	memcpy(digits, found, length);
	digits[length] = '\0';
	return parse_unsigned(digits, 10, VMID_MAX, &number) < 0 ? 0 : (unsigned int)number;
}

/* /proc/PID/cgroup: "0::/lxc/105/…" or "0::/qemu.slice/104.scope" */
static void read_guest(const struct kernel *kernel, struct holder *holder)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "proc/%d/cgroup", (int)holder->pid);
	if (kernel_read(kernel, path, text, sizeof(text)) < 0)
		return;
	if ((holder->guest = number_after(text, "/lxc/", '/')) ||
		(holder->guest = number_after(text, "/lxc/", '\0')))
		holder->kind = HOLDER_CONTAINER;
	else if ((holder->guest = number_after(text, "qemu.slice/", '.')))
		holder->kind = HOLDER_VM;
}

static int add_holder(
	const struct kernel *kernel, struct holders *holders, pid_t pid, const char *node)
{
	struct holder *grown = reallocarray(holders->items, holders->count + 1, sizeof(*grown));
	struct holder *holder;
	char path[64];

	if (!grown)
		return -ENOMEM;
	holders->items = grown;
	holder = &grown[holders->count++];
	*holder = (struct holder){.kind = HOLDER_PROCESS, .pid = pid};
	snprintf(holder->node, sizeof(holder->node), "%s", node);
	snprintf(path, sizeof(path), "proc/%d/comm", (int)pid);
	if (kernel_read(kernel, path, holder->command, sizeof(holder->command)) < 0)
		strcpy(holder->command, "?");
	read_guest(kernel, holder);
	return 0;
}

static const struct node *find_node(const struct nodes *nodes, dev_t device)
{
	for (size_t i = 0; i < nodes->count; i++) {
		if (nodes->items[i].device == device)
			return &nodes->items[i];
	}
	return NULL;
}

static int look_at_process(
	const struct kernel *kernel, pid_t pid, const struct nodes *nodes, struct holders *holders)
{
	cleanup(names_done) struct names names = {0};
	char path[512];

	snprintf(path, sizeof(path), "proc/%d/fd", (int)pid);
	/* gone meanwhile, or another user's when we are not root */
	if (kernel_list(kernel, path, &names) < 0)
		return 0;
	for (size_t i = 0; i < names.count; i++) {
		const struct node *node;
		dev_t device;

		snprintf(path, sizeof(path), "proc/%d/fd/%s", (int)pid, names.names[i]);
		if (kernel->ops->descriptor_device(kernel->context, path, &device) < 0)
			continue;
		node = find_node(nodes, device);
		if (node)
			return add_holder(kernel, holders, pid, node->name);
	}
	return 0;
}

static int find_holders(const struct kernel *kernel, const struct nodes *nodes, struct holders *ret,
	struct error *error)
{
	cleanup(holders_done) struct holders holders = {0};
	cleanup(names_done) struct names names = {0};
	unsigned long long pid;

	if (nodes->count && kernel_list(kernel, "proc", &names) < 0)
		names = (struct names){0};
	for (size_t i = 0; i < names.count; i++) {
		if (parse_unsigned(names.names[i], 10, INT32_MAX, &pid) == 0 &&
			look_at_process(kernel, (pid_t)pid, nodes, &holders) < 0)
			return error_set_errno(error, -ENOMEM, "look for holders in /proc");
	}
	*ret = holders;
	holders = (struct holders){0};
	return 0;
}

int holders_of_functions(const struct kernel *kernel, const char *const *addresses, size_t count,
	struct holders *ret, struct error *error)
{
	cleanup(nodes_done) struct nodes nodes = {0};

	for (size_t i = 0; i < count; i++) {
		char path[PCI_PATH_SIZE];

		pci_path(addresses[i], NULL, path, sizeof(path));
		if (collect_nodes(kernel, path, 0, &nodes) < 0)
			return error_set_errno(
				error, -ENOMEM, "look for nodes of %s", addresses[i]);
	}
	return find_holders(kernel, &nodes, ret, error);
}

int holders_of_group(
	const struct kernel *kernel, long iommu_group, struct holders *ret, struct error *error)
{
	cleanup(nodes_done) struct nodes nodes = {0};
	char path[64];
	dev_t device;

	snprintf(path, sizeof(path), "dev/vfio/%ld", iommu_group);
	/* no node: no function of the group is on vfio-pci */
	if (kernel->ops->device_number(kernel->context, path, &device) == 0 &&
		nodes_add(&nodes, device, path) < 0)
		return error_set_errno(error, -ENOMEM, "look for users of /%s", path);
	return find_holders(kernel, &nodes, ret, error);
}

int holders_await_group(const struct kernel *kernel, long iommu_group, unsigned int deadline_ms,
	struct error *error)
{
	unsigned long long end = clock_milliseconds() + deadline_ms;
	char path[64], text[512];

	snprintf(path, sizeof(path), "dev/vfio/%ld", iommu_group);
	for (;;) {
		cleanup(holders_done) struct holders holders = {0};
		unsigned long long now;
		int r = holders_of_group(kernel, iommu_group, &holders, error);

		if (r < 0 || holders.count == 0)
			return r;
		now = clock_milliseconds();
		if (now >= end) {
			holders_format(&holders, text, sizeof(text));
			return error_set(error, -EBUSY, "/%s is still open after %u s: %s", path,
				deadline_ms / 1000, text);
		}
		kernel->ops->wait_close(kernel->context, path,
			end - now < WAIT_STEP_MS ? (unsigned int)(end - now) : WAIT_STEP_MS);
	}
}

static int format_one(const struct holder *holder, char *buffer, size_t size)
{
	switch (holder->kind) {
	case HOLDER_CONTAINER:
		return snprintf(buffer, size, "container %u (%s, PID %d)", holder->guest,
			holder->command, (int)holder->pid);
	case HOLDER_VM:
		return snprintf(buffer, size, "VM %u (%s, PID %d)", holder->guest, holder->command,
			(int)holder->pid);
	case HOLDER_PROCESS:
	default:
		return snprintf(buffer, size, "%s (PID %d, %s)", holder->command, (int)holder->pid,
			holder->node);
	}
}

void holders_format(const struct holders *holders, char *buffer, size_t size)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < holders->count && used + 2 < size; i++) {
		int length = snprintf(buffer + used, size - used, "%s", i ? ", " : "");

		used += (size_t)length;
		length = format_one(&holders->items[i], buffer + used, size - used);
		used += length > 0 ? (size_t)length : 0;
	}
}
