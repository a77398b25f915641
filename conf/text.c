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

/* The lowest and the highest second byte of a sequence that begins with @first (RFC 3629). */
static void second_byte_range(unsigned char first, unsigned char *ret_low, unsigned char *ret_high)
{
	*ret_low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	*ret_high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
}

static size_t sequence_length(unsigned char first)
{
	if (first < 0x80)
		return first ? 1 : 0;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* The length of the character at @text; 0 when it is not valid. */
static size_t character_length(const char *text, size_t left)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length = sequence_length(bytes[0]);
	unsigned char low, high;

	if (length > left)
		return 0;
	second_byte_range(bytes[0], &low, &high);
	for (size_t i = 1; i < length; i++) {
		if (bytes[i] < low || bytes[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

void text_decode(char *text, FILE *stream)
{
	size_t left = unescape(text);

	while (left) {
		size_t length = character_length(text, left);

		if (length)
			fwrite(text, 1, length, stream);
		else
			fputs(REPLACEMENT, stream);
		length = length ? length : 1;
		text += length;
		left -= length;
	}
}
