/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads the lines of Proxmox's section files. */

#include "section_config.h"

#include "conf/text.h"
#include "kmod-helper/base/parse.h"
#include <stdarg.h>
#include <string.h>

int section_warn(struct section_reader *reader, const char *format, ...)
{
	char text[512];
	char line[600];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	snprintf(line, sizeof(line), "%s:%zu: %s", reader->path, reader->line, text);
	return names_add(reader->warnings, line);
}

char *section_line_next(struct section_reader *reader)
{
	char *line;

	while ((line = strsep(&reader->rest, "\n"))) {
		reader->line++;
		if (line[strspn(line, TEXT_WHITE)] != '#')
			return line;
	}
	return NULL;
}

bool section_line_ends(const char *line)
{
	return !line || !line[0] || strcmp(line, "0") == 0;
}

/* ^\s+(\S+)(\s+(.*\S))?\s*$ */
bool section_line_split(char *line, char **ret_key, char **ret_value)
{
	char *key, *value;

	if (!text_is_white(line[0]) || text_is_blank(line))
		return false;
	key = text_trim(line);
	value = key + strcspn(key, TEXT_WHITE);
	if (*value) {
		*value = '\0';
		value = text_trim(value + 1);
	}
	*ret_key = key;
	*ret_value = *value ? value : NULL;
	return true;
}
