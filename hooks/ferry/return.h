/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/loan/loan.h"

/*
 * The way home: from the loan alone. Neither the settings nor the VM's config nor /etc/pve is read.
 */

/*
 * Gives back what the loan of @owner has: waits, bounded, until no VFIO user has any group of it
 * open, then undoes its steps backwards; what is left is owed, and stays in the loan. 0 when all is
 * home (also when there is no loan), -EBUSY when a user or another process kept it, or the first
 * error.
 */
int return_loan(struct context *context, const struct loan_owner *owner, struct error *error);

/* The same for a loan that is found due, by whoever is not its owner's hook: looked at once more
 * under the lock, for its VM may have started again meanwhile; then 0, and nothing is touched. */
int return_if_due(struct context *context, const struct loan_owner *owner, struct error *error);

/* Gives back every loan whose VM is gone, and what was owed by hand. Loans that another process is
 * working on are left to it. 0, or the first error. @ret_count: how many were looked after. */
int return_gone(struct context *context, const struct loan_owner *except, unsigned int *ret_count,
	struct error *error);

/* Undoes all of a loan that was never used (a handover that failed) and removes or records it.
 * The caller holds its lock. 0 when nothing is owed. */
int return_steps(struct context *context, struct loan *loan, struct error *error);
