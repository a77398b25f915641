/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Taking lines, or words of a line, out of a text that a person wrote: all else stays to the byte.
 */

/* @text without the @count lines from line @first (from 1) on, malloced; NULL without memory. */
char *line_edit_remove(const char *text, unsigned int first, unsigned int count);

/* @text without @word in the @count lines from @first on, and without the blanks before it (behind
 * it, when it is the first of its line or quote). A word ends at blanks, quotes and newlines, and
 * begins behind those (but no blank that a backslash escapes) or a "=". 0 or -ENOENT when it is not
 * there, -ENOMEM. *@ret is malloced. */
int line_edit_remove_word(
	const char *text, unsigned int first, unsigned int count, const char *word, char **ret);

/* @text with @word and a blank before it at the end of line 1. NULL without memory. */
char *line_edit_append_word(const char *text, const char *word);
