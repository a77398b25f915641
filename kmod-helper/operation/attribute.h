/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/loan/step.h"
#include "operation.h"

/*
 * Power and reset settings of a function: files in its sysfs folder
 * (Documentation/ABI/testing/sysfs-bus-pci and sysfs-devices-power) that get another value while it
 * is lent. Operations, each with a function's address as its subject:
 *
 * keep  remembers that the file @argument held @original; undone by writing that back
 * set   writes "FILE=VALUE" (@argument); needs no undo, because a keep comes before it
 *
 * There are two of them because of power/control: vfio-pci sets it to "auto" when it takes a
 * function and to "on" when it lets it go (pm_runtime_allow and _forbid in vfio_pci_core.c). So it
 * is set after the bind, and put back after the host's driver has the function again.
 */
extern const struct operation attribute_operations[]; /* ends with a NULL name */

/* A value that is wanted in a file. */
struct attribute_wish {
	const char *address;
	const char *name; /* "power/control", "d3cold_allowed", "reset_method" */
	const char *value;
	const char *why; /* where it comes from: the reason that a plan gives */
};

struct attribute_wishes {
	const struct attribute_wish *items;
	size_t count;
};

/* The first wish for a file that @address does not have; NULL when it has all of them. */
const struct attribute_wish *attribute_find_missing(
	const struct kernel *kernel, const char *address, const struct attribute_wishes *wishes);

/* Appends the steps of @address that come before it leaves its driver: a keep for each file that
 * must be put back, and a set for each wish except power/control. If @standing (NULL: none) has a
 * keep already, its value stays. 0 or -ENOMEM. */
int attribute_plan_before(const struct kernel *kernel, const char *address,
	const struct attribute_wishes *wishes, const struct loan *standing, struct steps *steps);

/* Appends the step that comes after @address is bound: power/control. 0 or -ENOMEM. */
int attribute_plan_after(
	const char *address, const struct attribute_wishes *wishes, struct steps *steps);
