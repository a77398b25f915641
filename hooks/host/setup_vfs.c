/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads and changes the udev rules that make virtual functions at boot. */

#include "setup_vfs.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "own_files.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD                                                                                       \
	"# Written by `gpu-ferry setup --vfs`; `gpu-ferry undo` takes it back.\n"                  \
	"# With the driver, at boot and after a loan, the function gets its virtual functions.\n"
#define KERNEL "KERNEL==\""
#define COUNT "ATTR{sriov_numvfs}=\""

#define RULES_MAX_BYTES (64 * 1024)

/* The PCI specification's limit is 16 bits. */
#define VFS_MAX 65535u

static unsigned int read_number(
	const struct context *context, const char *address, const char *attribute)
{
	char path[PCI_PATH_SIZE], text[16];
	unsigned long long number;

	pci_path(address, attribute, path, sizeof(path));
	if (kernel_read(&context->kernel, path, text, sizeof(text)) <= 0 ||
		parse_unsigned(text, 10, VFS_MAX, &number) < 0)
		return 0;
	return (unsigned int)number;
}

unsigned int vfs_read_total(const struct context *context, const char *address)
{
	return read_number(context, address, "sriov_totalvfs");
}

unsigned int vfs_read_count(const struct context *context, const char *address)
{
	return read_number(context, address, "sriov_numvfs");
}

const char *vfs_driver_fault(const struct context *context, const struct pci_function *function)
{
	char text[16];

	if (strcmp(function->driver, "nvidia") == 0)
		return "NVIDIA's vGPU driver makes them by its own tool: systemctl enable --now "
		       "pve-nvidia-sriov@ALL.service (of pve-nvidia-vgpu-helper)";
	if (strcmp(function->driver, "amdgpu") == 0)
		return "amdgpu makes none: AMD's driver gim does, for its MI and S7150 cards";
	/* the kernel's own has no such parameter */
	if (strcmp(function->driver, "i915") == 0 &&
		kernel_read(&context->kernel, "sys/module/i915/parameters/max_vfs", text,
			sizeof(text)) < 0)
		return "this kernel's i915 makes none: i915-sriov-dkms does, or xe on a newer "
		       "kernel";
	return NULL;
}

/* ---- the text of the rules */

int vfs_rules_read(const struct root *root, char **ret_rules, struct error *error)
{
	struct file_read_options options = {.max = RULES_MAX_BYTES};
	struct error why = {0};
	int r = file_read(root, SETUP_VFS_PATH, &options, ret_rules, NULL, &why);

	if (r < 0 && r != -ENOENT && error)
		*error = why;
	return r == -ENOENT ? 0 : r;
}

/* Where the rule of the function begins, and its length; NULL when it has none. */
static const char *find_rule(const char *rules, const char *address, size_t *ret_length)
{
	char wanted[sizeof(KERNEL) + PCI_ADDRESS_SIZE + 1];

	snprintf(wanted, sizeof(wanted), KERNEL "%s\"", address);
	for (const char *line = rules; line && *line;) {
		size_t length = strcspn(line, "\n");
		const char *found = strstr(line, wanted);

		length += line[length] == '\n';
		if (*line != '#' && found && found < line + length) {
			*ret_length = length;
			return line;
		}
		line += length;
	}
	return NULL;
}

unsigned int vfs_rules_find(const char *rules, const char *address)
{
	size_t length = 0;
	const char *rule = find_rule(rules, address, &length);
	const char *count = rule ? strstr(rule, COUNT) : NULL;
	unsigned long long number;

	if (!count || count > rule + length)
		return 0;
	count += strlen(COUNT);
	return parse_leading(&count, 10, VFS_MAX, &number) == 0 ? (unsigned int)number : 0;
}

