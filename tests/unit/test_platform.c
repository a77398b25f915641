/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/pci_resource.h"
#include "kmod-helper/device/platform.h"
#include "kmod-helper/kernel/module_files.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct scratch scratch;
static struct kernel kernel;
static struct platform platform;

static void setup(void)
{
	scratch_init(&scratch);
	cr_assert_eq(kernel_open(scratch.path, &kernel, NULL), 0);
}

static void teardown(void)
{
	kernel_close(&kernel);
	scratch_done(&scratch);
}

TestSuite(platform, .init = setup, .fini = teardown);

static void look(void)
{
	cr_assert_eq(platform_read(&kernel, &platform, NULL), 0);
}

Test(platform, an_amd_machine_with_everything_on)
{
	scratch_write(&scratch, "proc/cpuinfo",
		"processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu svm npt\n\n"
		"processor\t: 1\n");
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.8.12-4-pve\n");
	scratch_write(&scratch, "sys/firmware/acpi/tables/IVRS", "");
	scratch_write(&scratch, "sys/kernel/iommu_groups/0/type", "DMA\n");
	scratch_write(&scratch, "sys/kernel/iommu_groups/1/type", "DMA\n");
	scratch_write(&scratch, "sys/class/misc/kvm/dev", "10:232\n");
	look();
	cr_expect_eq(platform.maker, PROCESSOR_AMD);
	cr_expect(platform.is_x86 && platform.virtualisation && platform.kvm);
	cr_expect_not(platform.guest);
	cr_expect_eq(platform.iommu_groups, 2);
	cr_expect_eq(platform.iommu_table, IOMMU_TABLE_PRESENT);
	cr_expect_str_eq(platform.release, "6.8.12-4-pve");
}

Test(platform, what_a_tree_lacks_is_unknown_or_false)
{
	look();
	cr_expect_eq(platform.maker, PROCESSOR_OTHER);
	cr_expect_not(platform.is_x86 || platform.virtualisation || platform.kvm);
	cr_expect_eq(platform.iommu_groups, 0);
	cr_expect_eq(platform.iommu_table, IOMMU_TABLE_UNKNOWN);
	cr_expect_str_eq(platform.release, "");
}

Test(platform, a_firmware_without_an_iommu_table_is_told_from_one_that_cannot_be_asked)
{
	scratch_write(&scratch, "sys/firmware/acpi/tables/APIC", "");
	look();
	cr_expect_eq(platform.iommu_table, IOMMU_TABLE_MISSING);
}

/* A flag is a whole word: svm_lock, smx and avmx are none of them. */
Test(platform, flags_are_whole_words)
{
	platform_parse_processor(
		"vendor_id : GenuineIntel\nflags : smx svm_lock avmx vmx_x\n", &platform);
	cr_expect_eq(platform.maker, PROCESSOR_INTEL);
	cr_expect_not(platform.virtualisation);
	platform_parse_processor("vendor_id : GenuineIntel\nflags : hypervisor vmx", &platform);
	cr_expect(platform.virtualisation && platform.guest);
}

/* 64 processors are more than the buffer holds; the first one is enough. */
Test(platform, a_long_cpuinfo_is_read_at_its_beginning)
{
	char text[20000] = "vendor_id\t: AuthenticAMD\nflags\t: svm\n";
	size_t length = strlen(text);

	memset(text + length, 'x', sizeof(text) - length - 1);
	scratch_write(&scratch, "proc/cpuinfo", text);
	look();
	cr_expect(platform.virtualisation);
}

#define NONE "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
#define BAR0 "0x00000000fb000000 0x00000000fbffffff 0x0000000000040200\n"
#define BAR1 "0x0000000800000000 0x0000000bffffffff 0x000000000014220c\n"
#define PORTS "0x000000000000e000 0x000000000000e07f 0x0000000000040101\n"

Test(pci_resource, windows_and_their_sizes)
{
	struct pci_resources resources;
	char text[32];

	cr_assert_eq(pci_resources_parse(BAR0 BAR1 NONE NONE NONE PORTS
			     "0x00000000fc000000 0x00000000fc07ffff 0x0000000000046200\n" NONE,
			     &resources),
		0);
	cr_expect_eq(resources.bars[0].size, 16 << 20);
	cr_expect(resources.bars[0].memory);
	pci_size_format(resources.bars[1].size, text, sizeof(text));
	cr_expect_str_eq(text, "16 GiB");
	cr_expect_eq(resources.bars[2].size, 0);
	cr_expect_not(resources.bars[5].memory);
	pci_size_format(resources.bars[5].size, text, sizeof(text));
	cr_expect_str_eq(text, "128 bytes");
	cr_expect_eq(resources.rom.size, 512 << 10);
	cr_expect_not(resources.rom_is_shadowed);
}

