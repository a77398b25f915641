/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/host/setup_vfs.h"

#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define PHYSICAL "0000:00:02.0"
#define OTHER "0000:41:00.0"
#define DEVICES "sys/bus/pci/devices/"

static struct scratch scratch;
static struct context context;
static struct pci_function functions[2];
static const struct pci_functions host = {.items = functions, .count = 2};

static void setup(void)
{
	scratch_init(&scratch);
	scratch_write(&scratch, DEVICES PHYSICAL "/sriov_totalvfs", "7\n");
	scratch_write(&scratch, DEVICES OTHER "/sriov_totalvfs", "16\n");
	functions[0] = (struct pci_function){
		.address = PHYSICAL, .vendor_id = 0x8086, .device_id = 0xa780, .driver = "xe"};
	functions[1] = (struct pci_function){
		.address = OTHER, .vendor_id = 0x8086, .device_id = 0xe211, .driver = "xe"};
	cr_assert_eq(kernel_open(scratch.path, &context.kernel, NULL), 0);
}

static void teardown(void)
{
	kernel_close(&context.kernel);
	scratch_done(&scratch);
}

TestSuite(setup_vfs, .init = setup, .fini = teardown);

/* The rules after the wish; the caller frees them. */
static char *change(const char *wish, const char *rules)
{
	const struct pci_function *function = NULL;
	struct error error = {0};
	char *after = NULL;

	cr_assert_eq(vfs_rules_change(&context, &host, wish, rules, &after, &function, &error), 0,
		"%s", error.message);
	cr_assert_not_null(function);
	return after;
}

static void expect_refused(const char *wish, int status, const char *message)
{
	const struct pci_function *function = NULL;
	struct error error = {0};
	char *after = NULL;

	cr_expect_eq(vfs_rules_change(&context, &host, wish, NULL, &after, &function, &error),
		status, "%s", error.message);
	cr_expect_not_null(strstr(error.message, message), "%s", error.message);
	cr_expect_null(after);
}

Test(setup_vfs, a_rule_is_for_one_device_at_one_address_and_not_for_vfio)
{
	auto_free char *rules = change("00:02=3", NULL);

	cr_expect_not_null(strstr(rules,
		"\nACTION==\"add|bind\", SUBSYSTEM==\"pci\", KERNEL==\"0000:00:02.0\", "
		"ATTR{vendor}==\"0x8086\", ATTR{device}==\"0xa780\", DRIVER==\"?*\", "
		"DRIVER!=\"vfio-pci\", ATTR{sriov_numvfs}=\"3\"\n"));
	cr_expect_eq(vfs_rules_find(rules, PHYSICAL), 3u);
	cr_expect_eq(vfs_rules_find(rules, OTHER), 0u);
	cr_expect_eq(vfs_rules_find(NULL, PHYSICAL), 0u);
}

Test(setup_vfs, others_rules_stay_and_the_last_one_takes_the_file_with_it)
{
	auto_free char *one = change("00:02.0=3", NULL);
	auto_free char *two = change("41:00=16", one);
	auto_free char *more = change("00:02.0=7", two);
	auto_free char *less = change("00:02.0=0", more);
	auto_free char *none = change("41:00.0=0", less);

	cr_expect_eq(vfs_rules_find(two, PHYSICAL), 3u);
	cr_expect_eq(vfs_rules_find(two, OTHER), 16u);
	cr_expect_eq(vfs_rules_find(more, PHYSICAL), 7u);
	cr_expect_eq(vfs_rules_find(more, OTHER), 16u);
	cr_expect_eq(vfs_rules_find(less, PHYSICAL), 0u);
	cr_expect_eq(vfs_rules_find(less, OTHER), 16u);
	cr_expect_null(none);
}

Test(setup_vfs, more_than_it_can_have_is_refused)
{
	expect_refused("00:02=8", -ERANGE, PHYSICAL " can have 7 virtual functions, not 8");
	expect_refused("00:02", USAGE, "such as 2b:00=4");
	expect_refused("00:02=-1", USAGE, "such as 2b:00=4");
	expect_refused("gpu=1", USAGE, "such as 2b:00=4");
	expect_refused("05:00=1", -ENODEV, "no device at 0000:05:00");
	scratch_write(&scratch, DEVICES PHYSICAL "/sriov_totalvfs", "0\n");
	expect_refused("00:02=1", -ENODEV, "SR-IOV may be off in the firmware");
}

Test(setup_vfs, a_driver_that_makes_none_this_way_is_told)
{
	strcpy(functions[0].driver, "nvidia");
	expect_refused("00:02=1", -EOPNOTSUPP, "pve-nvidia-sriov@ALL.service");
	strcpy(functions[0].driver, "amdgpu");
	expect_refused("00:02=1", -EOPNOTSUPP, "gim");
	strcpy(functions[0].driver, "i915");
	expect_refused("00:02=1", -EOPNOTSUPP, "i915-sriov-dkms");
	scratch_write(&scratch, "sys/module/i915/parameters/max_vfs", "7\n");
	free(change("00:02=1", NULL));
}

Test(setup_vfs, a_rule_can_be_taken_back_when_the_driver_makes_none_any_more)
{
	auto_free char *rules = change("00:02=3", NULL);

	scratch_write(&scratch, DEVICES PHYSICAL "/sriov_totalvfs", "0\n");
	cr_expect_null(change("00:02=0", rules));
}
