/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kernel.h"

/* kernel_ops.devices_in_use of the running kernel: one pass over /proc. It is run at each handover,
 * on hosts with hundreds of processes: what a system call can be spared is spared. 0 or -errno. */
int open_devices_visit(device_visitor visitor, void *data);
