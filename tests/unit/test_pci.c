/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/pci.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct fake *fake;
static struct kernel kernel;

static void init(void)
{
	fake = fake_new();
	fake_fill(fake);
	kernel = fake_kernel(fake);
}

static void done(void)
{
	fake_free(fake);
}

TestSuite(pci, .init = init, .fini = done);

static struct pci_function scan_one(const char *address)
{
	cleanup(pci_functions_done) struct pci_functions host = {0};
	const struct pci_function *found;

	cr_assert_eq(pci_scan(&kernel, &host, NULL), 0);
	found = pci_find(&host, address);
	cr_assert_not_null(found, "%s", address);
	return found ? *found : (struct pci_function){0};
}

Test(pci, scan_lists_every_function_by_address)
{
	cleanup(pci_functions_done) struct pci_functions host = {0};

	cr_assert_eq(pci_scan(&kernel, &host, NULL), 0);
	cr_expect_eq(host.count, 8u);
	for (size_t i = 1; i < host.count; i++)
		cr_expect_lt(strcmp(host.items[i - 1].address, host.items[i].address), 0);
	cr_expect_null(pci_find(&host, "0000:01:00"));
	cr_expect_null(pci_find(&host, "0000:09:00.0"));
}

static void expect_display(void)
{
	const struct pci_function display = scan_one("0000:01:00.0");

	cr_expect_eq(display.vendor_id, 0x10de);
	cr_expect_eq(display.device_id, 0x2704);
	cr_expect_eq(display.subsystem_vendor_id, 0x1458);
	cr_expect_eq(display.subsystem_device_id, 0x3702);
	cr_expect_eq(display.class_code, 0x0300);
	cr_expect_eq(display.iommu_group, 15);
	cr_expect_str_eq(display.driver, "nouveau");
	cr_expect(display.boot_display);
	cr_expect(pci_is_display(&display));
	cr_expect_not(display.bridge);
}

Test(pci, scan_reads_what_sysfs_says)
{
	fake_function(fake, "0000:01:00.0")->boot_vga = true;
	expect_display();
}

Test(pci, newer_kernels_name_the_boot_display_below_drm)
{
	fake_add_file(fake, "sys/bus/pci/devices/0000:01:00.0/drm/card0/boot_display", "1\n");
	expect_display();
	cr_expect_not(scan_one("0000:02:00.0").boot_display);
}

Test(pci, ids_come_from_their_own_files_where_there_is_no_modalias)
{
	fake_function(fake, "0000:01:00.0")->boot_vga = true;
	fake->no_modalias = true;
	expect_display();
}

Test(pci, a_power_state_is_sysfs_word_for_it)
{
	char state[PCI_POWER_STATE_SIZE];

	strcpy(fake_function(fake, "0000:01:00.0")->power_state, "D3hot");
	pci_read_power_state(&kernel, "0000:01:00.0", state);
	cr_expect_str_eq(state, "D3hot");
	fake_function(fake, "0000:01:00.0")->power_state[0] = '\0';
	pci_read_power_state(&kernel, "0000:01:00.0", state);
	cr_expect_str_eq(state, "");
}

Test(pci, bridges_are_those_with_a_bus_behind_them)
{
	cr_expect(scan_one("0000:00:01.0").bridge);
	cr_expect_not(scan_one("0000:01:00.0").bridge);
}

Test(pci, what_a_function_lacks_is_unknown_and_no_error)
{
	struct fake_function *function = fake_function(fake, "0000:01:00.1");
	struct pci_function scanned;

	function->group = PCI_NO_GROUP;
	function->driver[0] = '\0';
	scanned = scan_one("0000:01:00.1");
	cr_expect_eq(scanned.iommu_group, PCI_NO_GROUP);
	cr_expect_str_eq(scanned.driver, "");
}

Test(pci, scan_wakes_no_card_and_reads_no_override)
{
	/* a driver_override that is read while the driver is stuck hangs on Linux 6.1 */
	fake->linux_6_1 = true;
	fake_function(fake, "0000:01:00.0")->locked = true;
	cr_expect_str_eq(scan_one("0000:01:00.0").driver, "nouveau");
}

Test(pci, a_host_without_pci_has_no_functions, .init = NULL, .fini = NULL)
{
	cleanup(pci_functions_done) struct pci_functions host = {0};
	struct scratch scratch;
	struct kernel captured;

	scratch_init(&scratch);
	cr_assert_eq(kernel_open(scratch.path, &captured, NULL), 0);
	cr_expect_eq(pci_scan(&captured, &host, NULL), 0);
	cr_expect_eq(host.count, 0u);
	kernel_close(&captured);
	scratch_done(&scratch);
}

