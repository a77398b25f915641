/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds an operation by its name, and says in words what a step of it does. */

#include "operation.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

const struct operation *operation_find(const struct operation *const *tables, const char *name)
{
	for (size_t i = 0; tables[i]; i++) {
		for (const struct operation *operation = tables[i]; operation->name; operation++) {
			if (strcmp(operation->name, name) == 0)
				return operation;
		}
	}
	return NULL;
}

/* The text of the step that the words at *@format name ("{subject}"), which moves past them; NULL
 * when they name none. */
static const char *take_field(const char **format, const struct step *step)
{
	const struct {
		const char *name;
		const char *value;
	} fields[] = {
		{"{operation}", step->operation},
		{"{subject}", step->subject},
		{"{argument}", step->argument},
		{"{original}", step->original},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strncmp(*format, fields[i].name, strlen(fields[i].name)) == 0) {
			*format += strlen(fields[i].name);
			return *fields[i].value ? fields[i].value : "none";
		}
	}
	return NULL;
}

static const char *choose_format(const struct operation *operation, enum direction direction)
{
	if (direction == APPLY)
		return operation->apply_text ? operation->apply_text : "{operation} {subject}";
	return operation->undo_text ? operation->undo_text : "undo {operation} {subject}";
}

void operation_describe(const struct operation *operation, const struct step *step,
	enum direction direction, char *buffer, size_t size)
{
	const char *format = choose_format(operation, direction);
	size_t used = 0;

	buffer[0] = '\0';
	while (*format && used < size) {
		const char *value = take_field(&format, step);

		if (value)
			used += (size_t)snprintf(buffer + used, size - used, "%s", value);
		else
			used += (size_t)snprintf(buffer + used, size - used, "%c", *format++);
	}
}

unsigned int operation_deadline_ms(
	const struct operation *operation, const struct step *step, const struct loan *loan)
{
	const struct loan_function *function;

	if (operation->deadline_ms)
		return operation->deadline_ms(step);
	function = loan_find(loan, step->subject);
	return function && function->slow_deadline_ms > loan->write_deadline_ms
		? function->slow_deadline_ms
		: loan->write_deadline_ms;
}

bool operation_is_minor(const struct operation *operation, enum direction direction)
{
	return operation->is_minor || (direction == APPLY && !operation->apply);
}
