/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Collects the results of checks and prints them as text or JSON. */

#include "checklist.h"

#include "hooks/base/output.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

struct level_style {
	const char *name;
	const char *total; /* its name in the summary */
	const char *colour;
	bool always; /* shown in the summary even when there is none */
};

/* The same words and colours as in pve8to9. */
static const struct level_style styles[CHECK_LEVELS] = {
	[CHECK_PASS] = {"PASS", "PASSED", "\033[32m", true},
	[CHECK_INFO] = {"INFO", "INFO", "", false},
	[CHECK_SKIP] = {"SKIP", "SKIPPED", "", true},
	[CHECK_NOTICE] = {"NOTICE", "NOTICES", "\033[1m", false},
	[CHECK_WARN] = {"WARN", "WARNINGS", "\033[33m", true},
	[CHECK_FAIL] = {"FAIL", "FAILURES", "\033[1;31m", true},
};

void checklist_section(struct checklist *list, const char *title)
{
	list->section = title;
}

__attribute__((format(printf, 1, 0))) static char *format_line(
	const char *format, va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		return NULL;
	return text;
}

void check_add(
	struct checklist *list, enum check_level level, const char *id, const char *format, ...)
{
	struct check_result *check = LIST_ADD(list->items, list->count);
	va_list arguments;

	if (!check) {
		list->out_of_memory = true;
		return;
	}
	*check = (struct check_result){.id = id, .section = list->section, .level = level};
	va_start(arguments, format);
	check->message = format_line(format, arguments);
	va_end(arguments);
	list->out_of_memory = list->out_of_memory || !check->message;
}

void check_fix(struct checklist *list, const char *format, ...)
{
	va_list arguments;
	char *fix;

	if (!list->count)
		return;
	va_start(arguments, format);
	fix = format_line(format, arguments);
	va_end(arguments);
	free(list->items[list->count - 1].fix);
	list->items[list->count - 1].fix = fix;
	list->out_of_memory = list->out_of_memory || !fix;
}

size_t checklist_count(const struct checklist *list, enum check_level level)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += list->items[i].level == level;
	return count;
}

static bool is_coloured(const struct context *context)
{
	return !context->no_color && isatty(STDOUT_FILENO);
}

static void print_check(const struct check_result *check, bool coloured)
{
	const struct level_style *style = &styles[check->level];
	bool painted = coloured && *style->colour;

	fputs(painted ? style->colour : "", stdout);
	output_print("%s: %s", style->name, check->message);
	puts(painted ? "\033[0m" : "");
	if (check->fix)
		output_print("      fix: %s\n", check->fix);
}

static void print_totals(const struct checklist *list)
{
	puts("\n= SUMMARY =\n");
	output_print("%-9s %zu\n", "TOTAL:", list->count);
	for (unsigned int level = 0; level < CHECK_LEVELS; level++) {
		size_t count = checklist_count(list, level);
		char name[16];

		snprintf(name, sizeof(name), "%s:", styles[level].total);
		if (count || styles[level].always)
			output_print("%-9s %zu\n", name, count);
	}
}

static int print_text(
	const struct checklist *list, const struct context *context, struct error *error)
{
	const char *section = NULL;
	bool coloured = is_coloured(context);

	for (size_t i = 0; i < list->count; i++) {
		const struct check_result *check = &list->items[i];

		if (!section || strcmp(section, check->section) != 0) {
			fputs(section ? "\n" : "", stdout);
			output_print("= %s =\n", check->section);
			putchar('\n');
		}
		section = check->section;
		print_check(check, coloured);
	}
	print_totals(list);
	if (checklist_count(list, CHECK_WARN) || checklist_count(list, CHECK_FAIL))
		puts("\nFix one thing at a time, then run doctor again.");
	return output_flush(error);
}

static struct json_object *format_check(const struct check_result *check)
{
	struct json_object *object = json_object_new_object();
	char level[16];
	size_t length = 0;

	for (const char *name = styles[check->level].name; name[length]; length++)
		level[length] = (char)(name[length] | 0x20);
	level[length] = '\0';
	json_add_text(object, "id", check->id);
	json_add_text(object, "section", check->section);
	json_add_text(object, "level", level);
	json_add_text(object, "message", check->message);
	json_add_text_or_null(object, "fix", check->fix);
	return object;
}

static int print_json(
	const struct checklist *list, const struct context *context, struct error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *checks = json_object_new_array();

	for (size_t i = 0; i < list->count; i++)
		json_object_array_add(checks, format_check(&list->items[i]));
	json_object_object_add(object, "checks", checks);
	return output_json(context, object, error);
}

int checklist_print(
	const struct checklist *list, const struct context *context, struct error *error)
{
	if (list->out_of_memory)
		return error_set_errno(error, -ENOMEM, "check the host");
	return context->output == OUTPUT_TEXT ? print_text(list, context, error)
					      : print_json(list, context, error);
}

void checklist_done(struct checklist *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].message);
		free(list->items[i].fix);
	}
	free(list->items);
	*list = (struct checklist){0};
}
