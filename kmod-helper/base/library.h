/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "error.h"
#include <stddef.h>

/*
 * A shared library that is loaded when something of it is needed, and not before. Linked, it would
 * be found, mapped and relocated at every start of every VM, with all that it needs itself (libkmod
 * brings libcrypto), and most runs call none of it. systemd does so with its own. The library's
 * header still declares the functions: `typeof(&function)` keeps their types.
 */

struct library_symbol {
	const char *name;
	void *pointer; /* to the pointer to the function */
};

/* A line of the table: @variable is a pointer of the type of @function. */
#define LIBRARY_SYMBOL(function, variable)                                                         \
	{                                                                                          \
		.name = #function, .pointer = &(variable),                                         \
	}

struct library {
	const char *file;    /* "libkmod.so.2" */
	const char *package; /* Debian's, for the message */
	const struct library_symbol *symbols;
	size_t symbol_count;
};

/* Loads it and fills the pointers; done again it costs next to nothing. It is never unloaded.
 * 0; -ENOENT when it is not installed, -ENOSYS when it lacks a function: the message names the
 * library and the package. */
int library_load(const struct library *library, struct error *error);
