/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Takes lines, or words of a line, out of a text that a person wrote; every other byte stays. */

/* A malloced copy of @text without the @count lines from line @first on (the first line is 1); NULL
 * without memory. */
char *line_edit_remove(const char *text, unsigned int first, unsigned int count);

/* A copy of @text without @word, which must be in the @count lines from @first on. The blanks
 * before the word go too (those after it, if it is the first of its line or quote). A word ends at
 * blanks, quotes and newlines. It begins after one of these, but not after a blank that a backslash
 * escapes, or after a "=". 0, -ENOENT when the word is not there, or -ENOMEM. *@ret is malloced. */
int line_edit_remove_word(
	const char *text, unsigned int first, unsigned int count, const char *word, char **ret);

/* A copy of @text with a blank and @word added to the end of line 1. NULL without memory. */
char *line_edit_append_word(const char *text, const char *word);
