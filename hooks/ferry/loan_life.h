/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "hooks/base/context.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/loan/lock.h"

/*
 * The life of a loan among several processes: who may work on it, when it begins, and when its
 * return is due.
 */

/* The deadline for the lock of a loan that another process of ours may be working on. */
#define LOAN_LOCK_MS 10000

/* True while another process is returning the loan, or is about to: its VM had started, its QEMU is
 * gone, and Proxmox, which has the VM locked, calls post-stop next. Such a return ends by itself,
 * or becomes overdue. */
bool loan_life_is_returning(struct context *context, const struct loan *loan);

/* The same without any wait: -EBUSY at once. */
int loan_life_try_lock(struct context *context, const struct loan_owner *owner);

/* Says that a start wants these groups, as long as @ret is held: who returns one of them now starts
 * nothing again that this start would have to stop at once. A group that another start has claimed
 * stays that one's. */
void loan_life_claim(struct context *context, const long *groups, size_t count, struct locks *ret);
bool loan_life_is_claimed(struct context *context, const char *address);

/* Records that the VM's QEMU has come up, for loan_life_is_returning(). 0, also without a loan, or
 * -errno. */
int loan_life_start(struct context *context, const struct loan_owner *owner, struct error *error);

/* Takes the loan's lock. Waits LOAN_LOCK_MS, and longer while another process is returning the loan
 * (a message says so). Returns a descriptor, -EBUSY, -EINTR (stop_requested) or -errno. */
int loan_life_lock(struct context *context, const struct loan_owner *owner, struct error *error);

/* Records a function that Proxmox bound to vfio-pci itself as if we had bound it: it is returned
 * with the rest, and the id that Proxmox added is removed. 0 or -ENOMEM. */
int loan_life_adopt(struct context *context, struct loan *loan, struct loan_function *function);

/* True for a function of a loan that is owed, with nothing left to be undone: it is at home. */
bool loan_life_is_home(
	const struct kernel *kernel, const struct loan *loan, const struct loan_function *function);

/* True when the loan must be returned: nobody uses what it has, and no process works on it. */
bool loan_life_is_due(struct context *context, const struct loan *loan);

/* Returns -EBUSY, and names the VM, while a VM runs or starts with a card that was lent by hand:
 * the VM keeps the card until it ends. Returns 0 also for a VM's own loan. @error may be NULL. */
int loan_life_check_borrowers(
	struct context *context, const struct loan *lent, struct error *error);

/* Waits for the write that a killed hook has left running. 0, or -EBUSY with the reason when it
 * does not end. */
int loan_life_settle(struct context *context, struct loan *loan, struct error *error);

/* Reads the owner's loan and settles it, or makes a new one. Stores the deadlines of @settings in
 * it, because the process that returns it does not read the settings. */
int loan_life_begin(struct context *context, const struct loan_owner *owner,
	const struct settings *settings, struct loan *ret, struct error *error);
