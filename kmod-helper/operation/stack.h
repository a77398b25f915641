/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/names.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/step.h"

/* A driver may wait in remove() until modules on top of it are unloaded, as NVIDIA's driver waits
 * for older versions of nvidia_drm. The caller knows which driver does. */

/* The functions that are to leave such a driver. */
struct stack {
	const char *driver;
	const char *version;  /* of its module; "" unknown */
	struct names leaving; /* addresses */
	const char *why;      /* the reason that the plan gives */
	const char *fix;      /* what a person can do about it; NULL: unknown */
};

/* Adds steps that unload the modules on top of the driver's own, and load them again at the return.
 * Call it before the functions' own steps are added. 0, -ENOMEM, or -EBUSY when the driver has
 * another device too, or a module of another family uses these modules: the message says what to
 * do. */
int stack_plan(const struct kernel *kernel, const struct stack *stack, struct steps *steps,
	struct error *error);
