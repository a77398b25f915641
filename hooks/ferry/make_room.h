/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/plan/plan.h"

/* Makes room on a card that is in use: stops what `make_room` in the settings names, when it uses
 * the card. The steps are recorded in the loan before all others, so that they are undone last. No
 * process is ever sent a signal. */

/* Does the VM make room? Only one whose QEMU runs can be shut down. */
bool make_room_of_vm(const struct root *root, const struct settings *settings, unsigned int vmid);

/* Plans how to stop the plan's holders. When all of them may be stopped, adds the steps for it at
 * the beginning of the plan. Otherwise adds one blocker, which names those that may not be stopped,
 * and nothing will be stopped. 0 or -ENOMEM. */
int make_room_plan(const struct settings *settings, struct plan *plan);

/* True when the plan begins with steps that stop holders. */
bool make_room_is_needed(const struct plan *plan);

/* Records the plan's `stop-` steps in the owner's loan, which may be new, and runs them. The caller
 * holds the loan's lock, but no group's lock. After a failure the caller calls make_room_undo. */
int make_room_run(struct context *context, const struct loan_owner *owner,
	const struct settings *settings, const struct plan *plan, struct error *error);

/* Starts again what made room, when the loan has no devices any more; then removes the loan. Steps
 * that fail are owed, and stay in it; those whose card another VM has by now go to that VM's loan,
 * and those whose card another start wants stay for the watch. The caller holds the loan's lock,
 * but no group's lock. 0, also when there is nothing to do, or the first error. */
int make_room_undo(struct context *context, const struct loan_owner *owner, struct error *error);

/* Moves the stop steps to the beginning. In a loan that took cards over from a gone VM they may
 * come after the steps of its functions. */
void make_room_sort(struct steps *steps);

/* Sleeps until one of the holders has ended, or for a short time: a holder may also close the
 * device and go on. */
void make_room_wait(const struct holders *holders);
