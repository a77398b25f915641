/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/plan/executor.h"
#include "kmod-helper/plan/plan.h"

/*
 * A Windows guest and the host's display driver, by the setting windows_blacklist. While such a
 * guest has the card no alias may bring that driver back, and it leaves memory where nobody else
 * uses it. Audio and USB functions never count. An operation:
 *
 * blacklist  writes the file @subject (/run/modprobe.d/gpu-ferry-VMID.conf) with a blacklist line
 *            for each module of @argument, and tells udevd; undone by removing it, and telling
 * udevd
 */
extern const struct operation windows_operations[]; /* ends with a NULL name */

/* Adds to the plan of the Windows guest @vmid what the setting asks for. 0 or an error. */
int windows_plan(struct context *context, enum windows_blacklist blacklist, unsigned int vmid,
	struct plan *plan, struct error *error);

/* Undoes what a loan has of it and the plan has not: the guest is no Windows any more, or the loan
 * came over from a gone VM that was. */
int windows_drop(const struct executor *executor, const struct plan *plan, struct loan *loan,
	struct error *error);
