/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Takes lines, or words of a line, out of a text and leaves every other byte as it was. */

#include "line_edit.h"

#include "conf/text.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *line_start(const char *text, unsigned int line)
{
	for (; line > 1 && *text; line--) {
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return text;
}

/* A copy of @text without [@from, @to). */
static char *cut(const char *text, const char *from, const char *to)
{
	size_t before = (size_t)(from - text);
	char *copy = malloc(before + strlen(to) + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, before);
	strcpy(copy + before, to);
	return copy;
}

char *line_edit_remove(const char *text, unsigned int first, unsigned int count)
{
	const char *from = line_start(text, first);

	return cut(text, from, line_start(from, count + 1));
}

static int is_boundary(char character, const char *more)
{
	return !character || strchr(" \t\n\r'\"", character) || strchr(more, character);
}

/* To a shell, a blank after a backslash is part of the word. */
static int is_escaped_blank(const char *text, const char *at)
{
	return (*at == ' ' || *at == '\t') && at > text && at[-1] == '\\';
}

static int begins_word(const char *text, const char *at)
{
	return at == text || (is_boundary(at[-1], "=") && !is_escaped_blank(text, at - 1));
}

/* The word between @from and @end, or NULL. */
static const char *word_find(const char *text, const char *from, const char *end, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = from; length && at + length <= end; at++) {
		if (strncmp(at, word, length) == 0 && is_boundary(at[length], "") &&
			begins_word(text, at))
			return at;
	}
	return NULL;
}

int line_edit_remove_word(
	const char *text, unsigned int first, unsigned int count, const char *word, char **ret)
{
	const char *from = line_start(text, first);
	const char *found = word_find(text, from, line_start(from, count + 1), word);
	const char *end;

	if (!found)
		return -ENOENT;
	end = found + strlen(word);
	if (found > from && (found[-1] == ' ' || found[-1] == '\t')) {
		while (found > from && (found[-1] == ' ' || found[-1] == '\t'))
			found--;
	} else {
		end += strspn(end, " \t");
	}
	*ret = cut(text, found, end);
	return *ret ? 0 : -ENOMEM;
}

char *line_edit_append_word(const char *text, const char *word)
{
	size_t length = strcspn(text, "\n");
	size_t used = length;
	char *copy = malloc(strlen(text) + strlen(word) + 2);

	if (!copy)
		return NULL;
	while (used && text_is_white(text[used - 1]))
		used--;
	memcpy(copy, text, used);
	copy[used] = ' ';
	strcpy(copy + used + (used > 0), word);
	strcat(copy, text + length);
	return copy;
}
