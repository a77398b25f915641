/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "context.h"
#include "kmod-helper/loan.h"

/*
 * The way home: from the loan alone. Neither the settings nor the VM's config nor /etc/pve is read.
 */

/* The deadline for the lock of a loan that another process of ours may be working on. */
#define LOAN_LOCK_MS 10000

/* A return by another process is under way: it comes to an end by itself, or becomes overdue. */
bool loan_is_coming_home(struct context *context, const struct loan *loan);

/* The loan's lock: waited for LOAN_LOCK_MS, and as long as the loan is on its way home, which is
 * said then. A descriptor; -EBUSY, -EINTR (stop_requested) or -errno. */
int loan_lock(struct context *context, const struct loan_owner *owner, struct error *error);

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

/* Puts into the loan what Proxmox bound to vfio-pci itself, as if we had: it goes home with the
 * rest, and the id that Proxmox added goes. 0 or -ENOMEM. */
int loan_adopt(struct context *context, struct loan *loan, struct loan_function *function);

/* True when nobody uses or works on what the loan has, so that it is to be returned. */
bool loan_is_due(struct context *context, const struct loan *loan);

/* A VM that runs, or starts, on a card lent by hand keeps it until it is done: -EBUSY then, and the
 * VM is named. 0 also for a VM's own loan. @error may be NULL. */
int loan_check_borrowers(struct context *context, const struct loan *lent, struct error *error);

/* Undoes all of a loan that was never used (a handover that failed) and removes or records it.
 * The caller holds its lock. 0 when nothing is owed. */
int return_steps(struct context *context, struct loan *loan, struct error *error);

/* Waits for a killed hook's write in hand. 0; -EBUSY with the reason when it does not come back. */
int loan_settle(struct context *context, struct loan *loan, struct error *error);

/* The owner's loan as it stands, settled, or a new one; from now on with the deadlines of
 * @settings, which whoever returns it does not read. */
int loan_begin(struct context *context, const struct loan_owner *owner,
	const struct settings *settings, struct loan *ret, struct error *error);
