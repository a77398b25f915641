/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The virtual functions (SR-IOV) that a physical function makes at boot: a udev rule of ours for
 * each. udev writes sriov_numvfs when the function gets its driver, and so again after a loan of
 * the whole function, which removes them. Source: Documentation/ABI/testing/sysfs-bus-pci of Linux,
 * udev(7). */

#include "hooks/base/context.h"
#include "kmod-helper/device/pci.h"

/* How many virtual functions the function can have; 0: none, or not with the driver's parameters of
 * now. */
unsigned int vfs_read_total(const struct context *context, const char *address);

/* How many it has; 0 also when that cannot be read. */
unsigned int vfs_read_count(const struct context *context, const char *address);

/* Why sriov_numvfs does not work with the function's driver, and what does instead; NULL: it works,
 * or its driver is not known. */
const char *vfs_driver_fault(const struct context *context, const struct pci_function *function);

/* The text of our rules file, malloced; NULL where there is none. 0 or the errors of file_read. */
int vfs_rules_read(const struct root *root, char **ret_rules, struct error *error);

/* How many @rules, that text (may be NULL), make for the function: 0 none. */
unsigned int vfs_rules_find(const char *rules, const char *address);

/* Changes one function's rule, as @wish ("2b:00=4") says; 0 takes it out. @rules may be NULL. Sets
 * *@ret_rules, malloced, NULL when no rule is left, and *@ret_function. USAGE for another text,
 * -ENODEV (not there, or no SR-IOV), -ERANGE (more than it can have), -EOPNOTSUPP (its driver does
 * not make them this way), -ENOMEM. */
int vfs_rules_change(const struct context *context, const struct pci_functions *host,
	const char *wish, const char *rules, char **ret_rules,
	const struct pci_function **ret_function, struct error *error);
