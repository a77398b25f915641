/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads files in libconfig's syntax: refuses @include and numbers that libconfig would cut. */

#include "config_text.h"

#include "kmod-helper/base/cleanup.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES (256 * 1024)

/* The most digits that libconfig 1.5 reads correctly: it silently cuts more to 32 bits. */
#define MAX_DIGITS 9

int config_text_read(
	const struct root *root, const char *path, char **ret_text, struct error *error)
{
	struct file_read_options options = {
		.max = MAX_BYTES, .require_owner = true, .refuse_nul = true};

	return file_read(root, path, &options, ret_text, NULL, error);
}

/* The length of a string or comment that begins at @position; 0 when neither begins there. */
static size_t skip_length(const char *position)
{
	const char *end;

	if (*position == '"') {
		end = position + 1 + strcspn(position + 1, "\"\\");
		while (*end == '\\') {
			end += end[1] ? 2 : 1;
			end += strcspn(end, "\"\\");
		}
		return (size_t)(end - position) + (*end == '"');
	}
	if (*position == '#' || strncmp(position, "//", 2) == 0)
		return strcspn(position, "\n");
	if (strncmp(position, "/*", 2) == 0) {
		end = strstr(position + 2, "*/");
		return end ? (size_t)(end - position) + 2 : strlen(position);
	}
	return 0;
}

static size_t word_length(const char *position)
{
	const char *end = position;

	while (isalnum((unsigned char)*end) || (*end && strchr("_*-.+", *end)))
		end++;
	return (size_t)(end - position);
}

static unsigned int line_of(const char *text, const char *position)
{
	unsigned int line = 1;

	for (; text < position; text++)
		line += *text == '\n';
	return line;
}

static bool is_too_long(const char *word, size_t length)
{
	size_t sign = strspn(word, "+-");

	return sign < length && isdigit((unsigned char)word[sign]) && length - sign > MAX_DIGITS;
}

/* Refuses what libconfig would do wrong without a message: read another file, or cut a number. What
 * is left for libconfig goes to @bare, without the comments of a line: its scanner is slow. */
static int scan(const char *text, const char *name, char *bare, struct error *error)
{
	const char *position = text;

	while (*position) {
		size_t length = skip_length(position);
		bool is_comment = *position == '#' || strncmp(position, "//", 2) == 0;

		if (*position == '@')
			return error_set(error, -EINVAL, "%s:%u: '@include' is not supported", name,
				line_of(text, position));
		if (!length) {
			length = word_length(position);
			if (is_too_long(position, length))
				return error_set(error, -EINVAL,
					"%s:%u: the number %.*s is too large", name,
					line_of(text, position), length > 40 ? 40 : (int)length,
					position);
		}
		length = length ? length : 1;
		if (!is_comment)
			bare = mempcpy(bare, position, length);
		position += length;
		if (*position == ' ' || *position == '\t') {
			*bare++ = ' ';
			position += strspn(position, " \t");
		}
	}
	*bare = '\0';
	return 0;
}

int config_text_parse(const char *text, const char *name, config_t *ret, struct error *error)
{
	auto_free char *bare = malloc(strlen(text) + 1);
	int r;

	config_init(ret);
	if (!bare)
		return error_set_errno(error, -ENOMEM, "read %s", name);
	r = scan(text, name, bare, error);
	if (r < 0)
		return r;
	/* scan() has refused every @include; if one slipped through, it would find nothing here */
	config_set_include_dir(ret, "/dev/null");
	if (!config_read_string(ret, bare))
		return error_set(error, -EINVAL, "%s:%d: %s", name, config_error_line(ret),
			config_error_text(ret));
	return 0;
}
