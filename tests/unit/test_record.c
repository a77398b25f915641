/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Records: what is read from JSON and refused, and what comes of a write without memory. */

#include "conf/host/manifest.h"
#include "hooks/attach/attachment.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/loan.h"
#include "tests/support/allocations.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- without memory */

/* One kind of record, by its text: reads it and writes it down again. */
struct kind {
	const char *name, *text;
	int (*write_again)(const char *text, unsigned long fail, bool all, char **ret, bool *failed,
		struct error *error);
};

/* Only the writing is without memory. */
#define WRITE_AGAIN(type)                                                                          \
	static int write_##type(const char *text, unsigned long fail, bool all, char **ret,        \
		bool *failed, struct error *error)                                                 \
	{                                                                                          \
		cleanup(type##_done) struct type record = {0};                                     \
		int r = type##_parse(text, &record, error);                                        \
                                                                                                   \
		if (r < 0)                                                                         \
			return r;                                                                  \
		allocations_fail(fail, all);                                                       \
		r = type##_format(&record, ret, error);                                            \
		*failed = allocations_work();                                                      \
		return r;                                                                          \
	}

WRITE_AGAIN(loan)
WRITE_AGAIN(attachment)
WRITE_AGAIN(manifest)

static const struct kind kinds[] = {
	{"loan",
		"{\"schema\":1,\"owner\":{\"kind\":\"vm\",\"vmid\":104},\"state\":\"overdue\","
		"\"since\":\"2026-01-02T03:04:05Z\",\"write_deadline_ms\":30000,"
		"\"slow_write_deadline_ms\":240000,\"return_wait_ms\":30000,"
		"\"child\":{\"pid\":7,\"start_time\":8},\"later\":{\"one\":[1.5,null]},"
		"\"functions\":[{\"address\":\"0000:01:00.0\",\"iommu_group\":15,"
		"\"home_driver\":\"nouveau\",\"home_module\":\"nouveau\",\"use\":\"taken\","
		"\"nodes\":\"card0 /dev/dri/card0\",\"later\":\"a\"},"
		"{\"address\":\"0000:01:00.1\",\"iommu_group\":15,"
		"\"home_driver\":\"snd_hda_intel\",\"target\":\"vfio-pci\",\"use\":\"static\"}],"
		"\"steps\":[{\"operation\":\"bind\",\"subject\":\"0000:01:00.0\","
		"\"argument\":\"vfio-pci\",\"original\":\"nouveau\",\"state\":\"stuck\","
		"\"child\":{\"pid\":9,\"start_time\":10}}]}",
		write_loan},
	{"attachment",
		"{\"schema\":1,\"vmid\":104,\"since\":\"2026-01-02T03:04:05Z\",\"later\":true,"
		"\"keys\":[{\"key\":\"cpu\",\"before\":null,\"after\":\"host\"},"
		"{\"key\":\"args\",\"before\":\"-x 'y'\",\"after\":null}],"
		"\"functions\":[{\"address\":\"0000:2b:00.0\",\"vendor_id\":\"10de\","
		"\"device_id\":\"2704\",\"subsystem_vendor_id\":\"1458\","
		"\"subsystem_device_id\":\"40bc\"}]}",
		write_attachment},
	{"manifest",
		"{\"schema\":1,\"edits\":[{\"path\":\"etc/default/grub\",\"mode\":420,"
		"\"original\":\"GRUB_CMDLINE_LINUX_DEFAULT=\\\"quiet\\\"\\n\",\"written\":null,"
		"\"previous\":null},{\"path\":\"etc/modules-load.d/gpu-ferry.conf\",\"mode\":420,"
		"\"original\":null,\"written\":\"vfio\\nvfio-pci\\n\"}],"
		"\"folders\":[\"etc/modules-load.d\",\"etc/modprobe.d\"],\"pending\":3,"
		"\"boot_id\":\"b6c2\"}",
		write_manifest},
};

/* An error, or the text that it would have been with memory. */
static bool is_lost(
	const struct kind *kind, unsigned long fail, bool all, const char *whole, bool *failed)
{
	auto_free char *text = NULL;
	struct error error = {0};
	int r = kind->write_again(kind->text, fail, all, &text, failed, &error);

	if (r < 0)
		return r != -ENOMEM || !error.message[0];
	return strcmp(text, whole) != 0;
}

static void fail_each(const struct kind *kind, bool all)
{
	auto_free char *whole = NULL;
	struct error error = {0};
	unsigned long places = 0, lost = 0;
	bool failed;

	cr_assert_eq(kind->write_again(kind->text, 0, false, &whole, &failed, &error), 0, "%s",
		error.message);
	do {
		places++;
		lost += is_lost(kind, places, all, whole, &failed);
	} while (failed);
	cr_expect_eq(lost, 0u, "%s: %lu of %lu places of a failed allocation%s lose something",
		kind->name, lost, places - 1, all ? " (and all after it)" : "");
	cr_expect_gt(places, 20u, "%s", kind->name);
}

Test(record, a_write_without_memory_is_an_error_and_loses_nothing)
{
	if (!allocations_can_fail())
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		fail_each(&kinds[i], false);
		fail_each(&kinds[i], true);
	}
}
