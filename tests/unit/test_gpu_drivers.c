/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/host/gpu_drivers.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>

static struct scratch scratch;
static struct context context;
static struct gpu_driver_files files;

static void setup(void)
{
	scratch_init(&scratch);
	cr_assert_eq(kernel_open(scratch.path, &context.kernel, NULL), 0);
	scratch_write(&scratch, "lib/modules/6.1.0/modules.dep",
		"updates/dkms/nvidia-current-open.ko:\n"
		"updates/dkms/nvidia-current-open-drm.ko: updates/dkms/nvidia-current-open.ko\n");
	scratch_write(&scratch, "lib/modules/6.12.0/modules.dep",
		"updates/dkms/nvidia-tesla-535.ko:\nkernel/drivers/gpu/drm/nouveau/nouveau.ko.xz:\n");
}

static void teardown(void)
{
	gpu_driver_files_done(&files);
	kernel_close(&context.kernel);
	scratch_done(&scratch);
}

TestSuite(gpu_drivers, .init = setup, .fini = teardown);

static void expect_modules(unsigned int vendor_id, const char *expected)
{
	const struct pci_function function = {
		.address = "0000:01:00.0", .vendor_id = (uint16_t)vendor_id, .class_code = 0x0300};
	cleanup(names_done) struct names found = {0};
	char text[256] = "";

	cr_assert_eq(gpu_driver_modules(&context, &function, &files, &found), 0);
	for (size_t i = 0; i < found.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", found.names[i]);
	cr_expect_str_eq(text, expected);
}

static bool is_installed(const char *module)
{
	return gpu_driver_is_installed(&context.kernel.root, &files, gpu_driver_find(module));
}

#define ALL "nouveau nova_core nvidia nvidia_current_open nvidia_tesla_535 "

/* Each kernel's list is a megabyte, and a host may have many cards. */
Test(gpu_drivers, the_kernels_are_read_once)
{
	expect_modules(PCI_VENDOR_NVIDIA, ALL);
	scratch_write(&scratch, "lib/modules/6.1.0/modules.dep",
		"updates/dkms/nvidia-current.ko:\nkernel/drivers/gpu/drm/nova/nova-core.ko:\n");
	expect_modules(PCI_VENDOR_NVIDIA, ALL);
	cr_expect(is_installed("nvidia"));
	cr_expect(is_installed("nouveau"));
	cr_expect_not(is_installed("nova_core"));
}

Test(gpu_drivers, the_kernels_are_not_read_for_another_maker)
{
	expect_modules(0x1002, "amdgpu radeon ");
	cr_expect_not(files.is_read);
	cr_expect_not(is_installed("amdgpu"));
	cr_expect(files.is_read);
}
