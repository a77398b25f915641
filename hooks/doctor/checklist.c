/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Collects the results of checks and prints them as text or JSON. */

#include "checklist.h"

#include "hooks/base/output.h"
#include "hooks/base/screen.h"
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
	[CHECK_PASS] = {"PASS", "PASSED", COLOUR_GREEN, true},
	[CHECK_INFO] = {"INFO", "INFO", "", false},
	[CHECK_SKIP] = {"SKIP", "SKIPPED", "", true},
	[CHECK_NOTICE] = {"NOTICE", "NOTICES", COLOUR_BOLD, false},
	[CHECK_WARN] = {"WARN", "WARNINGS", COLOUR_YELLOW, true},
	[CHECK_FAIL] = {"FAIL", "FAILURES", COLOUR_ALARM, true},
};

void checklist_section(struct checklist *list, const char *title)
{
	list->section = title;
	list->subject = NULL;
}

void checklist_subject(struct checklist *list, const char *subject)
{
	list->subject = subject;
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
	*check = (struct check_result){
		.id = id, .section = list->section, .subject = list->subject, .level = level};
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

/* "0000:2b:00.0" is about the card of a message that names 0000:2b:00.1. */
static bool names_card(const char *message, const char *subject)
{
	char card[32];

	snprintf(card, sizeof(card), "%.*s.", (int)strcspn(subject, "."), subject);
	return strstr(message, card);
}

bool check_raise(struct checklist *list, const char *id, const char *format, ...)
{
	auto_free char *message = NULL;
	struct check_result *check = list->items, *end = list->items + list->count;
	va_list arguments;

	va_start(arguments, format);
	message = format_line(format, arguments);
	va_end(arguments);
	list->out_of_memory = list->out_of_memory || !message;
	while (message && check < end &&
		(check->level != CHECK_WARN || strcmp(check->id, id) != 0 || !check->subject ||
			!names_card(message, check->subject)))
		check++;
	if (!message || check == end)
		return false;
	check->level = CHECK_FAIL;
	free(check->message);
	check->message = TAKE_PTR(message);
	return true;
}

size_t checklist_count(const struct checklist *list, enum check_level level)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += list->items[i].level == level;
	return count;
}

/* ---- what belongs together */

static bool equal(const char *left, const char *right)
{
	return left == right || (left && right && strcmp(left, right) == 0);
}

static bool is_wrong(const struct check_result *check)
{
	return check->level == CHECK_WARN || check->level == CHECK_FAIL;
}

static bool has_own_subject(const struct check_result *check)
{
	return check->subject && strcmp(check->subject, check->section) != 0;
}

static bool is_same_cause(const struct check_result *left, const struct check_result *right)
{
	return left->level >= CHECK_NOTICE && has_own_subject(left) && has_own_subject(right) &&
		left->level == right->level && equal(left->section, right->section) &&
		equal(left->message, right->message) && equal(left->fix, right->fix);
}

/* True for the first of the checks that have the same cause: it stands for all of them. */
static bool is_first_of_cause(const struct checklist *list, const struct check_result *check)
{
	const struct check_result *other = list->items;

	while (other < check && !is_same_cause(other, check))
		other++;
	return other == check;
}

static bool has_fix_of(const struct check_result *check, const struct check_result *place)
{
	return is_wrong(check) && equal(check->fix, place->fix);
}

static bool is_part_of_todo(const struct checklist *list, const struct check_result *check,
	const struct check_result *place)
{
	return has_fix_of(check, place) && is_first_of_cause(list, check);
}

/* True for the check that has the place of its fix in the list of what to do: the first FAIL that
 * it fixes, else the first WARN. */
static bool has_place(const struct checklist *list, const struct check_result *check)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct check_result *other = &list->items[i];

		if (has_fix_of(other, check) &&
			(other->level > check->level ||
				(other->level == check->level && other < check)))
			return false;
	}
	return true;
}

