/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/loan/step.h"
#include "operation.h"

/*
 * Power and reset of a function: files in its sysfs folder (Documentation/ABI/testing/sysfs-bus-pci
 * and sysfs-devices-power) that say something else while it is lent. Operations, each with a
 * function's address as its subject:
 *
 * keep  remembers that the file @argument said @original; undone by writing that
 * set   writes "FILE=VALUE" (@argument); undone by nothing, for a keep stands before it
 *
 * Two, because of power/control: vfio-pci makes it "auto" when it takes a function and "on" when it
 * lets it go (pm_runtime_allow and _forbid in vfio_pci_core.c), so that it is set after the bind
 * and put back after the host's driver is there again.
 */
extern const struct operation attribute_operations[]; /* ends with a NULL name */

/* What somebody wants a file to say. */
struct attribute_wish {
	const char *address;
	const char *name; /* "power/control", "d3cold_allowed", "reset_method" */
	const char *value;
};

struct attribute_wishes {
	const struct attribute_wish *items;
	size_t count;
	const char *why; /* where they come from: the reason that a plan gives */
};

/* The first wish for a file of @address that is not there; NULL when all are. */
const struct attribute_wish *attribute_find_missing(
	const struct kernel *kernel, const char *address, const struct attribute_wishes *wishes);

/* Appends the steps of @address that come before it leaves its driver: what must be kept, and all
 * that is set but power/control. What @standing (NULL: none) keeps already is kept as it was then.
 * 0 or -ENOMEM. */
int attribute_plan_before(const struct kernel *kernel, const char *address,
	const struct attribute_wishes *wishes, const struct loan *standing, struct steps *steps);

/* Appends the steps that come after it is bound: power/control. 0 or -ENOMEM. */
int attribute_plan_after(
	const char *address, const struct attribute_wishes *wishes, struct steps *steps);
