/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/plan/executor.h"

/* All operations that the steps of plans and loans may name: those of kmod-helper, and our own. */

/* The executor for this host's steps. It never stops half-way; a caller that may be stopped sets
 * .stop. */
struct executor operations_executor(const struct context *context);
