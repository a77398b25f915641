// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for nvidia.ko. It takes no device by itself, only through driver_override or new_id.
 * /dev/nvidia0… (195:0…), /dev/nvidiactl (195:255), /proc/driver/nvidia/gpus/ADDRESS/information.
 * An open file and a mapping of /dev/nvidiaN are uses of card N; remove() waits for the last, deaf
 * to signals. Parameters:
 *   version    what /sys/module/nvidia/version says
 *   never      remove() does not return at all, whoever lets go, until this is set to 0
 *   need_card  without any card at hand the module does not load, as the real one
 */
#include "nvidia.h"
#include <linux/cdev.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#define CARD_COUNT 8

static char version[32] = "580.105.08";
module_param_string(version, version, sizeof(version), 0444);

static bool never;
module_param(never, bool, 0644);

static bool need_card;
module_param(need_card, bool, 0444);

struct card {
	struct pci_dev *device;
	struct proc_dir_entry *folder;
	atomic_t uses;
	bool leaving;
};

static struct card cards[CARD_COUNT];
static const struct nvidia_listener *listening;
/* Which cards there are, and who listens; never held while remove() waits. */
static DEFINE_MUTEX(lock);
static struct proc_dir_entry *gpus;
static struct page *page;
static struct cdev nodes;

static struct class node_class = {.name = "nvidia-test"};

static bool is_card(unsigned int minor)
{
	return minor < CARD_COUNT && cards[minor].device;
}

static int node_open(struct inode *inode, struct file *file)
{
	unsigned int minor = iminor(inode);
	int error = 0;

	if (minor == NVIDIA_MINOR_CONTROL)
		return 0;
	mutex_lock(&lock);
	if (!is_card(minor) || cards[minor].leaving)
		error = -ENODEV;
	else
		atomic_inc(&cards[minor].uses);
	mutex_unlock(&lock);
	return error;
}

static int node_release(struct inode *inode, struct file *file)
{
	if (iminor(inode) != NVIDIA_MINOR_CONTROL)
		atomic_dec(&cards[iminor(inode)].uses);
	return 0;
}

/* The mapping keeps the file, and so the use, after the descriptor is closed. */
static int node_mmap(struct file *file, struct vm_area_struct *area)
{
	return vm_insert_page(area, area->vm_start, page);
}

static const struct file_operations node_operations = {
	.owner = THIS_MODULE,
	.open = node_open,
	.release = node_release,
	.mmap = node_mmap,
};

void nvidia_card_use(int minor, int change)
{
	atomic_add(change, &cards[minor].uses);
}
EXPORT_SYMBOL_GPL(nvidia_card_use);

struct device *nvidia_card_device(int minor)
{
	return &cards[minor].device->dev;
}
EXPORT_SYMBOL_GPL(nvidia_card_device);

void nvidia_listen(const struct nvidia_listener *listener)
{
	int minor;

	mutex_lock(&lock);
	listening = listener;
	for (minor = 0; listener && minor < CARD_COUNT; minor++) {
		if (is_card(minor))
			listener->arrived(minor);
	}
	mutex_unlock(&lock);
}
EXPORT_SYMBOL_GPL(nvidia_listen);

static int show_information(struct seq_file *file, void *data)
{
	struct card *card = file->private;

	seq_puts(file, "Model: \t\t NVIDIA Test Card\n");
	seq_puts(file, "Bus Type: \t PCIe\n");
	seq_printf(file, "Bus Location: \t %s\n", pci_name(card->device));
	seq_printf(file, "Device Minor: \t %d\n", (int)(card - cards));
	return 0;
}

static int card_probe(struct pci_dev *device, const struct pci_device_id *id)
{
	int minor = 0;

	mutex_lock(&lock);
	while (is_card(minor))
		minor++;
	if (minor < CARD_COUNT) {
		cards[minor].device = device;
		cards[minor].leaving = false;
		pci_set_drvdata(device, &cards[minor]);
		cards[minor].folder = proc_mkdir(pci_name(device), gpus);
		proc_create_single_data(
			"information", 0444, cards[minor].folder, show_information, &cards[minor]);
		device_create(
			&node_class, NULL, MKDEV(NVIDIA_MAJOR, minor), NULL, "nvidia%d", minor);
		if (listening)
			listening->arrived(minor);
	}
	mutex_unlock(&lock);
	return minor < CARD_COUNT ? 0 : -ENOSPC;
}

