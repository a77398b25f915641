/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads the shell assignments of /etc/default/grub without running a shell. */

#include "grub_defaults.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A line that is no assignment matters only when it contains this name. */
#define WATCHED "GRUB_CMDLINE_LINUX"

/* Far more than the kernel takes, which is 2 KiB. */
#define VALUE_MAX 16384

struct reader {
	struct grub_defaults *defaults;
	const char *path;
	const char *start;
	const char *position;
	const char *end;    /* of the statement that is read */
	unsigned int depth; /* nesting of if, for, while, case, { */
};

/* The part of a value that has been read. */
struct value {
	FILE *stream;
	bool unknown;
};

static bool is_name_start(char character)
{
	return isalpha((unsigned char)character) || character == '_';
}

static size_t name_length(const char *text)
{
	size_t length = 0;

	if (!is_name_start(text[0]))
		return 0;
	while (is_name_start(text[length]) || isdigit((unsigned char)text[length]))
		length++;
	return length;
}

static unsigned int line_number(const struct reader *reader, const char *position)
{
	unsigned int line = 1;

	for (const char *at = reader->start; at < position; at++)
		line += *at == '\n';
	return line;
}

static struct grub_variable *variable_find(
	const struct grub_defaults *defaults, const char *name, size_t length)
{
	for (size_t i = 0; i < defaults->count; i++) {
		struct grub_variable *item = &defaults->items[i];

		if (strlen(item->name) == length && strncmp(item->name, name, length) == 0)
			return item;
	}
	return NULL;
}

const struct grub_variable *grub_defaults_get(
	const struct grub_defaults *defaults, const char *name)
{
	return variable_find(defaults, name, strlen(name));
}

static struct grub_variable *variable_add(
	struct grub_defaults *defaults, const char *name, size_t length)
{
	struct grub_variable *found = variable_find(defaults, name, length);
	auto_free char *copy = NULL;

	if (found)
		return found;
	copy = strndup(name, length);
	found = copy ? LIST_ADD(defaults->items, defaults->count) : NULL;
	if (found)
		found->name = TAKE_PTR(copy);
	return found;
}

/* @value NULL: unknown from here on. */
static int variable_set(struct reader *reader, const char *name, size_t length, const char *value)
{
	struct grub_variable *variable = variable_add(reader->defaults, name, length);
	char *copy = value ? strdup(value) : NULL;
	char *path = strdup(reader->path);

	if (!variable || !path || (value && !copy)) {
		free(copy);
		free(path);
		return -ENOMEM;
	}
	free(variable->value);
	free(variable->path);
	variable->value = copy;
	variable->path = path;
	variable->line = line_number(reader, name);
	variable->line_count = line_number(reader, reader->end) - variable->line + 1;
	if (!copy || !reader->defaults->assigned)
		return 0;
	return reader->defaults->assigned(reader->defaults->context, variable);
}

/* Skips from a "'" to the next one, or to the last character when there is none. */
static const char *skip_quoted(const char *position)
{
	size_t length = strcspn(position + 1, "'");

	return position + length + (position[length + 1] == '\'');
}

/* Skips a command from its "(" or "`" to just after its end, past nested ones and quotes. */
static const char *skip_command(const char *position)
{
	unsigned int depth = 0;
	char open = *position;

	for (; *position; position++) {
		if (*position == '\\' && position[1])
			position++;
		else if ((open == '`' && *position == '`' && depth++) ||
			(open == '(' && *position == ')' && --depth == 0))
			return position + 1;
		else if (open == '(' && *position == '\'')
			position = skip_quoted(position);
		else if (open == '(' && *position == '(')
			depth++;
	}
	return position;
}

static void value_expand(
	const struct reader *reader, struct value *value, const char *name, size_t length)
{
	const struct grub_variable *variable = variable_find(reader->defaults, name, length);

	/* a variable that these files do not set may come from anywhere, but mostly it is unset.
	 * The limit is for one that holds itself twice in each line: it would grow without end. */
	if (variable && variable->value && strlen(variable->value) <= VALUE_MAX)
		fputs(variable->value, value->stream);
	else if (variable)
		value->unknown = true;
}

/* Reads an expansion; @position is at its "$" or "`". */
static const char *read_expansion(
	const struct reader *reader, const char *position, struct value *value)
{
	bool braced = position[0] == '$' && position[1] == '{';
	const char *name = position + (braced ? 2 : 1);
	size_t length = name_length(name);

	if (position[0] == '$' && length && (!braced || name[length] == '}')) {
		value_expand(reader, value, name, length);
		return name + length + braced;
	}
	if (position[0] == '$' && !braced && position[1] != '(') {
		/* "$" alone stands for itself; only a shell knows $1, $? and the like */
		value->unknown |= position[1] && strchr("0123456789?#@*!$-", position[1]);
		fputc('$', value->stream);
		return position + 1;
	}
	value->unknown = true;
	if (braced)
		return name + strcspn(name, "}\n") + (name[strcspn(name, "}\n")] == '}');
	return skip_command(position[0] == '$' ? position + 1 : position);
}

