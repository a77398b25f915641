// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for nvidia-modeset.ko: /dev/nvidia-modeset (195:254), and nvidia-drm's way to the
 * cards.
 */
#include "nvidia.h"
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>

static const struct file_operations node_operations = {
	.owner = THIS_MODULE,
};

static struct class node_class = {.name = "nvidia-modeset-test"};
static struct cdev node;

void nvidia_modeset_listen(const struct nvidia_listener *listener)
{
	nvidia_listen(listener);
}
EXPORT_SYMBOL_GPL(nvidia_modeset_listen);

void nvidia_modeset_use(int minor, int change)
{
	nvidia_card_use(minor, change);
}
EXPORT_SYMBOL_GPL(nvidia_modeset_use);

struct device *nvidia_modeset_device(int minor)
{
	return nvidia_card_device(minor);
}
EXPORT_SYMBOL_GPL(nvidia_modeset_device);

static int __init modeset_init(void)
{
	dev_t number = MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_MODESET);
	int error = register_chrdev_region(number, 1, "nvidia-modeset");

	if (error)
		return error;
	cdev_init(&node, &node_operations);
	node.owner = THIS_MODULE;
	error = cdev_add(&node, number, 1);
	if (!error)
		error = class_register(&node_class);
	if (error) {
		unregister_chrdev_region(number, 1);
		return error;
	}
	device_create(&node_class, NULL, number, NULL, "nvidia-modeset");
	return 0;
}

static void __exit modeset_exit(void)
{
	dev_t number = MKDEV(NVIDIA_MAJOR, NVIDIA_MINOR_MODESET);

	device_destroy(&node_class, number);
	class_unregister(&node_class);
	cdev_del(&node);
	unregister_chrdev_region(number, 1);
}

module_init(modeset_init);
module_exit(modeset_exit);
MODULE_DESCRIPTION("gpu-ferry test: stands in for nvidia-modeset.ko");
MODULE_LICENSE("GPL");
