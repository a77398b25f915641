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

/* The next line that is not a comment. NULL at the end. */
static char *line_next(struct section_reader *reader)
{
	char *line;

	while ((line = strsep(&reader->rest, "\n"))) {
		reader->line++;
		if (line[strspn(line, TEXT_WHITE)] != '#')
			return line;
	}
	return NULL;
}

/* A section ends at a line that Perl takes as false: an empty one, or "0". White space alone does
 * not end it. */
static bool line_ends(const char *line)
{
	return !line || !line[0] || strcmp(line, "0") == 0;
}

/* ^\s+(\S+)(\s+(.*\S))?\s*$, taken apart in place; *@ret_value is NULL when there is none. */
static bool line_split(char *line, char **ret_key, char **ret_value)
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

/* ^(\S+)\s*$, or with a type ^(\S+):\s*(\S+)\s*$: its colon is the last one of the first word. */
static bool header_split(char *line, bool has_type, const char **ret_type, const char **ret_id)
{
	size_t length = strcspn(line, TEXT_WHITE);
	char *colon = has_type ? memrchr(line, ':', length) : NULL;
	char *id = has_type && colon ? colon + 1 + strspn(colon + 1, TEXT_WHITE) : line;

	if (has_type && (!colon || colon == line))
		return false;
	length = strcspn(id, TEXT_WHITE);
	if (!length || !text_is_blank(id + length))
		return false;
	id[length] = '\0';
	if (colon)
		*colon = '\0';
	*ret_type = has_type ? line : NULL;
	*ret_id = id;
	return true;
}

static int line_read(struct section_reader *reader, const struct section_handler *handler,
	void *context, char *line)
{
	char *key, *value;

	if (line_split(line, &key, &value))
		return handler->set(context, key, value);
	return section_warn(reader, "'%.80s' is ignored: only an empty line ends a section", line);
}

static int section_read(struct section_reader *reader, const struct section_handler *handler,
	void *context, const char *type, const char *id)
{
	bool skip = !handler->is_id(id);
	char *line;
	int r = skip ? section_warn(reader,
			       "the section '%.80s' is ignored: that is not a valid name", id)
		     : handler->begin(context, type, id);

	while (r == 0 && !line_ends(line = line_next(reader))) {
		if (!skip)
			r = line_read(reader, handler, context, line);
	}
	return r < 0 || skip ? r : handler->end(context);
}

int sections_read(
	struct section_reader *reader, const struct section_handler *handler, void *context)
{
	int r = 0;

	while (r == 0 && reader->rest) {
		char *line = line_next(reader);
		const char *type, *id;

		if (line_ends(line))
			continue;
		if (header_split(line, handler->has_type, &type, &id))
			r = section_read(reader, handler, context, type, id);
		else
			r = section_warn(
				reader, "'%.80s' is ignored: it is not in a section", line);
	}
	return r;
}
