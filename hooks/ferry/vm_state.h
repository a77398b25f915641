/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Whether a VM is running, starting, or gone. */

#include "kmod-helper/kernel/kernel.h"
#include <stdbool.h>

/* True when a VM is gone: it is not running, and nobody holds its config's lock, which Proxmox
 * holds from before pre-start until after post-start, sometimes for minutes. A VM is running while
 * a live process is its QEMU: the pid in /run/qemu-server/VMID.pid (PVE/QemuServer/Helpers.pm,
 * vm_running_locally), or any process but swtpm in qemu.slice/VMID.scope. */
bool vm_is_gone(const struct kernel *kernel, unsigned int vmid);

/* The pid of its QEMU; 0 when it is not running. */
pid_t vm_pid(const struct kernel *kernel, unsigned int vmid);
