/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The VMs of this node. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stddef.h>

/* Lists the VMs whose configs this node has (etc/pve/qemu-server), sorted by VMID; the caller frees
 * the list. A missing folder means no VMs. 0, -ENOMEM, -ETIMEDOUT when /etc/pve does not answer, or
 * another -errno of the reading. */
int vm_list_read(
	const struct root *root, unsigned int **ret_vmids, size_t *ret_count, struct error *error);
