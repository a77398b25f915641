/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads a function's memory windows. */

#include "pci_resource.h"

#include "kmod-helper/base/parse.h"
#include "pci.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* include/linux/ioport.h */
#define RESOURCE_MEMORY 0x200u
#define RESOURCE_UNSET 0x20000000u
#define RESOURCE_ROM_SHADOW 0x2u

#define ROM_LINE PCI_BARS

/* "0x00000000fd000000": takes the number and the one character after it. */
static int take_hex(const char **text, uint64_t *ret)
{
	char digits[17] = "";
	unsigned long long value;
	size_t length;

	if (strncmp(*text, "0x", 2) != 0)
		return -EINVAL;
	length = strspn(*text + 2, "0123456789abcdef");
	if (length >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, *text + 2, length);
	if (parse_unsigned(digits, 16, UINT64_MAX, &value) < 0)
		return -EINVAL;
	*text += 2 + length;
	if (**text)
		(*text)++;
	*ret = value;
	return 0;
}

static int take_line(const char **text, struct pci_window *window, uint64_t *ret_flags)
{
	uint64_t start, end, flags;

	if (take_hex(text, &start) < 0 || take_hex(text, &end) < 0 || take_hex(text, &flags) < 0)
		return -EINVAL;
	*window = (struct pci_window){
		.start = start,
		.size = flags && end > start ? end - start + 1 : 0,
		.memory = flags & RESOURCE_MEMORY,
		.unset = flags & RESOURCE_UNSET,
	};
	*ret_flags = flags;
	return 0;
}

int pci_resources_parse(const char *text, struct pci_resources *ret)
{
	struct pci_resources resources = {0};
	uint64_t flags = 0;

	for (size_t i = 0; i <= ROM_LINE; i++) {
		struct pci_window *window = i == ROM_LINE ? &resources.rom : &resources.bars[i];

		if (take_line(&text, window, &flags) < 0)
			return -EINVAL;
	}
	resources.rom_is_shadowed = resources.rom.size && flags & RESOURCE_ROM_SHADOW;
	*ret = resources;
	return 0;
}

int pci_resources_read(const struct kernel *kernel, const char *address, struct pci_resources *ret)
{
	char path[PCI_PATH_SIZE], text[2048];
	ssize_t length;

	pci_path(address, "resource", path, sizeof(path));
	length = kernel_read(kernel, path, text, sizeof(text));
	return length < 0 ? (int)length : pci_resources_parse(text, ret);
}

void pci_size_format(uint64_t size, char *buffer, size_t buffer_size)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	size_t unit = 0;

	while (unit + 1 < sizeof(units) / sizeof(units[0]) && size >= 1024 && size % 1024 == 0) {
		size /= 1024;
		unit++;
	}
	snprintf(buffer, buffer_size, "%llu %s", (unsigned long long)size, units[unit]);
}
