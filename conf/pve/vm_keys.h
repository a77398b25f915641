/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The keys of a VM's config that this program reads, and what Proxmox takes as their value. Of
 * others it has no opinion: each version of Proxmox VE has more of them. Source: PVE/QemuServer.pm
 * ($confdesc, check_type), PVE/QemuServer/{Agent,CPUConfig,CPUFlags,Machine}.pm. */

#include "conf/property.h"
#include "kmod-helper/base/error.h"

struct vm_key;

/* Finds the key @name ("ostype", "hostpci3"); *@ret is NULL for one that is not read here. 0, or
 * -EINVAL for a hostpci that Proxmox does not have: "hostpci16". */
int vm_key_find(const char *name, const struct vm_key **ret);

/* Checks @value, one line, and brings it into the form that Proxmox stores: booleans in
 * their normal form, quotes around plain strings dropped. @value may be changed;
 * *@ret_value points into it or to a constant. Returns 0, -ENOMEM, or -EINVAL where Proxmox drops
 * the line. */
int vm_key_check(
	const struct vm_key *key, char *value, const char **ret_value, struct error *error);

/* The format of `machine`, for its `type`, and of `agent`, for its `enabled`. */
extern const struct property_format machine_format;
extern const struct property_format agent_format;
/* The format of `cpu`. */
extern const struct property_format cpu_format;
