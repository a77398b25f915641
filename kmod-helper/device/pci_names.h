/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stddef.h>
#include <stdint.h>

/* Names of vendors and devices from pci.ids through libpci, which is loaded on first use; the only
 * user of libpci. No function of libpci that touches a device is called (reading config space wakes
 * a sleeping card). */

struct device_names;

/* A captured tree with a pci.ids of its own gives the names from that. 0 or -ENOMEM. A missing
 * pci.ids or libpci is no error: names are then "Device 10de:2704". libpci's default error callback
 * ends the process, so one of our own is set. */
int device_names_open(const struct root *root, struct device_names **ret, struct error *error);
void device_names_close(struct device_names *names);

/* "NVIDIA Corporation AD103 [GeForce RTX 4080]" into @buffer; always NUL-terminated. */
void device_name(struct device_names *names, uint16_t vendor_id, uint16_t device_id, char *buffer,
	size_t size);

/* The name by which people know a device: "GeForce RTX 4080", without its maker and its chip; the
 * whole name where it has no other. */
void device_name_short(struct device_names *names, uint16_t vendor_id, uint16_t device_id,
	char *buffer, size_t size);
