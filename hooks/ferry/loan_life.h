/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/loan/loan.h"

/*
 * The life of a loan among several processes: who may work on it, when it begins, and when its
 * return is due.
 */

/* The deadline for the lock of a loan that another process of ours may be working on. */
#define LOAN_LOCK_MS 10000

/* A return by another process is under way: it comes to an end by itself, or becomes overdue. */
bool loan_life_is_returning(struct context *context, const struct loan *loan);

/* The loan's lock: waited for LOAN_LOCK_MS, and as long as the loan is on its way home, which is
 * said then. A descriptor; -EBUSY, -EINTR (stop_requested) or -errno. */
int loan_life_lock(struct context *context, const struct loan_owner *owner, struct error *error);

/* Puts into the loan what Proxmox bound to vfio-pci itself, as if we had: it goes home with the
 * rest, and the id that Proxmox added goes. 0 or -ENOMEM. */
int loan_life_adopt(struct context *context, struct loan *loan, struct loan_function *function);

/* True when nobody uses or works on what the loan has, so that it is to be returned. */
bool loan_life_is_due(struct context *context, const struct loan *loan);

/* A VM that runs, or starts, on a card lent by hand keeps it until it is done: -EBUSY then, and the
 * VM is named. 0 also for a VM's own loan. @error may be NULL. */
int loan_life_check_borrowers(
	struct context *context, const struct loan *lent, struct error *error);

/* Waits for a killed hook's write in hand. 0; -EBUSY with the reason when it does not come back. */
int loan_life_settle(struct context *context, struct loan *loan, struct error *error);

/* The owner's loan as it stands, settled, or a new one; from now on with the deadlines of
 * @settings, which whoever returns it does not read. */
int loan_life_begin(struct context *context, const struct loan_owner *owner,
	const struct settings *settings, struct loan *ret, struct error *error);