/* All rules but the function's, and its new one. */
static int format(const char *rules, const struct pci_function *function, unsigned int count,
	char **ret, struct error *error)
{
	size_t size, length = 0;
	const char *rule = find_rule(rules, function->address, &length);
	const char *before = rules ? rules : HEAD;
	const char *after = rule ? rule + length : "";
	auto_free char *text = NULL;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return error_set_errno(error, -ENOMEM, "write the rules of virtual functions");
	fwrite(before, 1, rule ? (size_t)(rule - before) : strlen(before), stream);
	/* not while a VM has the whole function: vfio-pci makes none */
	if (count)
		fprintf(stream,
			"ACTION==\"add|bind\", SUBSYSTEM==\"pci\", " KERNEL
			"%s\", ATTR{vendor}==\"0x%04x\", ATTR{device}==\"0x%04x\", "
			"DRIVER==\"?*\", DRIVER!=\"vfio-pci\", " COUNT "%u\"\n",
			function->address, function->vendor_id, function->device_id, count);
	fputs(after, stream);
	if (fclose(stream) == EOF || !text)
		return error_set_errno(error, -ENOMEM, "write the rules of virtual functions");
	if (strstr(text, COUNT))
		*ret = TAKE_PTR(text);
	return 0;
}

/* ---- the wish */

/* The function that can have virtual functions, or that has a rule. */
static int find_function(const struct context *context, const struct pci_functions *host,
	const char *device, const char *rules, const struct pci_function **ret, struct error *error)
{
	const struct pci_function *found = NULL;
	bool is_there = false;

	for (size_t i = 0; i < host->count; i++) {
		const struct pci_function *function = &host->items[i];

		if (!pci_device_has(device, function->address))
			continue;
		is_there = true;
		if (!vfs_read_total(context, function->address) &&
			!vfs_rules_find(rules, function->address))
			continue;
		if (found)
			return error_set(error, USAGE,
				"--vfs: %s and %s can both have virtual functions: name one",
				found->address, function->address);
		found = function;
	}
	*ret = found;
	if (found)
		return 0;
	return is_there
		? error_set(error, -ENODEV,
			  "--vfs: %s cannot have virtual functions now (no sriov_totalvfs above 0): "
			  "SR-IOV may be off in the firmware, or an option of the driver allows none (xe.max_vfs=, "
			  "i915.max_vfs=)",
			  device)
		: error_set(
			  error, -ENODEV, "--vfs: no device at %s (see `gpu-ferry list`)", device);
}

static int read_wish(
	const char *wish, char *device, size_t size, unsigned int *ret_count, struct error *error)
{
	const char *sign = strchr(wish, '=');
	auto_free char *name = sign ? strndup(wish, (size_t)(sign - wish)) : NULL;
	unsigned long long count;

	if (!name || pci_device_parse(name, device, size) < 0 ||
		parse_unsigned(sign + 1, 10, VFS_MAX, &count) < 0)
		return error_set(error, USAGE,
			"--vfs is DEVICE=NUMBER, such as 2b:00=4; 0 takes it back; not '%s'", wish);
	*ret_count = (unsigned int)count;
	return 0;
}

int vfs_rules_change(const struct context *context, const struct pci_functions *host,
	const char *wish, const char *rules, char **ret_rules,
	const struct pci_function **ret_function, struct error *error)
{
	char device[PCI_ADDRESS_SIZE];
	const struct pci_function *function = NULL;
	unsigned int count = 0, total;
	int r = read_wish(wish, device, sizeof(device), &count, error);

	if (r == 0)
		r = find_function(context, host, device, rules, &function, error);
	if (r < 0 || !function)
		return r;
	*ret_function = function;
	total = vfs_read_total(context, function->address);
	if (count > total)
		return error_set(error, -ERANGE, "--vfs: %s can have %u virtual functions, not %u",
			function->address, total, count);
	if (count && vfs_driver_fault(context, function))
		return error_set(error, -EOPNOTSUPP, "--vfs: %s: %s", function->address,
			vfs_driver_fault(context, function));
	return format(rules, function, count, ret_rules, error);
}
