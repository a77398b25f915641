// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A framebuffer of the firmware in the memory of the PCI function "address" (its first region), as
 * sysfb registers one at boot: a platform device for the kernel's own simplefb.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_data/simplefb.h>
#include <linux/platform_device.h>

#define NAME "simple-framebuffer"

static char *address = "";
module_param(address, charp, 0444);
MODULE_PARM_DESC(address, "of the PCI function, 0000:01:00.0");

static int __init bootfb_init(void)
{
	struct simplefb_platform_data mode = {
		.width = 640, .height = 480, .stride = 640 * 4, .format = "x8r8g8b8"};
	unsigned int domain, bus, slot, function;
	struct platform_device *device;
	struct resource memory;
	struct pci_dev *card;

	if (sscanf(address, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	card = pci_get_domain_bus_and_slot((int)domain, bus, PCI_DEVFN(slot, function));
	if (!card)
		return -ENODEV;
	if (pci_enable_device(card) < 0) {
		pci_dev_put(card);
		return -EIO;
	}
	memory = (struct resource)DEFINE_RES_MEM(
		pci_resource_start(card, 0), pci_resource_len(card, 0));
	pci_dev_put(card);
	device = platform_device_register_resndata(NULL, NAME, 0, &memory, 1, &mode, sizeof(mode));
	return PTR_ERR_OR_ZERO(device);
}

/* It may have been taken away by the driver of the card, as sysfb's is. */
static void __exit bootfb_exit(void)
{
	struct device *device = bus_find_device_by_name(&platform_bus_type, NULL, NAME ".0");

	if (!device)
		return;
	platform_device_unregister(to_platform_device(device));
	put_device(device);
}

module_init(bootfb_init);
module_exit(bootfb_exit);
MODULE_DESCRIPTION("gpu-ferry test: a framebuffer as the firmware leaves one");
MODULE_LICENSE("GPL");