static void card_remove(struct pci_dev *device)
{
	struct card *card = pci_get_drvdata(device);
	int minor = card - cards;

	mutex_lock(&lock);
	card->leaving = true;
	if (listening)
		listening->leaving(minor);
	mutex_unlock(&lock);
	if (atomic_read(&card->uses))
		pr_info("NVRM: Attempting to remove device %s with non-zero usage count!\n",
			pci_name(device));
	/* Polling, as the real one does: the hung task detector stays silent. */
	while (atomic_read(&card->uses) || never)
		msleep(20);
	device_destroy(&node_class, MKDEV(NVIDIA_MAJOR, minor));
	mutex_lock(&lock);
	proc_remove(card->folder);
	card->device = NULL;
	mutex_unlock(&lock);
}

static const struct pci_device_id card_ids[] = {{}};

static struct pci_driver card_driver = {
	.name = "nvidia",
	.id_table = card_ids,
	.probe = card_probe,
	.remove = card_remove,
};

static ssize_t show_version(SHOWN_ATTRIBUTE *attribute, struct module_kobject *module, char *text)
{
	return sysfs_emit(text, "%s\n", version);
}

/* MODULE_VERSION() would settle it when the module is built. */
static struct module_attribute version_file = {
	.attr = {.name = "version", .mode = 0444},
	.show = show_version,
};

static bool has_cards(void)
{
	int minor;

	for (minor = 0; minor < CARD_COUNT; minor++) {
		if (is_card(minor))
			return true;
	}
	return false;
}

static int nodes_add(void)
{
	int error = register_chrdev_region(MKDEV(NVIDIA_MAJOR, 0), NVIDIA_MINOR_MODESET, "nvidia");

	if (error)
		return error;
	error = register_chrdev_region(MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_CONTROL), 1, "nvidiactl");
	if (error) {
		unregister_chrdev_region(MKDEV(NVIDIA_MAJOR, 0), NVIDIA_MINOR_MODESET);
		return error;
	}
	return 0;
}

static void nodes_remove(void)
{
	unregister_chrdev_region(MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_CONTROL), 1);
	unregister_chrdev_region(MKDEV(NVIDIA_MAJOR, 0), NVIDIA_MINOR_MODESET);
}

static struct cdev control;

static int __init family_init(void)
{
	int error = -ENOMEM;

	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	error = nodes_add();
	if (error)
		goto free;
	error = class_register(&node_class);
	if (error)
		goto remove_nodes;
	cdev_init(&nodes, &node_operations);
	nodes.owner = THIS_MODULE;
	cdev_init(&control, &node_operations);
	control.owner = THIS_MODULE;
	error = cdev_add(&nodes, MKDEV(NVIDIA_MAJOR, 0), NVIDIA_MINOR_MODESET);
	if (error)
		goto remove_class;
	error = cdev_add(&control, MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_CONTROL), 1);
	if (error)
		goto remove_cdev;
	proc_mkdir("driver/nvidia", NULL);
	gpus = proc_mkdir("driver/nvidia/gpus", NULL);
	error = pci_register_driver(&card_driver);
	if (error)
		goto remove_control;
	if (need_card && !has_cards()) {
		pr_info("NVRM: No NVIDIA GPU found.\n");
		error = -ENODEV;
		goto unregister;
	}
	device_create(
		&node_class, NULL, MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_CONTROL), NULL, "nvidiactl");
	error = sysfs_create_file(&THIS_MODULE->mkobj.kobj, &version_file.attr);
	if (!error)
		return 0;
	device_destroy(&node_class, MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_CONTROL));
unregister:
	pci_unregister_driver(&card_driver);
remove_control:
	remove_proc_subtree("driver/nvidia", NULL);
	cdev_del(&control);
remove_cdev:
	cdev_del(&nodes);
remove_class:
	class_unregister(&node_class);
remove_nodes:
	nodes_remove();
free:
	__free_page(page);
	return error;
}

static void __exit family_exit(void)
{
	sysfs_remove_file(&THIS_MODULE->mkobj.kobj, &version_file.attr);
	device_destroy(&node_class, MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_CONTROL));
	pci_unregister_driver(&card_driver);
	remove_proc_subtree("driver/nvidia", NULL);
	cdev_del(&control);
	cdev_del(&nodes);
	class_unregister(&node_class);
	nodes_remove();
	__free_page(page);
}

module_init(family_init);
module_exit(family_exit);
MODULE_DESCRIPTION("gpu-ferry test: stands in for nvidia.ko");
MODULE_LICENSE("GPL");
