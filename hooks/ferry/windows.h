/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/plan/executor.h"
#include "kmod-helper/plan/plan.h"

/*
 * What the setting windows_blacklist does with the host's display driver for a Windows guest. While
 * such a guest has the card, no alias may load that driver again, and the driver is unloaded when
 * nobody else uses it. Audio and USB functions never count. An operation:
 *
 * blacklist  writes the file @subject (/run/modprobe.d/gpu-ferry-VMID.conf) with a blacklist line
 *            for each module of @argument, and an install line that refuses NVIDIA's, and tells
 *            udevd; its undo removes the file and tells
 *            udevd again
 */
extern const struct operation windows_operations[]; /* ends with a NULL name */

/* Adds to the plan of the Windows guest @vmid what the setting asks for. 0 or an error. */
int windows_plan(struct context *context, enum windows_blacklist blacklist, unsigned int vmid,
	struct plan *plan, struct error *error);

/* Undoes the blacklist of a loan when the plan has none: the guest is not a Windows guest any more,
 * or the loan came over from a gone Windows VM. */
int windows_drop(const struct executor *executor, const struct plan *plan, struct loan *loan,
	struct error *error);
