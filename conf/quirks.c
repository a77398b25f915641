/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads and checks the files of quirks: one row of a table for each member of an entry. */

#include "quirks.h"

#include "config_text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "text.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS_MAX 3600000
#define TEXT_MAX 400 /* bytes: with an address and a link it still fits into a message */

static const char hex[] = "0123456789abcdefABCDEF";

struct reader {
	const char *file;
	const struct member *member; /* that is read now */
	struct error *error;
};

/* One row is one member of an entry. */
struct member {
	const char *name;
	size_t offset; /* into struct quirk */
	int (*read)(const struct reader *reader, const config_setting_t *place, void *field);
	bool (*fits)(const char *text); /* NULL: any text */
	const char *hint;		/* what the text, or each of them, must be */
};

static void quirk_done(struct quirk *quirk)
{
	free(quirk->place);
	free(quirk->name);
	free(quirk->source);
	free(quirk->ids.items);
	free(quirk->beside.items);
	free(quirk->class_code);
	free(quirk->driver);
	names_done(&quirk->driver_versions);
	free(quirk->module);
	free(quirk->unless_parameter);
	names_done(&quirk->kernels);
	free(quirk->notice);
	free(quirk->warning);
	free(quirk->blocker);
	free(quirk->unload);
	free(quirk->fix);
	free(quirk->reset_method);
	*quirk = (struct quirk){0};
}

void quirks_done(struct quirks *quirks)
{
	for (size_t i = 0; i < quirks->count; i++)
		quirk_done(&quirks->items[i]);
	free(quirks->items);
	for (size_t i = 0; i < quirks->problem_count; i++)
		free(quirks->problems[i].path);
	free(quirks->problems);
	*quirks = (struct quirks){0};
}

static int refuse(const struct reader *reader, const config_setting_t *place, const char *format,
	...) __attribute__((format(printf, 3, 4)));

static int refuse(
	const struct reader *reader, const config_setting_t *place, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return error_set(reader->error, -EINVAL, "%s:%u: %s", reader->file,
		config_setting_source_line(place), text);
}

static int no_memory(const struct reader *reader)
{
	return error_set_errno(reader->error, -ENOMEM, "read %s", reader->file);
}

/* ---- the forms of texts */

/* One or more of @allowed, and no more than would fit into a path. */
static bool consists_of(const char *text, const char *allowed)
{
	size_t length = strspn(text, allowed);

	return length && length < 64 && !text[length];
}

#define NAME_BYTES TEXT_LETTERS TEXT_DIGITS "_-"

static bool is_name(const char *text)
{
	return consists_of(text, NAME_BYTES ".") && *text != '.';
}

static bool is_class(const char *text)
{
	return consists_of(text, hex) && (strlen(text) == 2 || strlen(text) == 4);
}

static bool is_parameter(const char *text)
{
	size_t length = strspn(text, NAME_BYTES);

	return length && text[length] == '=' && consists_of(text + length + 1, NAME_BYTES);
}

static bool is_range(const char *text)
{
	return consists_of(text, NAME_BYTES ".+~:<>= ") && text[strspn(text, " ")];
}

static bool is_link(const char *text)
{
	return strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0;
}

static bool is_reset_method(const char *text)
{
	return consists_of(text, "abcdefghijklmnopqrstuvwxyz0123456789_ ");
}

/* A number of exactly four hexadecimal digits at the start of @text. */
static int parse_half(const char *text, uint16_t *ret)
{
	const char *end = text;
	unsigned long long value;

	if (parse_leading(&end, 16, UINT16_MAX, &value) < 0 || end != text + 4)
		return -EINVAL;
	*ret = (uint16_t)value;
	return 0;
}

int quirk_id_parse(const char *text, struct quirk_id *ret)
{
	struct quirk_id id = {.last = UINT16_MAX};
	const char *rest = text + 5;

	if (parse_half(text, &id.vendor) < 0 || text[4] != ':')
		return -EINVAL;
	if (strcmp(rest, "*") != 0) {
		if (parse_half(rest, &id.first) < 0)
			return -EINVAL;
		id.last = id.first;
		rest += 4;
		if (*rest == '-' && (parse_half(rest + 1, &id.last) < 0 || rest[5]))
			return -EINVAL;
		if ((*rest && *rest != '-') || id.last < id.first)
			return -EINVAL;
	}
	*ret = id;
	return 0;
}

/* ---- the members of an entry */

static int refuse_member(const struct reader *reader, const config_setting_t *place)
{
	return refuse(reader, place, "'%s' must be %s", reader->member->name, reader->member->hint);
}

