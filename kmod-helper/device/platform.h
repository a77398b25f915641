/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/kernel/kernel.h"
#include <stdbool.h>
#include <stddef.h>

/* What the machine offers for passing devices through: its processor, the IOMMU table of its
 * firmware, and what the running kernel made of both. Nothing here needs root's rights. */

enum processor_maker {
	PROCESSOR_OTHER,
	PROCESSOR_INTEL,
	PROCESSOR_AMD,
};

enum iommu_table {
	IOMMU_TABLE_UNKNOWN, /* no ACPI tables found (a captured tree, a machine without ACPI) */
	IOMMU_TABLE_MISSING,
	IOMMU_TABLE_PRESENT,
};

struct platform {
	enum processor_maker maker;
	bool is_x86;	     /* /proc/cpuinfo has x86's flags */
	bool virtualisation; /* vmx or svm is among them */
	bool guest;	     /* this host is itself a VM */
	bool laptop;	     /* by its chassis (SMBIOS 3.6, 7.4.1) */
	bool kvm;	     /* KVM serves /dev/kvm: virtualisation works, not just could */
	size_t iommu_groups; /* 0: the IOMMU is off, whatever the settings say */
	enum iommu_table iommu_table; /* ACPI's DMAR (Intel) or IVRS (AMD) */
	char release[96];	      /* of the running kernel, "6.8.12-4-pve"; "" when unknown */
};

/* Reads all of it; what is missing in a tree is unknown or false. 0, -ENOMEM or another -errno of
 * listing. */
int platform_read(const struct kernel *kernel, struct platform *ret, struct error *error);

/* Reads only the maker of the processor; PROCESSOR_OTHER also when it cannot be read. */
enum processor_maker processor_maker_read(const struct kernel *kernel);

/* Fills in the processor's part from the text of /proc/cpuinfo (first processor). Never fails. */
void platform_parse_processor(const char *text, struct platform *platform);

const char *processor_maker_name(enum processor_maker maker);

/* ACPI's table of the maker's IOMMU: "DMAR". */
const char *iommu_table_name(enum processor_maker maker);
