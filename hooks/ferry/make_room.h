/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/plan/plan.h"

/*
 * Making room on a card that is in use: services and containers of the settings are stopped, and
 * their steps recorded in the loan before all others, so that they are the last to be undone. No
 * process is ever sent a signal.
 */

/*
 * For the plan's holders: when all of them may be stopped, the steps that do it, at the plan's
 * beginning; else one blocker that names the others, and nothing is to be stopped. 0 or -ENOMEM.
 */
int make_room_plan(const struct settings *settings, struct plan *plan);

/* True when the plan begins with such steps. */
bool make_room_is_needed(const struct plan *plan);

/*
 * Records the plan's `stop-` steps in the owner's loan, which may be new, and runs them. The caller
 * holds the loan's lock and no group's. When one fails those done are undone, and the loan is as it
 * was.
 */
int make_room_run(struct context *context, const struct loan_owner *owner,
	const struct settings *settings, const struct plan *plan, struct error *error);

/* Undoes that again, where the taking that it was for is refused. What fails stays in the loan. */
int make_room_undo(struct context *context, const struct loan_owner *owner, struct error *error);

/* Moves them to the beginning: from a gone VM's loan they come behind the steps of its functions.
 */
void make_room_sort(struct steps *steps);

/* Sleeps until one of them has ended, or for a moment: a descriptor may be closed as well. */
void make_room_wait(const struct holders *holders);
