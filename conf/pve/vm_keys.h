/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The keys of a VM's config and what Proxmox takes as their value. Source: PVE/QemuServer.pm
 * ($confdesc, check_type), PVE/QemuServer/{Agent,CPUConfig,CPUFlags,Machine}.pm. */

#include "conf/property.h"
#include "kmod-helper/base/error.h"

struct vm_key;

/* The key @name ("ostype", "hostpci3"), or NULL when Proxmox does not know it. */
const struct vm_key *vm_key_find(const char *name);

/* Checks @value, one line, and brings it into the form that Proxmox stores: booleans and whole
 * numbers in their normal form, quotes around plain strings dropped. @value may be changed;
 * *@ret_value points into it or to a constant. Returns 0, -ENOMEM, or -EINVAL where Proxmox drops
 * the line. */
int vm_key_check(
	const struct vm_key *key, char *value, const char **ret_value, struct error *error);

/* The format of `machine`, for its `type`, and of `agent`, for its `enabled`. */
extern const struct property_format machine_format;
extern const struct property_format agent_format;
/* The format of `cpu`. */
extern const struct property_format cpu_format;
