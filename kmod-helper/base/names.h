/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A list of texts: names, addresses, lines. */

#include <stdbool.h>
#include <stddef.h>

struct names {
	char **names;
	size_t count;
};

/* Appends a copy of @name. 0, or -ENOMEM and @names as it was. */
int names_add(struct names *names, const char *name);

/* The same, unless it is there already. */
int names_add_once(struct names *names, const char *name);

/* True when @name is one of them. */
bool names_have(const struct names *names, const char *name);

/* Sorts them by their bytes. */
void names_sort(struct names *names);

void names_done(struct names *names);
