/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Prints lines and JSON to the standard output. */

#include "output.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "screen.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int output_flush(struct error *error)
{
	int r = fflush(stdout) == EOF ? -errno : 0;

	if (r == 0 && ferror(stdout))
		r = -EIO; /* of an earlier write: nobody knows why */
	return r < 0 ? error_set_errno(error, r, "write to the standard output") : 0;
}

int output_close(struct error *error)
{
	int r = output_flush(error);

	if (fclose(stdout) == EOF && r == 0)
		r = error_set_errno(error, -EIO, "write to the standard output");
	return r;
}

char *output_format(const char *format, va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		return NULL;
	text_make_line(text);
	return text;
}

void output_print(const char *format, ...)
{
	auto_free char *text = NULL;
	size_t length = strlen(format);
	bool ends_line = length && format[length - 1] == '\n';
	va_list arguments;
	int printed;

	va_start(arguments, format);
	printed = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (printed < 0) {
		text = NULL;
		return;
	}
	if (ends_line)
		text[printed - 1] = '\0';
	text_make_line(text);
	fputs(text, stdout);
	if (ends_line)
		putchar('\n');
}

static const char *diff_colour(const char *line)
{
	if (strncmp(line, "---", 3) == 0 || strncmp(line, "+++", 3) == 0)
		return COLOUR_BOLD;
	return *line == '+' ? COLOUR_GREEN : *line == '-' ? COLOUR_RED : NULL;
}

void output_diff(const struct context *context, char *diff)
{
	bool coloured = screen_has_colours(context);

	text_make_lines(diff);
	for (const char *line = diff; *line;) {
		size_t length = strcspn(line, "\n");
		const char *colour = coloured ? diff_colour(line) : NULL;

		screen_paint(colour, colour);
		fwrite(line, 1, length, stdout);
		screen_paint(colour, NULL);
		line += length;
		if (*line)
			putchar(*line++);
	}
}

const char *output_state_colour(const char *state)
{
	if (strcmp(state, "lent") == 0)
		return COLOUR_GREEN;
	if (strcmp(state, "owed") == 0)
		return COLOUR_YELLOW;
	return strcmp(state, "overdue") == 0 ? COLOUR_ALARM : NULL;
}

void output_explain_holders(const struct context *context, const char *place)
{
	if (!context->kernel.root.live)
		output_print(
			"%s: a captured tree (--root) does not show who uses a device\n", place);
	else if (!holders_can_be_known(context))
		output_print("%s: only root sees who uses a device\n", place);
}

void output_next(const struct context *context, const char *format, ...)
{
	auto_free char *text = NULL;
	va_list arguments;
	int printed;

	if (context->output != OUTPUT_TEXT || context->log_level < LOG_INFO || !screen_columns())
		return;
	va_start(arguments, format);
	printed = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (printed < 0)
		text = NULL;
	else
		output_print("next: %s\n", text);
}

int output_json(const struct context *context, struct json_object *object, struct error *error)
{
	int flags = context->output == OUTPUT_JSON_PRETTY
		? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE
		: JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
	auto_free char *text = NULL;
	const char *formatted = json_object_to_json_string_ext(object, flags);

	if (formatted)
		text = strdup(formatted);
	/* json-c escapes C0 itself, but passes on bytes that are not UTF-8 */
	if (text) {
		text_make_lines(text);
		puts(text);
	}
	json_object_put(object);
	return text ? output_flush(error) : error_set_errno(error, -ENOMEM, "format the output");
}

void json_add_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, json_object_new_string(text));
}

void json_add_text_or_null(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, text && *text ? json_object_new_string(text) : NULL);
}

void json_add_number(struct json_object *object, const char *key, int64_t number)
{
	json_object_object_add(object, key, json_object_new_int64(number));
}

void json_add_strings(struct json_object *object, const char *key, const struct names *strings)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < strings->count; i++)
		json_object_array_add(array, json_object_new_string(strings->names[i]));
	json_object_object_add(object, key, array);
}

void json_add_owner(struct json_object *object, const char *key, const struct loan_owner *owner)
{
	struct json_object *value = NULL;

	if (owner) {
		bool is_vm = owner->kind == LOAN_OWNER_VM;

		value = json_object_new_object();
		json_add_text(value, "kind", is_vm ? "vm" : "hand");
		json_object_object_add(
			value, "vmid", is_vm ? json_object_new_int64(owner->vmid) : NULL);
	}
	json_object_object_add(object, key, value);
}

static bool is_meant(const struct holders *holders, size_t index, const char *address)
{
	return address ? strcmp(holders->items[index].address, address) == 0
		       : !holder_is_repeated(holders, index);
}

/* Those found count, even if there may be more of them. */
static bool are_known(const struct holders *holders, const char *address)
{
	bool is_known = holders && !*holders->unknown;

	for (size_t i = 0; holders && !is_known && i < holders->count; i++)
		is_known = is_meant(holders, i, address);
	return is_known;
}

static struct json_object *format_holder(const struct holder *holder)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "kind", holder_kind_name(holder->kind));
	json_object_object_add(
		object, "pid", holder->pid ? json_object_new_int64(holder->pid) : NULL);
	json_add_text(object, "command", holder->command);
	json_object_object_add(
		object, "guest", holder->guest ? json_object_new_int64(holder->guest) : NULL);
	json_add_text_or_null(object, "unit", holder->unit);
	json_add_text_or_null(object, "application", holder->application);
	json_add_text_or_null(object, "node", holder->node);
	json_add_text_or_null(object, "address", holder->address);
	return object;
}

void json_add_holders(struct json_object *object, const char *key, const struct holders *holders,
	const char *address)
{
	struct json_object *array = are_known(holders, address) ? json_object_new_array() : NULL;

	for (size_t i = 0; array && i < holders->count; i++) {
		if (is_meant(holders, i, address))
			json_object_array_add(array, format_holder(&holders->items[i]));
	}
	json_object_object_add(object, key, array);
}

void holder_format_short(const struct holder *holder, char *buffer, size_t size)
{
	if (holder->guest)
		snprintf(buffer, size, "%s %u", holder->kind == HOLDER_VM ? "VM" : "container",
			holder->guest);
	else if (holder->pid)
		snprintf(buffer, size, "%s %d", holder->command, (int)holder->pid);
	else
		snprintf(buffer, size, "kernel");
}

void holders_format_short(
	const struct holders *holders, const char *address, char *buffer, size_t size)
{
	struct holders_text text = {.buffer = buffer, .size = size};

	snprintf(buffer, size, "%s", are_known(holders, address) ? "-" : "?");
	for (size_t i = 0; holders && i < holders->count; i++) {
		const struct holder *holder = &holders->items[i];
		char one[64];

		if (!is_meant(holders, i, address))
			continue;
		holder_format_short(holder, one, sizeof(one));
		holders_text_add(&text, one);
	}
}

bool holders_can_be_known(const struct context *context)
{
	return context->kernel.root.live && geteuid() == 0;
}
