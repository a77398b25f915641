/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/quirks.h"
#include "conf/settings.h"
#include "drain.h"
#include "hooks/base/context.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/plan/plan.h"

/* Takes functions from the host, for a VM or by hand: the checks that need to see more than one
 * function, and the run with its undo. `plan` prints the same plan that the hook executes. */

struct take_request {
	struct loan_owner owner;
	const struct pci_functions *host;
	const struct plan_want *wants;
	size_t want_count;
	const struct settings *settings;
	const struct quirks *quirks; /* NULL: none are known */
	bool windows;		     /* for a Windows guest: see windows.h */
	struct drain_cards drained;  /* take_run's own */
};

/* Plans the taking. @plan may have blockers already; this adds the blockers reserved (another loan
 * or reservation), held (somebody uses the functions now) and overdue. Loans of gone VMs block
 * nothing. */
int take_plan(struct context *context, const struct take_request *request,
	const struct loans *loans, struct plan *plan, struct error *error);

/* Takes the functions: locks the loan and the groups, reads the loans and scans the host again,
 * makes the plan, records it in the owner's loan, runs it, and reads back that every function is on
 * its target. When the settings say so, it first waits for holders or stops them, with no group
 * locked. With a blocker: -EBUSY and the blocker's message, and
 * nothing is changed. After any later failure all that the loan has is returned first, and then the
 * first error is reported. */
int take_run(struct context *context, const struct take_request *request, struct error *error);

/* Sets @error to one line about the blockers: the first one's text, and how many more there are.
 * Returns -EBUSY. */
int take_refusal(const struct plan *plan, struct error *error);
