/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "screen.h"
#include <stddef.h>

/* A table for people: columns are as wide as needed. On a terminal that is too narrow columns are
 * cut or left out; elsewhere never. */

struct table_column {
	const char *head;
	int cut_to; /* on a terminal it may be cut, to no less than so many columns; 0: never */
	int leave;  /* those with a 1 are left out first, then those with a 2, …; 0: never */
};

struct table_cell {
	char *text;
	const char *colour; /* NULL: none */
};

struct table {
	const struct table_column *columns; /* NULL: a table without heads, which is not cut */
	size_t column_count;
	struct table_cell *cells; /* row by row */
	size_t count;
};

/* Begins a table with the row of its heads. Returns 0 or -ENOMEM. */
int table_init(struct table *table, const struct table_column *columns, size_t column_count);

/* Appends one cell. Returns 0 or -ENOMEM. */
int table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Gives the cell added last a colour. */
void table_paint(struct table *table, const char *colour);

/* True when there is a row below the heads. */
bool table_has_rows(const struct table *table);

/* 0 or -errno. */
int table_print(const struct table *table, const struct context *context, struct error *error);
void table_done(struct table *table);
