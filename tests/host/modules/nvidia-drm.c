// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for nvidia-drm.ko: with modeset=1 it uses every card for as long as it is loaded, or,
 * with lets_go=1 as versions from 580.105.08 do, until the card leaves.
 */
#include "nvidia.h"
#include <linux/module.h>

static bool modeset = true;
module_param(modeset, bool, 0400);

static bool fbdev = true;
module_param(fbdev, bool, 0400);

static bool lets_go = true;
module_param(lets_go, bool, 0444);

static unsigned long used;

static void use(int minor)
{
	if (modeset && !test_and_set_bit(minor, &used))
		nvidia_modeset_use(minor, 1);
}

static void release(int minor)
{
	if (test_and_clear_bit(minor, &used))
		nvidia_modeset_use(minor, -1);
}

static void leaving(int minor)
{
	if (lets_go)
		release(minor);
}

static const struct nvidia_listener listener = {
	.arrived = use,
	.leaving = leaving,
};

static int __init drm_init(void)
{
	nvidia_modeset_listen(&listener);
	return 0;
}

static void __exit drm_exit(void)
{
	int minor;

	nvidia_modeset_listen(NULL);
	for (minor = 0; minor < BITS_PER_LONG; minor++)
		release(minor);
}

module_init(drm_init);
module_exit(drm_exit);
MODULE_DESCRIPTION("gpu-ferry test: stands in for nvidia-drm.ko");
MODULE_LICENSE("GPL");
