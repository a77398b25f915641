/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which devices the processes of this host have open or mapped. */

#include <sys/types.h>

/* Told of a process and a device that it uses. 0 to go on, negative to end it. */
typedef int (*device_visitor)(void *data, pid_t pid, dev_t device);

/* kernel_ops.devices_in_use of the running kernel: one pass over /proc. It is run at each handover,
 * on hosts with hundreds of processes: what a system call can be spared is spared. 0 or -errno. */
int open_devices_visit(device_visitor visitor, void *data);
