/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Sets and wraps errors. */

#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* vsnprintf cuts what does not fit, which is fine for a message; gcc wants that made explicit. */
static size_t append(char *buffer, size_t used, const char *text)
{
	if (used < ERROR_MESSAGE_SIZE - 1) {
		int length = snprintf(buffer + used, ERROR_MESSAGE_SIZE - used, "%s", text);
		used += length > 0 ? (size_t)length : 0;
	}
	return used < ERROR_MESSAGE_SIZE ? used : ERROR_MESSAGE_SIZE - 1;
}

__attribute__((format(printf, 2, 0))) static size_t format_message(
	char *buffer, const char *format, va_list arguments)
{
	int length = vsnprintf(buffer, ERROR_MESSAGE_SIZE, format, arguments);

	if (length < 0) {
		buffer[0] = '\0';
		return 0;
	}
	return (size_t)length < ERROR_MESSAGE_SIZE ? (size_t)length : ERROR_MESSAGE_SIZE - 1;
}

int error_set(struct error *error, int status, const char *format, ...)
{
	va_list arguments;

	if (error) {
		error->status = status;
		va_start(arguments, format);
		format_message(error->message, format, arguments);
		va_end(arguments);
	}
	return status;
}

int error_set_errno(struct error *error, int status, const char *format, ...)
{
	va_list arguments;
	size_t used;

	if (error) {
		error->status = status;
		va_start(arguments, format);
		used = format_message(error->message, format, arguments);
		va_end(arguments);
		used = append(error->message, used, ": ");
		append(error->message, used, strerror(-status));
	}
	return status;
}

int error_wrap(struct error *error, int status, const char *format, ...)
{
	char inner[ERROR_MESSAGE_SIZE];
	va_list arguments;
	size_t used;

	if (error) {
		memcpy(inner, error->message, sizeof(inner));
		error->status = status;
		va_start(arguments, format);
		used = format_message(error->message, format, arguments);
		va_end(arguments);
		used = append(error->message, used, ": ");
		append(error->message, used, inner);
	}
	return status;
}
