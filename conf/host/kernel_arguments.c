/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Splits kernel arguments as the kernel does, and compares them. */

#include "kernel_arguments.h"

#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <string.h>

static size_t argument_length(const char *text)
{
	bool quoted = false;
	size_t length = 0;

	for (; text[length] && (quoted || !text_is_white(text[length])); length++)
		quoted ^= text[length] == '"';
	return length;
}

int kernel_arguments_split(const char *text, struct names *ret)
{
	for (text += strspn(text, TEXT_WHITE); *text; text += strspn(text, TEXT_WHITE)) {
		size_t length = argument_length(text);
		auto_free char *argument = strndup(text, length);

		if (!argument || names_add(ret, argument) < 0)
			return -ENOMEM;
		text += length;
	}
	return 0;
}

static char dash_fold(char character)
{
	return character == '-' ? '_' : character;
}

const char *kernel_argument_value(const char *argument, const char *name)
{
	for (; *name; argument++, name++) {
		if (dash_fold(*argument) != dash_fold(*name))
			return NULL;
	}
	if (*argument == '=')
		return argument + 1;
	return *argument ? NULL : argument;
}

const char *kernel_arguments_get(const struct names *arguments, const char *name)
{
	for (size_t i = arguments->count; i-- > 0;) {
		const char *value = kernel_argument_value(arguments->names[i], name);

		if (value)
			return value;
	}
	return NULL;
}

/* Is @wanted one of the words in the comma-separated @list? */
static bool list_has(const char *list, const char *wanted)
{
	size_t length = strlen(wanted);

	while (list) {
		if (strcspn(list, ",") == length && strncmp(list, wanted, length) == 0)
			return true;
		list = strchr(list, ',');
		list = list ? list + 1 : NULL;
	}
	return false;
}

bool kernel_argument_gives(const char *argument, const char *wanted)
{
	size_t length = strcspn(wanted, "=");
	auto_free char *name = strndup(wanted, length);
	const char *value = name ? kernel_argument_value(argument, name) : NULL;

	return value && (!wanted[length] || list_has(value, wanted + length + 1));
}

bool kernel_arguments_give(const struct names *arguments, const char *wanted)
{
	for (size_t i = 0; i < arguments->count; i++) {
		if (kernel_argument_gives(arguments->names[i], wanted))
			return true;
	}
	return false;
}
