/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the programs with commands have in common: options, help, errors, exit codes. */

#include "context.h"
#include <stddef.h>

struct command {
	const char *name;
	/* NULL: a command of another program. Gets its arguments without options and without its
	 * own name, ended by NULL. 0, USAGE, or -errno. */
	int (*run)(struct context *context, char **arguments, struct error *error);
	const char *usage;
	const char *help; /* NULL: not listed */
};

/* A program: its commands, sorted by name. */
struct program {
	const struct command *commands;
	size_t command_count;
	/* Replaces this program by the one that has the other commands; NULL when there is none.
	 * Returns only on failure: -errno. */
	int (*run_other)(char **arguments, struct error *error);
};

/* The whole of main(): returns the exit code, 0, 1 or 2. */
int command_main(const struct program *program, int count, char **arguments);