static int read_text(const struct reader *reader, const config_setting_t *place, void *field)
{
	const char *text = config_setting_get_string(place);

	if (!text || !*text || strlen(text) > TEXT_MAX ||
		(reader->member->fits && !reader->member->fits(text)))
		return refuse_member(reader, place);
	return text_replace(field, text) < 0 ? no_memory(reader) : 0;
}

/* Calls @add for a text, or for each of a list of texts. */
static int read_each(const struct reader *reader, const config_setting_t *place, void *field,
	int (*add)(const char *text, void *field))
{
	int count = config_setting_is_array(place) || config_setting_is_list(place)
		? config_setting_length(place)
		: -1;

	if (count == 0)
		return refuse_member(reader, place);
	for (int i = 0; i < (count < 0 ? 1 : count); i++) {
		const config_setting_t *item =
			count < 0 ? place : config_setting_get_elem(place, (unsigned int)i);
		const char *text = config_setting_get_string(item);
		int r = text ? add(text, field) : -EINVAL;

		if (r < 0)
			return r == -ENOMEM ? no_memory(reader) : refuse_member(reader, item);
	}
	return 0;
}

static int add_id(const char *text, void *field)
{
	struct quirk_ids *ids = field;
	struct quirk_id id;
	struct quirk_id *added;

	if (quirk_id_parse(text, &id) < 0)
		return -EINVAL;
	added = LIST_ADD(ids->items, ids->count);
	if (!added)
		return -ENOMEM;
	*added = id;
	return 0;
}

static int read_ids(const struct reader *reader, const config_setting_t *place, void *field)
{
	return read_each(reader, place, field, add_id);
}

static int add_range(const char *text, void *field)
{
	return is_range(text) ? names_add(field, text) : -EINVAL;
}

static int read_ranges(const struct reader *reader, const config_setting_t *place, void *field)
{
	return read_each(reader, place, field, add_range);
}

static int read_yes(const struct reader *reader, const config_setting_t *place, void *field)
{
	if (config_setting_type(place) != CONFIG_TYPE_BOOL)
		return refuse_member(reader, place);
	*(bool *)field = config_setting_get_bool(place);
	return 0;
}

static int read_milliseconds(
	const struct reader *reader, const config_setting_t *place, void *field)
{
	long long value = 0;

	if (config_setting_type(place) == CONFIG_TYPE_INT)
		value = config_setting_get_int(place);
	if (value < 1 || value > DEADLINE_MS_MAX)
		return refuse_member(reader, place);
	*(unsigned int *)field = (unsigned int)value;
	return 0;
}

#define SENTENCE "a text of at most 400 bytes"
#define NAME "a name of letters, digits, '.', '_' and '-'"
#define RANGES "versions like \">=6.14.2 <6.14.4 -pve\", or a list of them"

static const struct member members[] = {
	{"name", offsetof(struct quirk, name), read_text, is_name, NAME},
	{"source", offsetof(struct quirk, source), read_text, is_link, "a link, https://…"},
	{"ids", offsetof(struct quirk, ids), read_ids, NULL,
		"a list of ids like \"10de:2704\", \"10de:2b00-2bff\" or \"10de:*\""},
	{"beside", offsetof(struct quirk, beside), read_ids, NULL,
		"a list of ids like \"10de:22a3\""},
	{"class", offsetof(struct quirk, class_code), read_text, is_class,
		"the two or four digits that a class begins with, like \"03\""},
	{"virtual", offsetof(struct quirk, is_virtual), read_yes, NULL, "true or false"},
	{"driver", offsetof(struct quirk, driver), read_text, is_name, NAME},
	{"driver_version", offsetof(struct quirk, driver_versions), read_ranges, NULL, RANGES},
	{"module", offsetof(struct quirk, module), read_text, is_name, NAME},
	{"unless_parameter", offsetof(struct quirk, unless_parameter), read_text, is_parameter,
		"a parameter of the module and its value, like \"modeset=N\""},
	{"kernel", offsetof(struct quirk, kernels), read_ranges, NULL, RANGES},
	{"notice", offsetof(struct quirk, notice), read_text, NULL, SENTENCE},
	{"warning", offsetof(struct quirk, warning), read_text, NULL, SENTENCE},
	{"blocker", offsetof(struct quirk, blocker), read_text, NULL, SENTENCE},
	{"unload", offsetof(struct quirk, unload), read_text, NULL, SENTENCE},
	{"fix", offsetof(struct quirk, fix), read_text, NULL, SENTENCE},
	{"reset_method", offsetof(struct quirk, reset_method), read_text, is_reset_method,
		"the kernel's reset methods with a space between them, like \"flr bus\""},
	{"deadline_ms", offsetof(struct quirk, deadline_ms), read_milliseconds, NULL,
		"a whole number of milliseconds, 1 to 3600000"},
	{"waits_forever", offsetof(struct quirk, waits_forever), read_yes, NULL, "true or false"},
};

