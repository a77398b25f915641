/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Formats log entries, makes them one clean line each, and hands them to whoever prints them. */

#include "log.h"

#include "error.h"
#include "parse.h"
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 0))) static void log_vwrite(
	const struct log *log, struct log_entry *entry, const char *format, va_list arguments)
{
	char text[ERROR_MESSAGE_SIZE];

	if (!log || !log->write)
		return;
	vsnprintf(text, sizeof(text), format, arguments);
	text_make_line(text);
	entry->text = text;
	log->write(log->context, entry);
}

void log_write(const struct log *log, int priority, const char *format, ...)
{
	struct log_entry entry = {.priority = priority};
	va_list arguments;

	va_start(arguments, format);
	log_vwrite(log, &entry, format, arguments);
	va_end(arguments);
}

void log_step(const struct log *log, int priority, const char *device, const char *step,
	const char *format, ...)
{
	struct log_entry entry = {.priority = priority, .device = device, .step = step};
	va_list arguments;

	va_start(arguments, format);
	log_vwrite(log, &entry, format, arguments);
	va_end(arguments);
}