/* Reads from just after the opening quote to just after the closing one. */
static const char *read_double_quoted(
	const struct reader *reader, const char *position, struct value *value)
{
	while (*position && *position != '"') {
		if (*position == '$' || *position == '`') {
			position = read_expansion(reader, position, value);
			continue;
		}
		if (*position == '\\' && position[1] && strchr("$`\"\\\n", position[1])) {
			position++;
			if (*position == '\n') {
				position++;
				continue;
			}
		}
		fputc(*position++, value->stream);
	}
	value->unknown |= *position != '"';
	return position + (*position == '"');
}

static const char *read_single_quoted(const char *position, struct value *value)
{
	size_t length = strcspn(position, "'");

	fwrite(position, 1, length, value->stream);
	value->unknown |= position[length] != '\'';
	return position + length + (position[length] == '\'');
}

static const char *read_escaped(const char *position, struct value *value)
{
	if (position[1] && position[1] != '\n')
		fputc(position[1], value->stream);
	return position + (position[1] ? 2 : 1);
}

/* Reads from just after the "=" to the blank, newline or operator that ends the word. */
static const char *read_value(
	const struct reader *reader, const char *position, struct value *value)
{
	while (*position && !strchr(" \t\r\n;&|<>()", *position)) {
		if (*position == '\'')
			position = read_single_quoted(position + 1, value);
		else if (*position == '"')
			position = read_double_quoted(reader, position + 1, value);
		else if (*position == '$' || *position == '`')
			position = read_expansion(reader, position, value);
		else if (*position == '\\')
			position = read_escaped(position, value);
		else
			fputc(*position++, value->stream);
	}
	return position;
}

/* Reads NAME=VALUE at the reader's position, if nothing follows it in its statement. Returns 1 when
 * it did, 0 when something else is there, or -errno. */
static int read_assignment(struct reader *reader)
{
	const char *name = reader->position;
	size_t length = name_length(name);
	struct value value = {0};
	auto_free char *text = NULL;
	const char *end;
	size_t size;
	int r;

	if (!length || name[length] != '=')
		return 0;
	value.stream = open_memstream(&text, &size);
	if (!value.stream)
		return -ENOMEM;
	end = read_value(reader, name + length + 1, &value);
	if (fclose(value.stream) == EOF || !text)
		return -ENOMEM;
	reader->end = end;
	end += strspn(end, " \t\r");
	if (*end && !strchr("\n;#", *end))
		return 0;
	r = variable_set(reader, name, length, value.unknown || reader->depth ? NULL : text);
	reader->position = end;
	return r < 0 ? r : 1;
}

static bool word_is(const char *text, const char *word)
{
	size_t length = strlen(word);

	return strncmp(text, word, length) == 0 &&
		(!text[length] || strchr(" \t\r\n;", text[length]));
}

static bool word_is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++) {
		if (word_is(text, *words))
			return true;
	}
	return false;
}

/* Follows the compound commands that begin or end between @position and @end. */
static void depth_follow(struct reader *reader, const char *position, const char *end)
{
	static const char *const opening[] = {"if", "for", "while", "until", "case", "{", NULL};
	static const char *const closing[] = {"fi", "done", "esac", "}", NULL};

	for (; position < end; position += strcspn(position, " \t;\n")) {
		position += strspn(position, " \t;");
		if (word_is_one_of(position, opening))
			reader->depth++;
		else if (reader->depth && word_is_one_of(position, closing))
			reader->depth--;
	}
}

/* Reads a line that is no assignment. A shell might do anything to the variable that it names, so
 * that one is unknown from here on. */
static int read_other(struct reader *reader)
{
	size_t length = strcspn(reader->position, "\n");
	const char *name = memmem(reader->position, length, WATCHED, strlen(WATCHED));
	int r = 0;

	depth_follow(reader, reader->position, reader->position + length);
	reader->end = reader->position + length;
	for (; r == 0 && name;
		name = memmem(name + 1, (size_t)(reader->position + length - name - 1), WATCHED,
			strlen(WATCHED)))
		r = variable_set(reader, name, name_length(name), NULL);
	reader->position += length;
	return r;
}

static int read_statement(struct reader *reader)
{
	int r;

	if (*reader->position == '#') {
		reader->position += strcspn(reader->position, "\n");
		return 0;
	}
	if (strncmp(reader->position, "export ", strlen("export ")) == 0) {
		const char *start = reader->position;

		reader->position += strlen("export ");
		r = read_assignment(reader);
		if (r)
			return r < 0 ? r : 0;
		reader->position = start;
	}
	r = read_assignment(reader);
	if (r)
		return r < 0 ? r : 0;
	return read_other(reader);
}

int grub_defaults_parse(struct grub_defaults *defaults, const char *path, const char *text)
{
	struct reader reader = {
		.defaults = defaults, .path = path, .start = text, .position = text};
	int r = 0;

	while (r == 0 && *(reader.position += strspn(reader.position, " \t\r\n;")))
		r = read_statement(&reader);
	return r;
}

void grub_defaults_done(struct grub_defaults *defaults)
{
	for (size_t i = 0; i < defaults->count; i++) {
		free(defaults->items[i].name);
		free(defaults->items[i].value);
		free(defaults->items[i].path);
	}
	free(defaults->items);
	*defaults = (struct grub_defaults){0};
}
