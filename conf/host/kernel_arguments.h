/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Arguments as the kernel splits them: its command line, and a module's options. */

#include "kmod-helper/base/file.h"
#include <stdbool.h>

/* Appends the arguments of @text to @ret, quotes kept. Blanks separate, double quotes protect them.
 * Source: lib/cmdline.c, next_arg. Returns 0 or -ENOMEM. */
int kernel_arguments_split(const char *text, struct names *ret);

/* The value of "NAME=VALUE" when @argument is that, "" when it is just NAME, else NULL. - and _ are
 * the same (kernel/params.c, parameqn). */
const char *kernel_argument_value(const char *argument, const char *name);

/* True when @argument is @wanted, "NAME=VALUE", or has its value among others, parted by commas:
 * "intel_iommu=on,sm_on" gives "intel_iommu=on"; where @wanted is a "NAME", with any value. */
bool kernel_argument_gives(const char *argument, const char *wanted);

/* The value of the last argument @name, or NULL. It lives as long as @arguments. */
const char *kernel_arguments_get(const struct names *arguments, const char *name);

/* True when one of the list gives @wanted, as kernel_argument_gives has it. */
bool kernel_arguments_give(const struct names *arguments, const char *wanted);
