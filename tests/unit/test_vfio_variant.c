/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/device/pci.h"
#include "kmod-helper/device/vfio_variant.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS "0000:03:00.0"
#define RELEASE "6.17.4-1-pve"
#define ALIASES "lib/modules/" RELEASE "/modules.alias"
#define ANY "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n"
#define MLX5 "alias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci\n"
#define XE "alias vfio_pci:v00008086d0000E20Bsv*sd*bc03sc*i* xe_vfio_pci\n"
#define NVGRACE "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n"
#define XE_CARD "pci:v00008086d0000E20Bsv00008086sd00001100bc03sc00i00\n"

static struct scratch scratch;
static struct kernel kernel;

static void init(void)
{
	scratch_init(&scratch);
	scratch_write(&scratch, "proc/sys/kernel/osrelease", RELEASE "\n");
	scratch_write(&scratch, ALIASES,
		"# Aliases\nalias pci:v00008086d0000E20Bsv*sd*bc*sc*i* xe\n" ANY MLX5 XE NVGRACE);
	scratch_write(&scratch, "sys/bus/pci/devices/" ADDRESS "/modalias", XE_CARD);
	cr_assert_eq(kernel_open(scratch.path, &kernel, NULL), 0);
}

static void done(void)
{
	kernel_close(&kernel);
	scratch_done(&scratch);
}

TestSuite(vfio_variant, .init = init, .fini = done);

static void expect(const char *module, const char *driver)
{
	char found[PCI_DRIVER_SIZE], name[PCI_DRIVER_SIZE];

	vfio_variant_find(&kernel, ADDRESS, found, sizeof(found));
	cr_expect_str_eq(found, module);
	vfio_variant_driver(&kernel, found, name, sizeof(name));
	cr_expect_str_eq(name, driver);
}

static void is_device(const char *modalias)
{
	scratch_write(&scratch, "sys/bus/pci/devices/" ADDRESS "/modalias", modalias);
}

Test(vfio_variant, the_driver_made_for_the_device_is_chosen)
{
	expect("xe_vfio_pci", "xe_vfio_pci");
	is_device("pci:v000015B3d0000101Esv000015B3sd00000001bc02sc00i00\n");
	expect("mlx5_vfio_pci", "mlx5_vfio_pci");
	is_device("pci:v000010DEd00002342sv000010DEsd000016EBbc03sc02i00\n");
	expect("nvgrace_gpu_vfio_pci", "nvgrace_gpu_vfio_pci");
}

Test(vfio_variant, any_other_device_gets_vfio_pci)
{
	is_device("pci:v000010DEd00002704sv00001458sd00003702bc03sc00i00\n");
	expect("vfio_pci", "vfio-pci");
	is_device("pci:v00008086d0000E20Bsv00008086sd00001100bc02sc00i00\n");
	expect("vfio_pci", "vfio-pci");
}

Test(vfio_variant, of_several_the_one_with_the_fewest_wildcards_is_chosen)
{
	static const char wide[] = "alias vfio_pci:v00008086d*sv*sd*bc*sc*i* wide_vfio_pci\n";
	static const char narrow[] =
		"alias vfio_pci:v00008086d0000E20Bsv00008086sd*bc*sc*i* narrow_vfio_pci\n";
	char text[512];

	snprintf(text, sizeof(text), "%s%s" ANY, wide, narrow);
	scratch_write(&scratch, ALIASES, text);
	expect("narrow_vfio_pci", "narrow_vfio_pci");
	snprintf(text, sizeof(text), ANY "%s%s", narrow, wide);
	scratch_write(&scratch, ALIASES, text);
	expect("narrow_vfio_pci", "narrow_vfio_pci");
}

Test(vfio_variant, the_loaded_module_tells_the_drivers_name)
{
	scratch_write(&scratch, "sys/module/xe_vfio_pci/drivers/pci:xe-vfio-pci", "");
	expect("xe_vfio_pci", "xe-vfio-pci");
}

Test(vfio_variant, what_cannot_be_read_means_vfio_pci)
{
	is_device("");
	expect("vfio_pci", "vfio-pci");
	is_device(XE_CARD);
	scratch_write(&scratch, ALIASES, "alias vfio_pci:\nalias vfio_pci:[\nalias\n");
	expect("vfio_pci", "vfio-pci");
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.8.12-4-pve\n");
	expect("vfio_pci", "vfio-pci");
}