Test(pci_resource, a_shadowed_rom_is_seen)
{
	struct pci_resources resources;

	cr_assert_eq(pci_resources_parse(BAR0 BAR1 NONE NONE NONE PORTS
			     "0x00000000000c0000 0x00000000000dffff 0x0000000000000212\n",
			     &resources),
		0);
	cr_expect(resources.rom_is_shadowed);
}

Test(pci_resource, a_window_without_room_is_seen)
{
	struct pci_resources resources;

	cr_assert_eq(pci_resources_parse(BAR0
			     "0x0000000000000000 0x00000003ffffffff 0x000000002014220c\n" NONE NONE
				     NONE NONE NONE,
			     &resources),
		0);
	cr_expect(resources.bars[1].unset);
	cr_expect_eq(resources.bars[1].size, 1ull << 34);
	cr_expect_not(resources.bars[0].unset);
}

Test(pci_resource, what_is_no_such_text_is_an_error)
{
	static const char *const texts[] = {"", "0x", NONE, "zero\n",
		BAR0 BAR0 BAR0 BAR0 BAR0 BAR0 "0x1 0x2\n",
		"0x00000000000000000 0x0 0x0\n" BAR0 BAR0 BAR0 BAR0 BAR0 BAR0};
	struct pci_resources resources;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_expect_eq(pci_resources_parse(texts[i], &resources), -EINVAL, "%s", texts[i]);
}

TestSuite(module_files, .init = setup, .fini = teardown);

Test(module_files, a_module_is_found_in_either_spelling_and_compressed)
{
	cleanup(module_files_done) struct module_files files = {0};

	scratch_write(&scratch, "lib/modules/6.1.0/modules.dep",
		"kernel/drivers/vfio/pci/vfio-pci.ko.zst: kernel/drivers/vfio/pci/vfio-pci-core.ko\n"
		"updates/dkms/nvidia-current.ko:\n"
		"kernel/drivers/gpu/drm/nouveau/nouveau.ko.xz: kernel/drivers/video/wmi.ko\n");
	scratch_write(&scratch, "lib/modules/6.1.0/modules.builtin",
		"kernel/drivers/video/fbdev/efifb.ko\n");
	cr_assert_eq(module_files_read(&scratch.root, "6.1.0", &files, NULL), 0);
	cr_expect(module_files_have(&files, "vfio_pci"));
	cr_expect(module_files_have(&files, "vfio-pci"));
	cr_expect(module_files_have(&files, "nouveau"));
	cr_expect(module_files_have(&files, "nvidia_current"));
	cr_expect(module_files_have(&files, "efifb"));
	cr_expect_not(module_files_have(&files, "nvidia"));
	cr_expect_not(module_files_have(&files, "vfio"));
	cr_expect_not(module_files_have(&files, "wmi"), "only a dependency is named");
	cr_expect_not(module_files_have(&files, "pci"));
}

Test(module_files, a_driver_is_found_under_a_distributions_name)
{
	static const struct {
		const char *dependencies, *variants;
	} kernels[] = {
		{"updates/dkms/nvidia-current-open.ko.xz: kernel/drivers/i2c/i2c-core.ko\n"
		 "updates/dkms/nvidia-current-open-modeset.ko.xz: updates/dkms/nvidia-current-open.ko.xz\n"
		 "updates/dkms/nvidia-current-open-drm.ko.xz: kernel/drivers/gpu/drm/drm.ko "
		 "updates/dkms/nvidia-current-open-modeset.ko.xz updates/dkms/nvidia-current-open.ko.xz\n",
			"nvidia_current_open"},
		{"updates/dkms/nvidia-tesla-535.ko:\nupdates/dkms/nvidia-current.ko:\n",
			"nvidia_tesla_535 nvidia_current"},
		{"kernel/drivers/platform/x86/nvidia-wmi-ec-backlight.ko:\n"
		 "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko:\n",
			""},
		{"updates/dkms/nvidia.ko:\nupdates/dkms/nvidia-uvm.ko: updates/dkms/nvidia.ko\n",
			""},
		{"updates/dkms/nvidia-\nupdates/dkms/nvidia-x.ko", "nvidia_x"},
	};

	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
		auto_free char *text = strdup(kernels[i].dependencies);
		const struct module_files files = {.dependencies = text};
		cleanup(names_done) struct names variants = {0};
		char found[128] = "";

		cr_expect_eq(module_files_variants(&files, "nvidia", &variants), 0);
		for (size_t k = 0; k < variants.count; k++)
			snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s",
				k ? " " : "", variants.names[k]);
		cr_expect_str_eq(found, kernels[i].variants, "%s", kernels[i].dependencies);
	}
}

Test(module_files, a_release_without_a_folder_is_told)
{
	struct module_files files;

	cr_expect_eq(module_files_read(&scratch.root, "6.1.0", &files, NULL), -ENOENT);
}
