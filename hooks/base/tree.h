/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include <stddef.h>

/* A tree for people: lines, each as deep as it stands below the one before. */

struct tree {
	struct branch {
		size_t depth; /* 0: a root */
		char *text;
	} * branches;
	size_t count;
};

/* Appends a line, at most one deeper than the last. Returns 0 or -ENOMEM. */
int tree_add(struct tree *tree, size_t depth, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Draws it, with lines where the locale has them; on a terminal, what is too long is cut. 0 or
 * -errno. */
int tree_print(const struct tree *tree, struct error *error);
void tree_done(struct tree *tree);
