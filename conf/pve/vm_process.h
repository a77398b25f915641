/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which process is a VM's QEMU. Source: PVE/QemuServer/Helpers.pm (vm_running_locally,
 * parse_cmdline): a program named kvm or qemu-…, with -pidfile /run/qemu-server/VMID.pid among its
 * arguments. Beyond that the process must be root's, and no container's: a pidfile outlives a QEMU
 * that was killed, and then its number may belong to anybody's process, with any arguments. The
 * other programs of a VM (swtpm, qemu-storage-daemon, virtiofsd) may outlive QEMU and are not it.
 */

#include "kmod-helper/base/file.h"
#include <sys/types.h>

/* The QEMU that the pidfile of VM @vmid names; 0 when there is none. On a captured tree without the
 * process's command line the pidfile is believed, unless the tree has a proc without that process.
 */
pid_t vm_process_of_pidfile(const struct root *root, unsigned int vmid);

/* The same, and without a pidfile the QEMU in qemu.slice/VMID.scope. There it counts until the last
 * of it is gone: a QEMU that was killed has no command line any more, but still has its devices. 0
 * when the VM is not running, -errno when that cannot be known. */
pid_t vm_process_find(const struct root *root, unsigned int vmid);
