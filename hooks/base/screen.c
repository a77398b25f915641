/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Asks the terminal for its width, and measures texts in its columns. */

#include "screen.h"

#include "kmod-helper/base/parse.h"
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define COLUMNS_DEFAULT 80

int screen_columns(void)
{
	const char *text = getenv("COLUMNS");
	struct winsize size = {0};
	unsigned long long columns;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
	return text && parse_unsigned(text, 10, 10000, &columns) == 0 && columns ? (int)columns
										 : COLUMNS_DEFAULT;
}

bool screen_has_colours(const struct context *context)
{
	return !context->no_color && isatty(STDOUT_FILENO);
}

void screen_paint(bool coloured, const char *colour)
{
	if (coloured)
		fputs(colour ? colour : "\033[0m", stdout);
}

bool screen_is_utf8(void)
{
	setlocale(LC_CTYPE, "");
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* The character at @text, and the columns that it takes; one where the locale does not know. */
static size_t measure(const char *text, size_t left, int *ret_columns)
{
	size_t length = text_character_length(text, left);
	mbstate_t state = {0};
	wchar_t character;
	int columns = 1;

	if (length > 1 && mbrtowc(&character, text, left, &state) == length)
		columns = wcwidth(character);
	*ret_columns = columns < 0 ? 1 : columns;
	return length ? length : 1;
}

static bool is_ascii(const char *text)
{
	while (*text && !((unsigned char)*text & 0x80))
		text++;
	return !*text;
}

/* How many bytes of a text fit, in whole characters. */
static size_t fitting(const char *text, int columns)
{
	size_t length = strlen(text), used = 0;

	if (is_ascii(text))
		return length < (size_t)columns ? length : (size_t)columns;
	setlocale(LC_CTYPE, "");
	while (used < length) {
		int wide;
		size_t bytes = measure(text + used, length - used, &wide);

		if (wide > columns)
			break;
		columns -= wide;
		used += bytes;
	}
	return used;
}

int text_columns(const char *text)
{
	size_t length = strlen(text);
	int columns = 0;

	if (is_ascii(text))
		return (int)length;
	setlocale(LC_CTYPE, "");
	for (size_t used = 0; used < length;) {
		int wide;

		used += measure(text + used, length - used, &wide);
		columns += wide;
	}
	return columns;
}

int screen_print(const char *text, int columns)
{
	int needed = text_columns(text);

	if (!columns || needed <= columns) {
		fputs(text, stdout);
		return needed;
	}
	fwrite(text, 1, fitting(text, columns - 1), stdout);
	fputs(screen_is_utf8() ? "…" : "~", stdout);
	return columns;
}

const char *screen_address(const char *address)
{
	return strncmp(address, "0000:", 5) == 0 && isatty(STDOUT_FILENO) ? address + 5 : address;
}
