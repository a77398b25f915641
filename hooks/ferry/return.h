/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/loan/loan.h"

/* Returning devices needs only the loan: neither the settings nor the VM's config nor /etc/pve is
 * read. */

/* Returns what the loan of @owner has. Waits, with a limit, until no VFIO user has one of its
 * groups open, then undoes its steps in reverse order. What could not be undone is owed, and stays
 * in the loan. 0 when all is returned (also when there is no loan), -EBUSY when a user or another
 * process kept it, or the first error. */
int return_loan(struct context *context, const struct loan_owner *owner, struct error *error);

/* The same for a loan that was found due, by a process that is not its owner's hook. Looks again
 * under the lock, because the VM may have started again meanwhile; then it changes nothing and
 * returns 0. */
int return_if_due(struct context *context, const struct loan_owner *owner, struct error *error);

/* Returns every loan of a VM that is gone, and what is owed by hand. Skips loans that another
 * process works on. 0, or the first error. *@ret_count is the number of loans that were due. */
int return_gone(struct context *context, const struct loan_owner *except, unsigned int *ret_count,
	struct error *error);

/* Undoes the steps of a loan's devices, for example of a handover that failed. Then removes the
 * loan, or records what is still owed: devices, or when all are home what made room
 * (make_room_undo). The caller holds its lock. 0 when no device is owed. */
int return_steps(struct context *context, struct loan *loan, struct error *error);
