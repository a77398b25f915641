/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Draws trees. */

#include "tree.h"

#include "kmod-helper/base/list.h"
#include "output.h"
#include "screen.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What stands in front of a line, for each depth three columns and a blank. */
struct strokes {
	const char *branch, *last, *beside;
};

int tree_add(struct tree *tree, size_t depth, const char *format, ...)
{
	struct branch *branch = LIST_ADD(tree->branches, tree->count);
	va_list arguments;

	if (!branch)
		return -ENOMEM;
	*branch = (struct branch){.depth = depth};
	va_start(arguments, format);
	branch->text = output_format(format, arguments);
	va_end(arguments);
	if (branch->text)
		return 0;
	tree->count--;
	return -ENOMEM;
}

/* Does nothing at @depth follow below the same parent? */
static bool is_last(const struct tree *tree, size_t i, size_t depth)
{
	for (i++; i < tree->count && tree->branches[i].depth >= depth; i++) {
		if (tree->branches[i].depth == depth)
			return false;
	}
	return true;
}

int tree_print(const struct tree *tree, struct error *error)
{
	static const struct strokes lines = {"├─ ", "└─ ", "│  "}, ascii = {"|- ", "`- ", "|  "};
	const struct strokes *strokes = screen_is_utf8() ? &lines : &ascii;
	int screen = screen_columns();

	for (size_t i = 0; i < tree->count; i++) {
		const struct branch *branch = &tree->branches[i];
		int left = screen - 3 * (int)branch->depth;

		for (size_t depth = 1; depth < branch->depth; depth++)
			fputs(is_last(tree, i, depth) ? "   " : strokes->beside, stdout);
		if (branch->depth)
			fputs(is_last(tree, i, branch->depth) ? strokes->last : strokes->branch,
				stdout);
		screen_print(branch->text, screen && left > 1 ? left : 0);
		putchar('\n');
	}
	return output_flush(error);
}

void tree_done(struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		free(tree->branches[i].text);
	free(tree->branches);
	*tree = (struct tree){0};
}