/* What to do after @last, which is NULL at the beginning: first what fixes a FAIL, then what fixes
 * only WARNs. NULL: no more. */
static const struct check_result *todo_next(
	const struct checklist *list, const struct check_result *last)
{
	size_t i = last ? (size_t)(last - list->items) + 1 : 0;

	for (int level = last ? (int)last->level : CHECK_FAIL; level >= CHECK_WARN; level--) {
		for (; i < list->count; i++) {
			if ((int)list->items[i].level == level && has_place(list, &list->items[i]))
				return &list->items[i];
		}
		i = 0;
	}
	return NULL;
}

/* ---- text */

/* "0000:2b:00.0, 0000:2c:00.0: ": all that have the same cause. */
static void print_subjects(const struct checklist *list, const struct check_result *check)
{
	output_print("%s", check->subject);
	for (size_t i = 0; i < list->count; i++) {
		if (&list->items[i] != check && is_same_cause(check, &list->items[i]))
			output_print(", %s", list->items[i].subject);
	}
	output_print(": ");
}

/* @alone: outside its section, where the subject is always named. */
static void print_check(
	const struct checklist *list, const struct check_result *check, bool alone, bool coloured)
{
	const struct level_style *style = &styles[check->level];
	bool painted = coloured && *style->colour;

	screen_paint(painted, style->colour);
	output_print("%s: ", style->name);
	if (check->subject && (alone || has_own_subject(check)))
		print_subjects(list, check);
	output_print("%s", check->message);
	screen_paint(painted, NULL);
	putchar('\n');
}

/* Of a subject that is well, the first check stands for all; only -v shows the others. Of a VM,
 * which is what was asked for, more than a PASS is shown. */
static bool is_shown(const struct checklist *list, const struct check_result *check, bool verbose)
{
	const struct check_result *other = list->items;

	if (check->level >= CHECK_NOTICE)
		return is_first_of_cause(list, check);
	if (verbose || !check->subject || (check->level != CHECK_PASS && !has_own_subject(check)))
		return true;
	while (other < check && !equal(other->subject, check->subject))
		other++;
	return other == check;
}

static void print_title(const char *title, bool first)
{
	fputs(first ? "" : "\n", stdout);
	output_print("= %s =\n", title);
	putchar('\n');
}

/* Without -v, what stands together and has one fix is printed with that fix once, at its end. */
static bool fix_follows(const struct checklist *list, const struct check_result *check)
{
	const struct check_result *next = check + 1, *end = list->items + list->count;

	while (next < end && !is_shown(list, next, false))
		next++;
	return next < end && is_wrong(check) && is_wrong(next) && equal(next->fix, check->fix) &&
		equal(next->section, check->section);
}

static void print_checks(const struct checklist *list, bool verbose, bool coloured)
{
	const char *section = NULL;

	for (size_t i = 0; i < list->count; i++) {
		const struct check_result *check = &list->items[i];

		if (!is_shown(list, check, verbose))
			continue;
		if (!equal(section, check->section))
			print_title(check->section, !section);
		section = check->section;
		print_check(list, check, false, coloured);
		if (check->fix && (verbose || !fix_follows(list, check)))
			output_print("      fix: %s\n", check->fix);
	}
}

static void print_totals(const struct checklist *list, bool verbose)
{
	size_t hidden = 0;

	print_title("SUMMARY", false);
	output_print("%-9s %zu\n", "TOTAL:", list->count);
	for (unsigned int level = 0; level < CHECK_LEVELS; level++) {
		size_t count = checklist_count(list, level);
		char name[16];

		snprintf(name, sizeof(name), "%s:", styles[level].total);
		if (count || styles[level].always)
			output_print("%-9s %zu\n", name, count);
	}
	for (size_t i = 0; i < list->count; i++)
		hidden += list->items[i].level < CHECK_NOTICE &&
			!is_shown(list, &list->items[i], verbose);
	if (hidden)
		output_print("%zu more checks need no attention: -v shows them.\n", hidden);
}

