/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads a function's memory windows from its `resource` file: lines of start, end and flags
 * (drivers/pci/pci-sysfs.c, resource_show; flags of include/linux/ioport.h). Reading it neither
 * wakes the card nor hangs. */

#define PCI_BARS 6

struct pci_window {
	uint64_t start;
	uint64_t size; /* bytes; 0: not there */
	bool memory;   /* false: I/O ports */
	bool unset;    /* the function asks for it, but no room was found */
};

struct pci_resources {
	struct pci_window bars[PCI_BARS];
	struct pci_window rom;
	/* the ROM is the firmware's copy at 0xc0000, which the firmware has run and maybe changed:
	 * a guest that gets this copy as the card's own ROM may show nothing (arch/x86/pci/fixup.c,
	 * pci_fixup_video) */
	bool rom_is_shadowed;
};

/* 0, -EINVAL when the text has another form, or -errno of the reading. */
int pci_resources_read(const struct kernel *kernel, const char *address, struct pci_resources *ret);
int pci_resources_parse(const char *text, struct pci_resources *ret);

/* "256 MiB" */
void pci_size_format(uint64_t size, char *buffer, size_t buffer_size);
