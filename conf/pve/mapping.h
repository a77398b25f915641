/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Resource mappings: /etc/pve/mapping/pci.cfg. Source: PVE/SectionConfig.pm (parse_config),
 * PVE/Mapping/PCI.pm (find_on_current_node, assert_valid) of pve-common 9.2.1 and pve-guest-common
 * 6.0.2.
 */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

#define MAPPING_MAX_BYTES (1024 * 1024)

struct mapping {
	char *name;
	char *mdev; /* "0" or "1"; NULL: not given */
	char *live_migration;
	struct names maps; /* the values of the `map` lines, each a valid one */
};

struct mappings {
	struct mapping *items; /* in the file's order: of one name the last counts */
	size_t count;
	struct names warnings;
};

/* Reads pci.cfg as Proxmox does: only a blank line ends a section; sections and lines that are
 * wrong are left out with a warning. Returns 0 or -ENOMEM. @ret is untouched on failure; free with
 * mappings_done. */
int mappings_parse(const char *text, size_t length, struct mappings *ret, struct error *error);
void mappings_done(struct mappings *mappings);

/* Reads etc/pve/mapping/pci.cfg; a missing file means no mappings. Returns 0, -ENOMEM, -ETIMEDOUT
 * when /etc/pve does not answer, or -EISDIR, -ENXIO, -EFBIG, -EILSEQ or another -errno of the
 * reading. */
int mappings_read(const struct root *root, struct mappings *ret, struct error *error);

/* The mapping @name, NULL when there is none. A later section replaces an earlier one of its name,
 * even when it is worth nothing. */
const struct mapping *mapping_by_name(const struct mappings *mappings, const char *name);

/* After mapping_find() answered -ENOENT: -EREMOTE when other nodes have devices of the mapping, and
 * @error says which; else -ENOENT, with @error as it is. */
int mapping_explain_absence(
	const struct mappings *mappings, const char *name, const char *node, struct error *error);

/* What Proxmox's assert_valid compares: values from sysfs, without "0x". */
struct mapping_device {
	char vendor[8];
	char device[8];
	char subsystem_vendor[8]; /* "": the device has no such file */
	char subsystem_device[8];
	int iommu_group; /* negative: in no group */
	bool mdev;	 /* mdev_supported_types or nvidia is there */
	bool vgpu;	 /* nvidia is there and mdev_supported_types is not */
};

/* Looks up the function @address. Returns 0 or -ENODEV. */
typedef int (*mapping_lookup)(void *context, const char *address, struct mapping_device *ret);

/* Ways to satisfy one hostpci entry: each a list of ids or addresses that go together. */
struct alternatives {
	struct names *lists;
	size_t count;
};

/* Appends an empty list and gives it back, or NULL without memory. */
struct names *alternatives_add(struct alternatives *alternatives);
void alternatives_done(struct alternatives *alternatives);

/*
 * The alternatives (ids as written, in file order) that mapping @name has on @node, each compared
 * with the hardware. @ret is untouched on failure; free with alternatives_done. Returns 0, -ENOMEM
 * or, with Proxmox's text:
 *
 * -ENOENT  no such mapping, or none for this node
 * -ESTALE  the hardware differs from the mapping, or is not there
 */
int mapping_find(const struct mappings *mappings, const char *name, const char *node,
	mapping_lookup lookup, void *context, struct alternatives *ret, struct error *error);