Test(pci, device_is_read_as_a_person_types_it)
{
	static const struct {
		const char *text, *meaning;
	} cases[] = {
		{"2b:00", "0000:2b:00"},
		{"2B:00.0", "0000:2b:00.0"},
		{"0000:2b:00", "0000:2b:00"},
		{"0000:2b:00.7", "0000:2b:00.7"},
		{"10000:e1:00.0", "10000:e1:00.0"},
		{"", NULL},
		{"2b", NULL},
		{"2b:00.", NULL},
		{"2b:00.00", NULL},
		{"2b:0", NULL},
		{"2g:00.0", NULL},
		{" 2b:00.0", NULL},
		{"2b:00.0 ", NULL},
		{"000:2b:00.0", NULL},
		{"000000000:2b:00.0", NULL},
		{"0000:0000:2b:00.0", NULL},
		{"0000:2b:00.0/../x", NULL},
		{"::", NULL},
		{":", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char device[PCI_ADDRESS_SIZE] = "untouched";
		int r = pci_device_parse(cases[i].text, device, sizeof(device));

		cr_expect_eq(r, cases[i].meaning ? 0 : -EINVAL, "'%s'", cases[i].text);
		cr_expect_str_eq(device, cases[i].meaning ? cases[i].meaning : "untouched", "'%s'",
			cases[i].text);
	}
}

Test(pci, a_card_has_its_functions_and_no_others)
{
	cr_expect(pci_device_has("0000:01:00", "0000:01:00.0"));
	cr_expect(pci_device_has("0000:01:00", "0000:01:00.7"));
	cr_expect_not(pci_device_has("0000:01:00", "0000:01:01.0"));
	cr_expect_not(pci_device_has("0000:01:00", "10000:01:00.0"));
	cr_expect(pci_device_has("0000:01:00.1", "0000:01:00.1"));
	cr_expect_not(pci_device_has("0000:01:00.1", "0000:01:00.0"));
	cr_expect(pci_same_card("0000:01:00.0", "0000:01:00.1"));
	cr_expect_not(pci_same_card("0000:01:00.0", "0000:02:00.0"));
}

Test(pci, an_unset_override_is_empty_though_sysfs_says_null)
{
	char override[PCI_DRIVER_SIZE];

	cr_assert_eq(pci_read_override(&kernel, "0000:01:00.0", override, sizeof(override)), 0);
	cr_expect_str_eq(override, "");
	strcpy(fake_function(fake, "0000:01:00.0")->override, "vfio-pci");
	cr_assert_eq(pci_read_override(&kernel, "0000:01:00.0", override, sizeof(override)), 0);
	cr_expect_str_eq(override, "vfio-pci");
}

Test(pci, config_space_of_all_ones_is_dead)
{
	cr_expect_not(pci_is_dead(&kernel, "0000:01:00.0"));
	fake_function(fake, "0000:01:00.0")->dead = true;
	cr_expect(pci_is_dead(&kernel, "0000:01:00.0"));
	cr_expect_not(pci_is_dead(&kernel, "0000:09:00.0"), "unknown is not dead");
}

/* SR-IOV 3.4.1.1: its vendor and device id read as ones. */
Test(pci, a_virtual_function_is_not_dead)
{
	fake_function(fake, "0000:01:00.0")->hides_ids = true;
	cr_expect_not(pci_is_dead(&kernel, "0000:01:00.0"));
	fake_function(fake, "0000:01:00.0")->dead = true;
	cr_expect(pci_is_dead(&kernel, "0000:01:00.0"));
}

/* Its configuration space is not even read: that would wake it. */
Test(pci, what_sleeps_in_d3cold_is_not_dead)
{
	struct fake_function *function = fake_function(fake, "0000:01:00.0");

	fake_add_power(fake, "0000:01:00.0");
	function->dead = true;
	strcpy(function->power_state, "D3cold");
	strcpy(function->runtime_status, "suspended");
	cr_expect_not(pci_is_dead(&kernel, "0000:01:00.0"));
	/* the kernel's word for what it found gone, and nobody put to sleep */
	strcpy(function->runtime_status, "active");
	cr_expect(pci_is_dead(&kernel, "0000:01:00.0"));
	strcpy(function->power_state, "D3hot");
	strcpy(function->runtime_status, "suspended");
	cr_expect(pci_is_dead(&kernel, "0000:01:00.0"), "it answers in D3hot, or is gone");
}

Test(pci, a_drivers_module_is_found_and_a_built_in_one_has_none)
{
	char module[PCI_DRIVER_SIZE];

	cr_assert_eq(pci_driver_module(&kernel, "xhci_hcd", module, sizeof(module)), 0);
	cr_expect_str_eq(module, "xhci_pci");
	cr_assert_eq(pci_driver_module(&kernel, "pcieport", module, sizeof(module)), 0);
	cr_expect_str_eq(module, "");
	cr_expect_eq(pci_driver_module(&kernel, "vfio-pci", module, sizeof(module)), -ENOENT);
}

Test(pci, vfio_drivers_are_known_by_name)
{
	cr_expect(pci_driver_is_vfio("vfio-pci"));
	cr_expect(pci_driver_is_vfio("mlx5_vfio_pci"));
	cr_expect(pci_driver_is_vfio("nvgrace-gpu-vfio-pci"));
	cr_expect_not(pci_driver_is_vfio("pci-stub"));
	cr_expect_not(pci_driver_is_vfio(""));
}
