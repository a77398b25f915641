/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/plan/plan.h"

/*
 * Taking functions from the host, for a VM or by hand: the checks that need more than one
 * function's view, and the run with its undoing. What `plan` prints and the hook executes is the
 * same plan.
 */

struct take_request {
	struct loan_owner owner;
	const struct pci_functions *host;
	const struct plan_want *wants;
	size_t want_count;
	const struct settings *settings;
	bool windows; /* for a Windows guest: see windows.h */
};

/*
 * Plans the taking into @plan (which may hold blockers already) and adds blockers: reserved
 * (another VM's loan or reservation), held (who uses the functions now), overdue. Loans of gone VMs
 * block nothing.
 */
int take_plan(struct context *context, const struct take_request *request,
	const struct loans *loans, struct plan *plan, struct error *error);

/*
 * Takes: locks the loan and the groups, looks at the loans anew, plans, and runs the plan, recorded
 * in the owner's loan. Where the settings say so, holders are waited for, or stopped, before that,
 * with no group locked. With a blocker: -EBUSY and its message, nothing changed. On any later
 * failure all that the loan has is returned first, and the first error reported.
 */
int take_run(struct context *context, const struct take_request *request, struct error *error);

/* The blockers as one line: the first one's text, and how many more there are. */
int take_refusal(const struct plan *plan, struct error *error);
