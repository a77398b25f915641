/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/log.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/operation/operation.h"
#include <signal.h>

/* Runs the steps of a loan in a child, one request at a time over a socket pair, and records the
 * loan before the first step and after each one. Nothing else runs steps. A write into a driver can
 * sleep for ever. Then the child stays behind alone, without the caller's descriptors and locks and
 * in a session of its own, and the loan says so. When the caller dies, the child ends after its
 * current write. */
struct executor {
	const struct kernel *kernel;
	const struct operation *const *tables; /* NULL-terminated list of tables */
	const struct log *log;
	/* Set by a signal handler: finish the current step, then give up. NULL: never. */
	const volatile sig_atomic_t *stop;
	/* executor_apply looks only at this many of the loan's first steps (0: at all), and
	 * executor_undo at those behind them. */
	size_t limit;
};

/* Applies the steps that are not done yet, in order. Returns 0; -EINTR when stopped; -ETIMEDOUT
 * when a write is past its deadline, or not back 3 s after the stop (the loan is LOAN_OVERDUE then
 * and names the child); else the error of the step that failed. Undoes nothing: executor_undo does
 * that. */
int executor_apply(const struct executor *executor, struct loan *loan, struct error *error);

/* Undoes the steps backwards; with @address only the steps of that function. A step that is undone
 * is removed from the loan. After an error the other functions go on, and the remaining steps of
 * the failed one stay in the loan. When the loan cannot be written (a full or read-only /run), one
 * warning says so, and the undo goes on. Returns 0 when nothing is left of what was asked for, else
 * the first error. */
int executor_undo(const struct executor *executor, struct loan *loan, const char *address,
	struct error *error);
