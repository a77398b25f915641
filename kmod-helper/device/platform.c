/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads what processor, firmware and kernel say about the IOMMU. */

#include "platform.h"

#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <string.h>

/* The first processor's paragraph is enough: all processors are the same in what is asked here. */
#define CPUINFO_BYTES 8192

const char *processor_maker_name(enum processor_maker maker)
{
	static const char *const names[] = {"other", "Intel", "AMD"};

	return names[maker];
}

/* "flags\t\t: fpu vme de" gives "fpu vme de" up to its line's end; NULL without such a line. */
static const char *field_find(const char *text, const char *name, size_t *ret_length)
{
	size_t name_length = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *value;

		line += *line == '\n';
		if (strncmp(line, name, name_length) != 0)
			continue;
		value = line + name_length;
		value += strspn(value, " \t");
		if (*value != ':')
			continue;
		value += 1 + strspn(value + 1, " \t");
		*ret_length = strcspn(value, "\n");
		return value;
	}
	return NULL;
}

static bool word_is_in(const char *words, size_t length, const char *word)
{
	size_t word_length = strlen(word);
	const char *end = words + length;

	while (words < end) {
		size_t step = strcspn(words, " \n");

		if (step == word_length && strncmp(words, word, step) == 0)
			return true;
		words += step + 1;
	}
	return false;
}

static enum processor_maker maker_of(const char *vendor, size_t length)
{
	if (!vendor)
		return PROCESSOR_OTHER;
	if (word_is_in(vendor, length, "GenuineIntel"))
		return PROCESSOR_INTEL;
	/* Hygon's are AMD's, IOMMU and firmware tables included */
	if (word_is_in(vendor, length, "AuthenticAMD") ||
		word_is_in(vendor, length, "HygonGenuine"))
		return PROCESSOR_AMD;
	return PROCESSOR_OTHER;
}

void platform_parse_processor(const char *text, struct platform *platform)
{
	size_t vendor_length = 0, flags_length = 0;
	const char *vendor = field_find(text, "vendor_id", &vendor_length);
	const char *flags = field_find(text, "flags", &flags_length);

	platform->maker = maker_of(vendor, vendor_length);
	platform->is_x86 = flags != NULL;
	platform->virtualisation = flags &&
		(word_is_in(flags, flags_length, "vmx") || word_is_in(flags, flags_length, "svm"));
	platform->guest = flags && word_is_in(flags, flags_length, "hypervisor");
}

static void read_processor(const struct kernel *kernel, struct platform *platform)
{
	char text[CPUINFO_BYTES];
	ssize_t length = kernel_read(kernel, "proc/cpuinfo", text, sizeof(text));

	if (length < 0 && length != -EFBIG)
		return;
	platform_parse_processor(text, platform);
}

enum processor_maker processor_maker_read(const struct kernel *kernel)
{
	struct platform platform = {0};

	read_processor(kernel, &platform);
	return platform.maker;
}

/* Everybody may list the folder; only root may read the tables in it. */
static enum iommu_table read_table(const struct kernel *kernel)
{
	cleanup(names_done) struct names names = {0};

	if (kernel_list(kernel, "sys/firmware/acpi/tables", &names) < 0 || names.count == 0)
		return IOMMU_TABLE_UNKNOWN;
	return names_have(&names, "DMAR") || names_have(&names, "IVRS") ? IOMMU_TABLE_PRESENT
									: IOMMU_TABLE_MISSING;
}

static int read_groups(const struct kernel *kernel, size_t *ret, struct error *error)
{
	cleanup(names_done) struct names names = {0};
	int r = kernel_list(kernel, "sys/kernel/iommu_groups", &names);

	if (r < 0 && r != -ENOENT)
		return error_set_errno(
			error, r, "list the IOMMU groups in /sys/kernel/iommu_groups");
	*ret = names.count;
	return 0;
}

static bool read_laptop(const struct kernel *kernel)
{
	/* portable, laptop, notebook, sub notebook, convertible, detachable */
	static const char *const types[] = {"8", "9", "10", "14", "31", "32"};
	char type[8];

	if (kernel_read(kernel, "sys/class/dmi/id/chassis_type", type, sizeof(type)) < 0)
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(type, types[i]) == 0)
			return true;
	}
	return false;
}

int platform_read(const struct kernel *kernel, struct platform *ret, struct error *error)
{
	struct platform platform = {.iommu_table = read_table(kernel)};
	int r = read_groups(kernel, &platform.iommu_groups, error);

	if (r < 0)
		return r;
	read_processor(kernel, &platform);
	platform.laptop = read_laptop(kernel);
	platform.kvm = kernel_has_folder(kernel, "sys/class/misc/kvm");
	if (kernel_read(kernel, "proc/sys/kernel/osrelease", platform.release,
		    sizeof(platform.release)) < 0)
		platform.release[0] = '\0';
	*ret = platform;
	return 0;
}

const char *iommu_table_name(enum processor_maker maker)
{
	switch (maker) {
	case PROCESSOR_AMD:
		return "IVRS";
	case PROCESSOR_INTEL:
		return "DMAR";
	case PROCESSOR_OTHER:
		break;
	}
	return "DMAR or IVRS";
}
