/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Helpers for the texts of Proxmox's files: blanks, lines, words. */

#include "text.h"

#include "kmod-helper/base/parse.h"
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

bool text_is_white(char character)
{
	return character && strchr(TEXT_WHITE, character);
}

bool text_is_blank(const char *text)
{
	return text[strspn(text, TEXT_WHITE)] == '\0';
}

static bool escape_read(const char *text, char *ret)
{
	unsigned long long value;
	char digits[3];

	if (text[0] != '%' || !text[1] || !text[2])
		return false;
	digits[0] = text[1];
	digits[1] = text[2];
	digits[2] = '\0';
	if (parse_unsigned(digits, 16, 0xff, &value) < 0)
		return false;
	*ret = (char)value;
	return true;
}

/* Resolves %XX in place. Returns the length, because the text may now hold NULs. */
static size_t unescape(char *text)
{
	char *end = text;

	for (const char *position = text; *position; end++) {
		char byte = *position;

		position += escape_read(position, &byte) ? 3 : 1;
		*end = byte;
	}
	return (size_t)(end - text);
}

/* How many characters of ASCII @text begins with, of which no one is NUL. */
static size_t plain_length(const char *text, size_t size)
{
	size_t length = 0;

	while (length < size && (signed char)text[length] > 0)
		length++;
	return length;
}

void text_decode(char *text, FILE *stream)
{
	size_t left = unescape(text);

	while (left) {
		size_t length = plain_length(text, left);

		if (!length && *text)
			length = text_character_length(text, left);
		if (length)
			fwrite(text, 1, length, stream);
		else
			fputs(REPLACEMENT, stream);
		length = length ? length : 1;
		text += length;
		left -= length;
	}
}