static void print_todo(const struct checklist *list, const struct check_result *place,
	unsigned int number, bool coloured)
{
	bool first = true;

	for (size_t i = 0; i < list->count; i++) {
		if (!is_part_of_todo(list, &list->items[i], place))
			continue;
		if (number && first)
			output_print("%u. ", number);
		else if (number)
			output_print("   ");
		print_check(list, &list->items[i], true, coloured);
		first = false;
	}
	output_print("%s%s\n", number ? "   next: " : "      fix: ", place->fix);
}

/* Every WARN and FAIL, those with the same fix together. */
static void print_todos(const struct checklist *list, bool numbered, bool coloured)
{
	const struct check_result *place = NULL;

	for (unsigned int number = 1; (place = todo_next(list, place)); number++)
		print_todo(list, place, numbered ? number : 0, coloured);
}

static int print_text(
	const struct checklist *list, const struct context *context, struct error *error)
{
	bool verbose = context->log_level >= LOG_DEBUG;
	bool coloured = screen_has_colours(context);

	if (context->log_level < LOG_INFO) {
		print_todos(list, false, coloured);
		return output_flush(error);
	}
	print_checks(list, verbose, coloured);
	print_totals(list, verbose);
	if (todo_next(list, NULL)) {
		print_title("WHAT TO DO", false);
		print_todos(list, true, coloured);
		puts("\nFix one thing at a time, then run doctor again.");
	}
	return output_flush(error);
}

/* ---- JSON */

static struct json_object *format_level(enum check_level level)
{
	char text[16];
	size_t length = 0;

	for (const char *name = styles[level].name; name[length]; length++)
		text[length] = (char)(name[length] | 0x20);
	return json_object_new_string_len(text, (int)length);
}

/* "0000:2b:00.0: …", or the message alone where the section names the subject */
static void add_message(struct json_object *object, const struct check_result *check)
{
	auto_free char *text = NULL;

	if (has_own_subject(check) && asprintf(&text, "%s: %s", check->subject, check->message) < 0)
		text = NULL;
	json_add_text(object, "message", text ? text : check->message);
}

static struct json_object *format_check(const struct check_result *check)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "id", check->id);
	json_add_text(object, "section", check->section);
	json_add_text_or_null(object, "subject", check->subject);
	json_object_object_add(object, "level", format_level(check->level));
	add_message(object, check);
	json_add_text_or_null(object, "fix", check->fix);
	return object;
}

static struct json_object *format_totals(const struct checklist *list)
{
	struct json_object *object = json_object_new_object();

	json_add_number(object, "total", (int64_t)list->count);
	for (unsigned int level = 0; level < CHECK_LEVELS; level++) {
		struct json_object *name = format_level(level);

		json_add_number(object, json_object_get_string(name),
			(int64_t)checklist_count(list, level));
		json_object_put(name);
	}
	return object;
}

/* The checks by their places in the list of all. */
static struct json_object *format_todo(
	const struct checklist *list, const struct check_result *place)
{
	struct json_object *object = json_object_new_object();
	struct json_object *checks = json_object_new_array();

	json_object_object_add(object, "level", format_level(place->level));
	json_add_text(object, "fix", place->fix);
	for (size_t i = 0; i < list->count; i++) {
		if (has_fix_of(&list->items[i], place))
			json_object_array_add(checks, json_object_new_int64((int64_t)i));
	}
	json_object_object_add(object, "checks", checks);
	return object;
}

static int print_json(
	const struct checklist *list, const struct context *context, struct error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *checks = json_object_new_array();
	struct json_object *next = json_object_new_array();
	const struct check_result *place = NULL;

	for (size_t i = 0; i < list->count; i++)
		json_object_array_add(checks, format_check(&list->items[i]));
	while ((place = todo_next(list, place)))
		json_object_array_add(next, format_todo(list, place));
	json_object_object_add(object, "checks", checks);
	json_object_object_add(object, "totals", format_totals(list));
	json_object_object_add(object, "next", next);
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
