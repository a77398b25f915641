// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for nvidia-uvm.ko: a character device with a major number of its own. As with the real
 * one its nodes, /dev/nvidia-uvm and /dev/nvidia-uvm-tools, are for nvidia-modprobe to make.
 */
#include "nvidia.h"
#include <linux/fs.h>
#include <linux/module.h>

static const struct file_operations node_operations = {
	.owner = THIS_MODULE,
};

static int major;

static int __init uvm_init(void)
{
	/* A symbol of nvidia.ko, so that it is needed. */
	nvidia_card_use(0, 0);
	major = register_chrdev(0, "nvidia-uvm", &node_operations);
	return major < 0 ? major : 0;
}

static void __exit uvm_exit(void)
{
	unregister_chrdev(major, "nvidia-uvm");
}

module_init(uvm_init);
module_exit(uvm_exit);
MODULE_DESCRIPTION("gpu-ferry test: stands in for nvidia-uvm.ko");
MODULE_LICENSE("GPL");
