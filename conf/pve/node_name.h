/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The name that this node has in the cluster. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

#define NODE_NAME_SIZE 256

/* PVE/JSONSchema.pm, pve_verify_node_name; never a path's "..", nor longer than a file's name. */
bool node_name_is_valid(const char *name);

/* This node's name: what etc/pve/local points to (nodes/NAME), else etc/hostname when @root is no
 * live one, else the kernel's; without its domain (PVE/INotify.pm, nodename). Returns 0, -EINVAL
 * when that is no node name, -ETIMEDOUT when /etc/pve does not answer, -ENAMETOOLONG. */
int node_name(const struct root *root, char *ret, size_t size, struct error *error);

/* The same with no deadline, for readers that have one around them (cluster.h). */
int node_find(const struct root *root, char *ret, size_t size, struct error *error);
