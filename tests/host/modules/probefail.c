// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A PCI driver that takes no device by itself, only through driver_override or new_id,
 * and whose probe() fails as long as the parameter "fail" says so.
 */
#include <linux/module.h>
#include <linux/pci.h>

static bool fail = true;
module_param(fail, bool, 0644);
MODULE_PARM_DESC(fail, "probe() answers EIO (default: yes)");

static int probefail_probe(struct pci_dev *device, const struct pci_device_id *id)
{
	return fail ? -EIO : 0;
}

static void probefail_remove(struct pci_dev *device)
{
}

static const struct pci_device_id probefail_ids[] = {{}};

static struct pci_driver probefail_driver = {
	.name = "probefail",
	.id_table = probefail_ids,
	.probe = probefail_probe,
	.remove = probefail_remove,
};
module_pci_driver(probefail_driver);

MODULE_DESCRIPTION("gpu-ferry test: a driver whose probe fails");
MODULE_LICENSE("GPL");