static const struct member *member_find(const char *name)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	}
	return NULL;
}

static int read_members(
	const struct reader *reader, const config_setting_t *group, struct quirk *quirk)
{
	int r = 0;

	for (int i = 0; r == 0 && i < config_setting_length(group); i++) {
		const config_setting_t *place = config_setting_get_elem(group, (unsigned int)i);
		const struct member *member = member_find(config_setting_name(place));
		const struct reader here = {
			.file = reader->file, .member = member, .error = reader->error};

		if (!member)
			return refuse(reader, place, "a quirk has no '%s' (see gpu-ferry.conf(5))",
				config_setting_name(place));
		r = member->read(&here, place, (char *)quirk + member->offset);
	}
	return r;
}

/* ---- an entry */

static bool has_match(const struct quirk *quirk)
{
	return quirk->ids.count || quirk->class_code || quirk->is_virtual || quirk->driver ||
		quirk->module || quirk->kernels.count;
}

static bool has_effect(const struct quirk *quirk)
{
	return quirk->notice || quirk->warning || quirk->blocker || quirk->unload ||
		quirk->reset_method || quirk->deadline_ms || quirk->waits_forever;
}

/* A name alone switches an earlier entry off. */
static int check_entry(
	const struct reader *reader, const config_setting_t *group, const struct quirk *quirk)
{
	if (!quirk->name)
		return refuse(reader, group, "a quirk has no 'name'");
	if (has_effect(quirk) && !has_match(quirk))
		return refuse(
			reader, group, "the quirk '%s' does not say what it is about", quirk->name);
	if (has_match(quirk) && !has_effect(quirk))
		return refuse(
			reader, group, "the quirk '%s' does not say what follows", quirk->name);
	if ((quirk->driver_versions.count || quirk->unload) && !quirk->driver)
		return refuse(reader, group,
			"the quirk '%s' needs a 'driver' for its driver_version or unload",
			quirk->name);
	if (quirk->unless_parameter && !quirk->module)
		return refuse(reader, group,
			"the quirk '%s' needs a 'module' for its unless_parameter", quirk->name);
	return 0;
}

static struct quirk *find_name(const struct quirks *quirks, const char *name)
{
	for (size_t i = 0; i < quirks->count; i++) {
		if (strcmp(quirks->items[i].name, name) == 0)
			return &quirks->items[i];
	}
	return NULL;
}

static int read_entry(
	const struct reader *reader, const config_setting_t *group, struct quirks *quirks)
{
	struct quirk *quirk;
	int r;

	if (!config_setting_is_group(group))
		return refuse(reader, group, "each quirk must be { name = \"…\"; … }");
	quirk = LIST_ADD(quirks->items, quirks->count);
	if (!quirk ||
		asprintf(&quirk->place, "%s:%u", reader->file, config_setting_source_line(group)) <
			0)
		return no_memory(reader);
	r = read_members(reader, group, quirk);
	if (r == 0)
		r = check_entry(reader, group, quirk);
	if (r == 0 && find_name(quirks, quirk->name) != quirk)
		r = refuse(reader, group, "there are two quirks with the name '%s'", quirk->name);
	return r;
}

static int read_entries(const struct reader *reader, const config_t *config, struct quirks *quirks)
{
	const config_setting_t *root = config_root_setting(config);
	int r = 0;

	for (int i = 0; r == 0 && i < config_setting_length(root); i++) {
		const config_setting_t *list = config_setting_get_elem(root, (unsigned int)i);

		if (strcmp(config_setting_name(list), "quirks") != 0)
			return refuse(reader, list, "there is no '%s' here, only 'quirks'",
				config_setting_name(list));
		if (!config_setting_is_list(list))
			return refuse(reader, list, "'quirks' must be a list, ( { … }, … )");
		for (int k = 0; r == 0 && k < config_setting_length(list); k++)
			r = read_entry(
				reader, config_setting_get_elem(list, (unsigned int)k), quirks);
	}
	return r;
}

