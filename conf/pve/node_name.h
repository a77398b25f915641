/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The name that this node has in the cluster. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

#define NODE_NAME_SIZE 256

/* As PVE/JSONSchema.pm, pve_verify_node_name. A valid name cannot be ".." and fits into a file
 * name. */
bool node_name_is_valid(const char *name);

/* Finds this node's name, without a domain (PVE/INotify.pm, nodename): the target of etc/pve/local
 * (nodes/NAME); else etc/hostname if @root is a captured tree; else the kernel's name. Returns 0,
 * -EINVAL when that is no node name, -ETIMEDOUT when /etc/pve does not answer, -ENAMETOOLONG. */
int node_name(const struct root *root, char *ret, size_t size, struct error *error);

/* The same without a deadline, for readers that already run under one (cluster.h). */
int node_find(const struct root *root, char *ret, size_t size, struct error *error);
