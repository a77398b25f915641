/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Whether a VM is running, starting, or gone. */

#include "kmod-helper/kernel/kernel.h"
#include <stdbool.h>

/* True when a VM is gone: its QEMU is not running (vm_process.h), and no process of root's has its
 * config locked. Proxmox holds that lock from before pre-start until after post-start, sometimes
 * for minutes. The lock's file is readable for everybody, and so anybody can lock it: only root's
 * processes count. */
bool vm_is_gone(const struct kernel *kernel, unsigned int vmid);

/* True while only processes that are not root's have the VM's config locked, so that it does not
 * count; @text says which one: "process 4242 (flock)". Proxmox itself cannot start the VM until
 * that process has ended. */
bool vm_find_stranger(const struct kernel *kernel, unsigned int vmid, char *text, size_t size);
