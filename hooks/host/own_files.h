/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The files that setup writes as its own. */

#define SETUP_GRUB_PATH "etc/default/grub.d/gpu-ferry.cfg"
#define SETUP_MODULES_PATH "etc/modules-load.d/gpu-ferry.conf"
#define SETUP_OPTIONS_PATH "etc/modprobe.d/gpu-ferry.conf"
#define SETUP_BLACKLIST_PATH "etc/modprobe.d/gpu-ferry-blacklist.conf"
#define SETUP_VFS_PATH "etc/udev/rules.d/90-gpu-ferry-vfs.rules"
