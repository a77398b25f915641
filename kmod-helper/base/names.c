/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A list of texts: names, addresses, lines. */

#include "names.h"

#include "cleanup.h"
#include "list.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int names_add(struct names *names, const char *name)
{
	auto_free char *copy = strdup(name);
	char **place = copy ? LIST_ADD(names->names, names->count) : NULL;

	if (!place)
		return -ENOMEM; /* cppcheck-suppress memleak ; auto_free */
	*place = TAKE_PTR(copy);
	return 0;
}

bool names_have(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->names[i], name) == 0)
			return true;
	}
	return false;
}

int names_add_once(struct names *names, const char *name)
{
	return names_have(names, name) ? 0 : names_add(names, name);
}

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

void names_sort(struct names *names)
{
	if (names->count)
		qsort(names->names, names->count, sizeof(*names->names), compare_names);
}

void names_done(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
	*names = (struct names){0};
}
