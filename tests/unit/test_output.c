/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What leaves the program: texts of others are clean in each table, line, log entry and JSON. */

#include "hooks/base/output.h"
#include "hooks/base/table.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/log.h"
#include "kmod-helper/base/parse.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *real;
static char *printed;
static size_t printed_length;

static void init(void)
{
	real = stdout;
	stdout = open_memstream(&printed, &printed_length);
}

static void done(void)
{
	free(printed);
}

TestSuite(output, .init = init, .fini = done);

static const char *output(void)
{
	fclose(stdout);
	stdout = real;
	return printed;
}

/* Every byte but NUL, in pieces: each one at the start, amid and at the end of a text. */
static void for_each_text(void (*give)(const char *text))
{
	for (unsigned int i = 1; i < 256; i++) {
		const char byte = (char)i;
		char text[16];

		snprintf(text, sizeof(text), "%cx%cm\xc3\xbcller%c", byte, byte, byte);
		give(text);
	}
}

static void expect_clean(const char *text, const char *kept)
{
	for (size_t left = strlen(text), i = 0; left;) {
		size_t length = text_character_length(text + i, left);
		unsigned char byte = (unsigned char)text[i];

		cr_assert_gt(length, 0u, "not UTF-8 at %zu: %s", i, text + i);
		cr_assert(strchr(kept, byte) || (byte >= 0x20 && byte != 0x7f),
			"control character %02x at %zu", byte, i);
		cr_assert_not(byte == 0xc2 && (unsigned char)text[i + 1] < 0xa0, "C1 at %zu", i);
		i += length;
		left -= length;
	}
}

static struct json_object *array;

static void add_to_json(const char *text)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "text", text);
	json_object_array_add(array, object);
}

static void print_json(enum output_format format)
{
	const struct context context = {.output = format};

	array = json_object_new_array();
	for_each_text(add_to_json);
	cr_assert_eq(output_json(&context, array, NULL), 0);
}

/* Without JSON_TOKENER_STRICT, with which json-c 0.18 refuses what is not ASCII. */
static void expect_json(const char *text)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *read;

	json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
	read = json_tokener_parse_ex(tokener, text, (int)strlen(text));
	cr_assert_eq(json_tokener_get_error(tokener), json_tokener_success, "%s",
		json_tokener_error_desc(json_tokener_get_error(tokener)));
	text += json_tokener_get_parse_end(tokener);
	cr_assert_eq(text[strspn(text, "\n")], '\0', "more after it: %s", text);
	cr_assert_eq(json_object_array_length(read), 255u);
	for (size_t i = 0; i < 255; i++) {
		struct json_object *value = NULL;

		cr_assert(json_object_object_get_ex(
			json_object_array_get_idx(read, i), "text", &value));
		cr_expect(strstr(json_object_get_string(value), "m\xc3\xbcller"), "byte %zu: %s",
			i + 1, json_object_get_string(value));
	}
	json_object_put(read);
	json_tokener_free(tokener);
}

Test(output, json_is_utf_8_whatever_others_write)
{
	print_json(OUTPUT_JSON);
	expect_clean(output(), "\n");
	expect_json(printed);
}

Test(output, json_for_people_is_so_too)
{
	print_json(OUTPUT_JSON_PRETTY);
	expect_clean(output(), "\n");
	expect_json(printed);
}

static struct table table = {.column_count = 1};

static void add_to_table(const char *text)
{
	cr_assert_eq(table_add(&table, "%s", text), 0);
}

static size_t line_count(const char *text)
{
	size_t count = 0;

	for (; (text = strchr(text, '\n')); text++)
		count++;
	return count;
}

Test(output, a_cell_is_one_line)
{
	for_each_text(add_to_table);
	cr_assert_eq(table_print(&table, &(const struct context){0}, NULL), 0);
	table_done(&table);
	expect_clean(output(), "\n");
	cr_expect_eq(line_count(printed), 255u);
}

static void print_line(const char *text)
{
	output_print("note: %s\n", text);
}

Test(output, a_line_stays_one)
{
	for_each_text(print_line);
	expect_clean(output(), "\n");
	cr_expect_eq(line_count(printed), 255u);
}

Test(output, a_part_of_a_line_ends_none)
{
	output_print("%s", "a\n");
	output_print("b%s\n", "\n");
	cr_expect_str_eq(output(), "a?b?\n");
}

Test(output, a_diff_keeps_its_lines)
{
	char diff[] = "-\ta\r\n+\tm\xc3\xbcller \xfc\033[2J\n";

	output_diff(&(const struct context){0}, diff);
	cr_expect_str_eq(output(), "-\ta?\n+\tm\xc3\xbcller ??[2J\n");
}

static void take_entry(void *context, const struct log_entry *entry)
{
	snprintf(context, 64, "%s", entry->text);
}

Test(log, an_entry_is_one_clean_line)
{
	char text[64] = "";
	const struct log log = {.write = take_entry, .context = text};

	log_write(&log, LOG_INFO, "%s", "m\xc3\xbcller \xfc\033]0;x\a\nPASS: all is well");
	cr_expect_str_eq(text, "m\xc3\xbcller ??]0;x??PASS: all is well");
	log_step(&log, LOG_INFO, "0000:01:00.0", "bind", "%s",
		"\xc2\x9b"
		"2J");
	cr_expect_str_eq(text, "??2J");
}

Test(output, wide_characters_take_two_columns)
{
	setenv("LC_ALL", "C.UTF-8", 1);
	cr_expect_eq(text_columns("a\uac00z"), 4);
	cr_expect_eq(text_columns("m\u00fcller"), 6);
	cr_expect_eq(text_columns("\xff"), 1);
	cr_expect_eq(screen_print("a\uac00z", 3), 3);
	cr_expect_eq(screen_print("a\uac00zz", 4), 4);
	cr_expect_eq(screen_print("a\uac00z", 0), 4);
	cr_expect_str_eq(output(), "a\u2026a\uac00\u2026a\uac00z");
}
