/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Parses numbers and cleans texts. */

#include "parse.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int digit_value(char character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	if (character >= 'A' && character <= 'F')
		return character - 'A' + 10;
	return INT8_MAX;
}

int parse_leading(
	const char **text, unsigned int base, unsigned long long max, unsigned long long *ret)
{
	unsigned long long value = 0;
	const char *position = *text;

	for (; digit_value(*position) < (int)base; position++) {
		unsigned long long digit = (unsigned long long)digit_value(*position);

		if (digit > max || value > (max - digit) / base)
			return -ERANGE;
		value = value * base + digit;
	}
	if (position == *text)
		return -EINVAL;
	*text = position;
	*ret = value;
	return 0;
}

int parse_unsigned(
	const char *text, unsigned int base, unsigned long long max, unsigned long long *ret)
{
	unsigned long long value;
	const char *end = text;
	int r;

	/* text that is no number gives -EINVAL, even when it is too long */
	for (const char *position = text; *position; position++) {
		if (digit_value(*position) >= (int)base)
			return -EINVAL;
	}
	r = parse_leading(&end, base, max, &value);
	if (r == 0)
		*ret = value;
	return r;
}

int parse_vmid(const char *text, unsigned int *ret_vmid)
{
	size_t length = strlen(text);
	unsigned long long value;

	if (length < 3 || length > 9 || text[0] == '0')
		return -EINVAL;
	if (parse_unsigned(text, 10, VMID_MAX, &value) < 0)
		return -EINVAL;
	*ret_vmid = (unsigned int)value;
	return 0;
}

size_t text_character_length(const char *text, size_t left)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length;

	if (bytes[0] < 0x80)
		return 1;
	if (bytes[0] >= 0xc2 && bytes[0] <= 0xdf)
		length = 2;
	else if (bytes[0] >= 0xe0 && bytes[0] <= 0xef)
		length = 3;
	else if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (length > left)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f) ||
		(bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))
		return 0;
	return length;
}

/* A terminal may take C1 (U+0080 to U+009F) for escape sequences; U+2028 to U+202E and U+2066 to
 * U+2069 break lines or turn the direction of writing, so that a line reads as something else. */
static bool is_harmful(const unsigned char *text, size_t length)
{
	if (length == 1)
		return *text < 0x20 || *text == 0x7f;
	if (length == 2)
		return text[0] == 0xc2 && text[1] < 0xa0;
	return length == 3 && text[0] == 0xe2 &&
		((text[1] == 0x80 && text[2] >= 0xa8 && text[2] <= 0xae) ||
			(text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9));
}

/* Replaces what is harmful, except the characters of @kept. */
static void clean(char *text, const char *kept)
{
	size_t left = strlen(text);

	while (left) {
		size_t length = text_character_length(text, left);
		bool harmful = length == 0 || is_harmful((unsigned char *)text, length);

		length = length ? length : 1;
		if (harmful && !strchr(kept, *text))
			memset(text, '?', length);
		text += length;
		left -= length;
	}
}

void text_make_line(char *text)
{
	clean(text, "");
}

void text_make_lines(char *text)
{
	clean(text, "\t\n");
}

int text_replace(char **field, const char *value)
{
	char *copy = value ? strdup(value) : NULL;

	if (value && !copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

char *text_trim(char *text)
{
	static const char white[] = " \t\n\v\f\r";
	size_t length;

	text += strspn(text, white);
	length = strlen(text);
	while (length && strchr(white, text[length - 1]))
		text[--length] = '\0';
	return text;
}

char *text_last_line(char *text)
{
	char *newline = strrchr(text, '\n');

	return newline ? newline + 1 : text;
}
