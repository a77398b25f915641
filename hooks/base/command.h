/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What all programs with commands share: options, help, errors, exit codes. */

#include "context.h"
#include <stdbool.h>
#include <stddef.h>

/* One option of a command. The parser, --help, and so the completion, go by this table; a test
 * holds the man page to it. */
struct command_option {
	const char *name;     /* without the dashes; NULL ends a table */
	char letter;	      /* its short form; 0: none */
	const char *argument; /* what its value is called: NAME, or a|b; NULL: it has none */
	const char *help;     /* what it does, and what is done without it */
	size_t offset;	      /* in the command's options: of a bool, or of a const char * */
};

struct command {
	const char *name;
	const char *arguments;		      /* "VMID DEVICE…"; "" none */
	const struct command_option *options; /* NULL: none of its own */
	size_t options_size;
	const char *example;
	bool has_metrics;    /* prints them with --output-format prometheus */
	bool logs_its_error; /* in the journal too: often nobody reads what it prints */
	/* @options: the struct that the table has filled, else zero (NULL without a table). The
	 * arguments come without options and without the command's own name, ended by NULL.
	 * Returns 0, USAGE, or -errno; the message is printed by command_main. */
	int (*run)(struct context *context, const void *options, char **arguments,
		struct error *error);
};

/* The commands of all programs, each in a sentence. */
struct command_summary {
	const char *name; /* NULL ends the list */
	const char *text;
	/* begins a group of this title; NULL: of the group before; COMMAND_HIDDEN: not listed */
	const char *group;
	const char *more; /* lines below the sentence, in the command's own help; NULL: none */
};

#define COMMAND_HIDDEN ""

struct program {
	const struct command *const *commands; /* its own, ended by NULL */
	const struct command_summary *summaries;
	/* Replaces this program with the one that has the other commands; NULL when there is none.
	 * Returns only on failure: -errno. */
	int (*run_other)(char **arguments, struct error *error);
};

/*
 * The whole of main(): `gpu-ferry [OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]`. Prints help and errors,
 * and returns the exit code: 0, 2 when called wrongly, else 1, also when the standard output did
 * not take everything.
 */
int command_main(const struct program *program, int count, char **arguments);
