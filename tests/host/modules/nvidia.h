/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Stand-ins for NVIDIA's kernel modules: their names, what they depend on, their nodes and numbers,
 * and their manners. What they do on real hardware is in open-gpu-kernel-modules:
 * kernel-open/nvidia/nv-pci.c, nv_pci_remove_helper(), and kernel-open/nvidia-drm.
 */

#include <linux/module.h>
#include <linux/version.h>

/* What show() of a module's file is given: constant since Linux 6.14. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
#define SHOWN_ATTRIBUTE struct module_attribute
#else
#define SHOWN_ATTRIBUTE const struct module_attribute
#endif

#define NVIDIA_MAJOR 195
#define NVIDIA_MINOR_MODESET 254
#define NVIDIA_MINOR_CONTROL 255

/* What another module of the family wants to be told about cards, by their minor. */
struct nvidia_listener {
	void (*arrived)(int minor);
	void (*leaving)(int minor);
};

/* One listener at a time: nvidia-drm, through nvidia-modeset. It is told of the cards there are. */
void nvidia_listen(const struct nvidia_listener *listener);

/* A use counts as an open file does. */
void nvidia_card_use(int minor, int change);
struct device *nvidia_card_device(int minor);

void nvidia_modeset_listen(const struct nvidia_listener *listener);
void nvidia_modeset_use(int minor, int change);
struct device *nvidia_modeset_device(int minor);
