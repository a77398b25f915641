/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/loan/loan.h"

/* The last line of a start's or a return's log. @begin_ms: when it began, by clock_milliseconds. A
 * line for each card: "VM 104 has 0000:2b:00, 4 functions, 1.2 s". */
void story_tell_lent(
	const struct context *context, const struct loan *loan, unsigned long long begin_ms);

/* "0000:2b:00 is home, 4 functions, 0.9 s": for what was taken and is on the bus. */
void story_tell_home(
	const struct context *context, const struct loan *loan, unsigned long long begin_ms);
