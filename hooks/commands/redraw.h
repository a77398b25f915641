/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"

/* Prints what @draw prints now, and again whenever that has changed, until the person ends it
 * (Ctrl-C). A terminal is cleared for it; elsewhere an empty line comes between. What fails is
 * printed too. Returns 0, -ENOMEM, or -EIO when stdout cannot be written. */
int redraw(struct context *context,
	int (*draw)(struct context *context, const void *data, struct error *error),
	const void *data, struct error *error);
