// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A PCI driver that takes no device by itself, only through driver_override or new_id,
 * and is slow to let go. It makes /dev/slowdriver-0000:01:00.0 for each device it drives.
 * remove() waits, deaf to signals, by the parameter "mode":
 *   clients  until nobody has the node open, as nvidia's does
 *   flag     until the parameter "release" is set
 *   delay    for "delay_ms"
 *
 * With "pinned" the module counts a user that is no process. While "hold_probe" is set, probe()
 * waits.
 */
#include <linux/delay.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

static char mode[16] = "clients";
module_param_string(mode, mode, sizeof(mode), 0644);
MODULE_PARM_DESC(mode, "what remove() waits for: clients, flag or delay");

static uint delay_ms = 1000;
module_param(delay_ms, uint, 0644);

static bool release;
module_param(release, bool, 0644);

static bool hold_probe;
module_param(hold_probe, bool, 0644);

static bool pinned;

static int pinned_set(const char *value, const struct kernel_param *parameter)
{
	bool before = pinned;
	int error = param_set_bool(value, parameter);

	if (!error && pinned && !before)
		__module_get(THIS_MODULE);
	if (!error && !pinned && before)
		module_put(THIS_MODULE);
	return error;
}

static const struct kernel_param_ops pinned_operations = {
	.set = pinned_set,
	.get = param_get_bool,
};
module_param_cb(pinned, &pinned_operations, &pinned, 0644);

struct slow {
	struct miscdevice node;
	atomic_t clients;
	bool leaving;
};

static int slow_open(struct inode *inode, struct file *file)
{
	/* misc_open() has put our miscdevice there. */
	struct slow *slow = container_of(file->private_data, struct slow, node);

	if (slow->leaving)
		return -ENODEV;
	atomic_inc(&slow->clients);
	file->private_data = slow;
	return 0;
}

static int slow_close(struct inode *inode, struct file *file)
{
	struct slow *slow = file->private_data;

	atomic_dec(&slow->clients);
	return 0;
}

static const struct file_operations slow_operations = {
	.owner = THIS_MODULE,
	.open = slow_open,
	.release = slow_close,
};

static int slow_probe(struct pci_dev *device, const struct pci_device_id *id)
{
	struct slow *slow;
	int error = -ENOMEM;

	while (READ_ONCE(hold_probe))
		msleep(20);
	slow = kzalloc(sizeof(*slow), GFP_KERNEL);
	if (!slow)
		return -ENOMEM;
	slow->node.minor = MISC_DYNAMIC_MINOR;
	slow->node.fops = &slow_operations;
	slow->node.parent = &device->dev;
	slow->node.name = kasprintf(GFP_KERNEL, "slowdriver-%s", pci_name(device));
	if (slow->node.name)
		error = misc_register(&slow->node);
	if (error) {
		kfree(slow->node.name);
		kfree(slow);
		return error;
	}
	pci_set_drvdata(device, slow);
	return 0;
}

static bool slow_may_leave(struct slow *slow)
{
	if (!strncmp(mode, "clients", 7))
		return atomic_read(&slow->clients) == 0;
	if (!strncmp(mode, "flag", 4))
		return release;
	return true;
}

static void slow_remove(struct pci_dev *device)
{
	struct slow *slow = pci_get_drvdata(device);

	slow->leaving = true;
	if (!strncmp(mode, "delay", 5))
		msleep(delay_ms);
	/* Polling, as nvidia's does: the hung task detector stays silent. */
	while (!slow_may_leave(slow))
		msleep(20);
	misc_deregister(&slow->node);
	kfree(slow->node.name);
	kfree(slow);
}

static const struct pci_device_id slow_ids[] = {{}};

static struct pci_driver slow_driver = {
	.name = "slowdriver",
	.id_table = slow_ids,
	.probe = slow_probe,
	.remove = slow_remove,
};
module_pci_driver(slow_driver);

MODULE_DESCRIPTION("gpu-ferry test: a driver that is slow to let go");
MODULE_LICENSE("GPL");
