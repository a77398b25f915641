/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads the shell assignments of /etc/default/grub and /etc/default/grub.d/NAME.cfg by a strict
 * grammar, without running a shell: NAME=VALUE, with '…', "…", $NAME and ${NAME}. A value that only
 * a shell could work out (a command's output, an assignment inside an `if`) is marked as unknown.
 * Source: POSIX shell command language 2.2, 2.6.2; grub-mkconfig of GRUB 2.06 and 2.12. */

#include "kmod-helper/base/error.h"
#include <stddef.h>

struct grub_variable {
	char *name;
	char *value; /* NULL: only a shell could tell */
	char *path;
	unsigned int line;	 /* of the last assignment, from 1 */
	unsigned int line_count; /* more than 1 when its value continues on the next line */
};

struct grub_defaults {
	struct grub_variable *items;
	size_t count;
	/* Called after each assignment of a known value (may be NULL). Returns 0, or -errno to end
	 * the reading. */
	int (*assigned)(void *context, const struct grub_variable *variable);
	void *context;
};

/* Adds the assignments of @text, a file named @path, to @defaults. Returns 0, -ENOMEM, or what
 * `assigned` returned. */
int grub_defaults_parse(struct grub_defaults *defaults, const char *path, const char *text);
void grub_defaults_done(struct grub_defaults *defaults);

/* NULL when it was never assigned. */
const struct grub_variable *grub_defaults_get(
	const struct grub_defaults *defaults, const char *name);
