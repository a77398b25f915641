/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/pve/mapping.h"
#include <stddef.h>

#define ROW_FIELDS 4

/* One line of a table in tests/conformance; a field that is missing is "". */
struct row {
	char *fields[ROW_FIELDS];
};

/* Calls @check for each row of tests/conformance/@name; fails when there is none. */
void rows_check(const char *name, void (*check)(const struct row *row));

/* Reads tests/conformance/@name whole; the caller frees it. */
char *conformance_read(const char *name, size_t *ret_length);

/* The names joined by @separator, malloced. */
char *names_join(const struct names *names, const char *separator);

/* The host of the tables: see their headers. */
extern const char *const table_addresses[];
extern const size_t table_address_count;
int table_look_up(void *context, const char *address, struct mapping_device *ret);
