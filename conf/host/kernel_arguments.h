/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Splits and compares arguments as the kernel does: those of its command line and a module's
 * options. */

#include "kmod-helper/base/file.h"
#include <stdbool.h>

/* Appends the arguments of @text to @ret, with their quotes. Blanks separate arguments, except
 * inside double quotes. Source: lib/cmdline.c, next_arg. Returns 0 or -ENOMEM. */
int kernel_arguments_split(const char *text, struct names *ret);

/* The value if @argument is "NAME=VALUE" with this name, "" if it is just NAME, else NULL. In names
 * - and _ are the same (kernel/params.c, parameqn). */
const char *kernel_argument_value(const char *argument, const char *name);

/* True when @argument gives @wanted. A "NAME=VALUE" may also be one of several values, separated by
 * commas: "intel_iommu=on,sm_on" gives "intel_iommu=on". A @wanted "NAME" is given by any value. */
bool kernel_argument_gives(const char *argument, const char *wanted);

/* The value of the last argument @name, or NULL. It lives as long as @arguments. */
const char *kernel_arguments_get(const struct names *arguments, const char *name);

/* True when an argument of the list gives @wanted (see kernel_argument_gives). */
bool kernel_arguments_give(const struct names *arguments, const char *wanted);