/* Moves the entries of one file to all; one of the same name is replaced. */
static int merge(const struct reader *reader, struct quirks *file, struct quirks *quirks)
{
	for (size_t i = 0; i < file->count; i++) {
		struct quirk *place = find_name(quirks, file->items[i].name);

		if (place)
			quirk_done(place);
		else
			place = LIST_ADD(quirks->items, quirks->count);
		if (!place)
			return no_memory(reader);
		*place = file->items[i];
		file->items[i] = (struct quirk){0};
	}
	return 0;
}

int quirks_parse(const char *text, const char *name, struct quirks *quirks, struct error *error)
{
	const struct reader reader = {.file = name, .error = error};
	cleanup(quirks_done) struct quirks file = {0};
	cleanup(config_destroy) config_t config;
	int r = config_text_parse(text, name, &config, error);

	if (r == 0)
		r = read_entries(&reader, &config, &file);
	return r < 0 ? r : merge(&reader, &file, quirks);
}

/* ---- the files */

static int add_problem(
	struct quirks *quirks, const char *path, const struct error *why, struct error *error)
{
	struct quirk_problem *problem = NULL;

	if (why->status != -ENOMEM)
		problem = LIST_ADD(quirks->problems, quirks->problem_count);
	if (!problem || asprintf(&problem->path, "/%s", path) < 0)
		return error_set_errno(error, -ENOMEM, "read /%s", path);
	problem->why = *why;
	return 0;
}

/* A file of which any part is wrong is a problem, and adds nothing. */
static int add_file(
	const struct root *root, const char *path, struct quirks *quirks, struct error *error)
{
	char name[PATH_MAX];
	auto_free char *text = NULL;
	struct error why = {0};
	int r = config_text_read(root, path, &text, &why);

	snprintf(name, sizeof(name), "/%s", path);
	if (r == 0)
		r = quirks_parse(text, name, quirks, &why);
	return r < 0 ? add_problem(quirks, path, &why, error) : 0;
}

static bool is_config_file(const char *name)
{
	size_t length = strlen(name);

	return *name != '.' && length > 5 && strcmp(name + length - 5, ".conf") == 0;
}

static int add_folder(const struct root *root, struct quirks *quirks, struct error *error)
{
	cleanup(names_done) struct names names = {0};
	int r = folder_list(root, QUIRKS_FOLDER, &names);

	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		struct error why = {0};

		error_set_errno(&why, r, "list /" QUIRKS_FOLDER);
		return add_problem(quirks, QUIRKS_FOLDER, &why, error);
	}
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		char path[PATH_MAX];

		if (!is_config_file(names.names[i]))
			continue;
		snprintf(path, sizeof(path), "%s/%s", QUIRKS_FOLDER, names.names[i]);
		r = add_file(root, path, quirks, error);
	}
	return r;
}

int quirks_read(const struct root *root, struct quirks *ret, struct error *error)
{
	int r = add_file(root, QUIRKS_PATH, ret, error);

	return r < 0 ? r : add_folder(root, ret, error);
}

/* ---- matching */

bool quirk_ids_have(const struct quirk_ids *ids, const struct quirk_device *device)
{
	for (size_t i = 0; i < ids->count; i++) {
		const struct quirk_id *id = &ids->items[i];

		if (device->vendor_id == id->vendor && device->device_id >= id->first &&
			device->device_id <= id->last)
			return true;
	}
	return !ids->count;
}

static bool class_begins_with(const char *start, uint16_t class_code)
{
	return !start ||
		strtoul(start, NULL, 16) == (strlen(start) == 2 ? class_code >> 8U : class_code);
}

bool quirk_is_about(const struct quirk *quirk, const struct quirk_device *device)
{
	return has_match(quirk) && quirk_ids_have(&quirk->ids, device) &&
		(!quirk->is_virtual || device->is_virtual) &&
		(!quirk->driver || strcmp(quirk->driver, device->driver) == 0) &&
		class_begins_with(quirk->class_code, device->class_code);
}

/* One word of a range. */
static bool word_matches(const char *word, const char *version)
{
	if (strncmp(word, ">=", 2) == 0)
		return strverscmp(version, word + 2) >= 0;
	if (*word == '<')
		return strverscmp(version, word + 1) < 0;
	return strstr(version, word);
}

static bool range_matches(const char *range, const char *version)
{
	char copy[64];
	char *rest = copy;
	char *word;

	snprintf(copy, sizeof(copy), "%s", range);
	while ((word = strsep(&rest, " "))) {
		if (*word && !word_matches(word, version))
			return false;
	}
	return true;
}

bool quirk_version_matches(const struct names *ranges, const char *version)
{
	for (size_t i = 0; i < ranges->count; i++) {
		if (range_matches(ranges->names[i], version))
			return true;
	}
	return !ranges->count;
}
