/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads structs from JSON and writes them, by a table of their fields. */

#include "record.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

static void put_object(struct json_object **object)
{
	json_object_put(*object);
}

#define auto_json cleanup(put_object)

static int refuse(const struct record_field *field, const char *what, struct error *error)
{
	return error_set(error, -EBADMSG, "the field '%s' %s", field->key, what);
}

static int no_memory(struct error *error)
{
	return error_set_errno(error, -ENOMEM, "read or write a record");
}

static void *place_of(void *record, size_t offset)
{
	return (char *)record + offset;
}

static const void *constant_place_of(const void *record, size_t offset)
{
	return (const char *)record + offset;
}

/* ---- integers of any size */

static void store(void *place, size_t size, uint64_t number)
{
	const uint16_t small = (uint16_t)number;
	const uint32_t middle = (uint32_t)number;

	if (size == sizeof(small))
		memcpy(place, &small, sizeof(small));
	else if (size == sizeof(middle))
		memcpy(place, &middle, sizeof(middle));
	else
		memcpy(place, &number, sizeof(number));
}

static uint64_t load(const void *place, size_t size)
{
	uint16_t small;
	uint32_t middle;
	uint64_t number;

	if (size == sizeof(small)) {
		memcpy(&small, place, sizeof(small));
		return small;
	}
	if (size == sizeof(middle)) {
		memcpy(&middle, place, sizeof(middle));
		return middle;
	}
	memcpy(&number, place, sizeof(number));
	return number;
}

/* ---- reading */

/* A text without NUL; the C library's functions would take no more than what stands before it. */
static int get_text(const struct record_field *field, struct json_object *value, const char **ret,
	struct error *error)
{
	const char *text = json_object_get_string(value);

	if (!json_object_is_type(value, json_type_string))
		return refuse(field, "is not text", error);
	if (strlen(text) != (size_t)json_object_get_string_len(value))
		return refuse(field, "contains a NUL byte", error);
	*ret = text;
	return 0;
}

static int read_text(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	const char *text;
	int r = get_text(field, value, &text, error);

	if (r < 0)
		return r;
	if (strlen(text) >= field->size)
		return refuse(field, "is too long", error);
	strcpy(place_of(record, field->offset), text);
	return 0;
}

static int read_string(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	const char *text;
	char *copy;
	int r = get_text(field, value, &text, error);

	if (r < 0)
		return r;
	copy = strdup(text);
	if (!copy)
		return no_memory(error);
	memcpy(place_of(record, field->offset), &copy, sizeof(copy));
	return 0; /* cppcheck-suppress memleak ; the record has it */
}

static int read_number(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	int64_t number = json_object_get_int64(value);

	if (!json_object_is_type(value, json_type_int) || number < field->minimum ||
		number > field->maximum)
		return refuse(field, "is not a number in its range", error);
	store(place_of(record, field->offset), field->size, (uint64_t)number);
	return 0;
}

static int read_hex(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	unsigned long long number;
	const char *text;
	int r = get_text(field, value, &text, error);

	if (r < 0)
		return r;
	if (strlen(text) != 2 * field->size || parse_unsigned(text, 16, UINT64_MAX, &number) < 0)
		return refuse(field, "is not a hexadecimal number of its length", error);
	store(place_of(record, field->offset), field->size, number);
	return 0;
}

static int read_choice(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	const char *text;
	int r = get_text(field, value, &text, error);

	for (size_t i = 0; r == 0 && i < field->name_count; i++) {
		if (strcmp(text, field->names[i]) == 0) {
			store(place_of(record, field->offset), field->size, i);
			return 0;
		}
	}
	return r < 0 ? r
		     : error_set(error, -EBADMSG, "the field '%s' is unknown: '%.80s'", field->key,
			       text);
}

static int read_fields(const struct record_format *format, struct json_object *object, void *record,
	struct error *error);

static int read_object(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	return read_fields(field->format, value, place_of(record, field->offset), error);
}

static int check_list(
	const struct record_field *field, struct json_object *value, struct error *error)
{
	if (!json_object_is_type(value, json_type_array))
		return refuse(field, "is not a list", error);
	if (json_object_array_length(value) > RECORD_LIST_MAX)
		return refuse(field, "is too long", error);
	return 0;
}

static int read_list(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	size_t *count = place_of(record, field->count);
	int r = check_list(field, value, error);
	size_t length = r == 0 ? json_object_array_length(value) : 0;
	char *items = length ? calloc(length, field->format->size) : NULL;

	if (length && !items)
		return no_memory(error);
	memcpy(place_of(record, field->offset), &items, sizeof(items));
	while (r == 0 && *count < length) {
		struct json_object *item = json_object_array_get_idx(value, *count);
		void *place = items + *count * field->format->size;

		/* counted before it is read: what it then has is freed with the others */
		++*count;
		r = read_fields(field->format, item, place, error);
		if (r < 0)
			error_wrap(error, r, "%s, item %zu", field->key, *count);
	}
	return r;
}

static int read_names(const struct record_field *field, struct json_object *value, void *record,
	struct error *error)
{
	struct names *names = place_of(record, field->offset);
	int r = check_list(field, value, error);
	size_t length = r == 0 ? json_object_array_length(value) : 0;

	for (size_t i = 0; r == 0 && i < length; i++) {
		const char *text;

		r = get_text(field, json_object_array_get_idx(value, i), &text, error);
		if (r == 0 && names_add(names, text) < 0)
			r = no_memory(error);
	}
	return r;
}

/* ---- writing: 0, and a value that may be NULL (null); or negative with @error set */

static int give(struct json_object *value, struct json_object **ret, struct error *error)
{
	*ret = value;
	return value ? 0 : no_memory(error);
}

static int out_of_range(const struct record_field *field, struct error *error)
{
	return error_set(error, -ERANGE, "the field '%s' is out of its range", field->key);
}

static int write_text(const struct record_field *field, const void *record,
	struct json_object **ret, struct error *error)
{
	const char *text = constant_place_of(record, field->offset);

	return give(json_object_new_string(text), ret, error);
}

static int write_string(const struct record_field *field, const void *record,
	struct json_object **ret, struct error *error)
{
	const char *text;

	memcpy(&text, constant_place_of(record, field->offset), sizeof(text));
	return text ? give(json_object_new_string(text), ret, error) : 0;
}

static int write_number(const struct record_field *field, const void *record,
	struct json_object **ret, struct error *error)
{
	int64_t number = (int64_t)load(constant_place_of(record, field->offset), field->size);

	if (field->minimum < 0 && field->size == sizeof(int32_t))
		number = (int32_t)number;
	if (number < field->minimum || number > field->maximum)
		return out_of_range(field, error);
	return give(json_object_new_int64(number), ret, error);
}

static int write_hex(const struct record_field *field, const void *record, struct json_object **ret,
	struct error *error)
{
	uint64_t number = load(constant_place_of(record, field->offset), field->size);
	char text[2 * sizeof(number) + 1];

	snprintf(text, sizeof(text), "%0*llx", (int)(2 * field->size), (unsigned long long)number);
	return give(json_object_new_string(text), ret, error);
}

static int write_choice(const struct record_field *field, const void *record,
	struct json_object **ret, struct error *error)
{
	uint64_t index = load(constant_place_of(record, field->offset), field->size);

	if (index >= field->name_count)
		return out_of_range(field, error);
	return give(json_object_new_string(field->names[index]), ret, error);
}

static int write_fields(const struct record_format *format, const void *record,
	struct json_object **ret, struct error *error);

static int write_object(const struct record_field *field, const void *record,
	struct json_object **ret, struct error *error)
{
	return write_fields(field->format, constant_place_of(record, field->offset), ret, error);
}

/* Hands @value over to the list. */
static int append(struct json_object *list, struct json_object *value, struct error *error)
{
	if (json_object_array_add(list, value) == 0)
		return 0;
	json_object_put(value);
	return no_memory(error);
}

static int write_list(const struct record_field *field, const void *record,
	struct json_object **ret, struct error *error)
{
	const size_t *count = constant_place_of(record, field->count);
	const char *items;
	int r = *count > RECORD_LIST_MAX ? out_of_range(field, error) : 0;

	memcpy(&items, constant_place_of(record, field->offset), sizeof(items));
	if (r == 0)
		r = give(json_object_new_array(), ret, error);
	for (size_t i = 0; r == 0 && i < *count; i++) {
		struct json_object *item = NULL;

		r = write_fields(field->format, items + i * field->format->size, &item, error);
		if (r == 0)
			r = append(*ret, item, error);
	}
	return r;
}

static int write_names(const struct record_field *field, const void *record,
	struct json_object **ret, struct error *error)
{
	const struct names *names = constant_place_of(record, field->offset);
	int r = names->count > RECORD_LIST_MAX ? out_of_range(field, error) : 0;

	if (r == 0)
		r = give(json_object_new_array(), ret, error);
	for (size_t i = 0; r == 0 && i < names->count; i++) {
		struct json_object *item = NULL;

		r = give(json_object_new_string(names->names[i]), &item, error);
		if (r == 0)
			r = append(*ret, item, error);
	}
	return r;
}

/* ---- all types */

static const struct {
	bool always_there;
	int (*read)(const struct record_field *field, struct json_object *value, void *record,
		struct error *error);
	int (*write)(const struct record_field *field, const void *record, struct json_object **ret,
		struct error *error);
} types[] = {
	[RECORD_TEXT] = {false, read_text, write_text},
	[RECORD_STRING] = {false, read_string, write_string},
	[RECORD_NUMBER] = {true, read_number, write_number},
	[RECORD_HEX] = {true, read_hex, write_hex},
	[RECORD_CHOICE] = {true, read_choice, write_choice},
	[RECORD_OBJECT] = {false, read_object, write_object},
	[RECORD_LIST] = {true, read_list, write_list},
	[RECORD_NAMES] = {true, read_names, write_names},
};

static bool is_there(const struct record_field *field, const void *record)
{
	return !field->is_there || field->is_there(record);
}

static int read_field(const struct record_field *field, struct json_object *object, void *record,
	struct error *error)
{
	struct json_object *value = NULL;
	bool found = json_object_object_get_ex(object, field->key, &value);

	if (value)
		return types[field->type].read(field, value, record, error);
	if ((found && field->type == RECORD_STRING) ||
		!(field->required || types[field->type].always_there) || !is_there(field, record))
		return 0;
	return refuse(field, "is missing", error);
}

static int read_fields(const struct record_format *format, struct json_object *object, void *record,
	struct error *error)
{
	int r = 0;

	if (!json_object_is_type(object, json_type_object))
		return error_set(error, -EBADMSG, "it is not a JSON object");
	for (size_t i = 0; r == 0 && i < format->count; i++)
		r = read_field(&format->fields[i], object, record, error);
	if (r == 0 && format->record) {
		json_object_get(object);
		memcpy(place_of(record, format->record), &object, sizeof(object));
	}
	return r;
}

static int check_schema(
	const struct record_format *format, struct json_object *object, struct error *error)
{
	const struct record_field field = {.key = "schema",
		.type = RECORD_NUMBER,
		.size = sizeof(int),
		.minimum = 1,
		.maximum = INT32_MAX};
	int schema = 0;
	int r = format->schema ? read_field(&field, object, &schema, error) : 0;

	if (r == 0 && schema > format->schema)
		return error_set(error, -EPROTONOSUPPORT,
			"it was written by a newer gpu-ferry (schema %d, this one knows %d): "
			"install the newer one again",
			schema, format->schema);
	return r;
}

int record_parse(
	const struct record_format *format, const char *text, void *ret, struct error *error)
{
	auto_json struct json_object *object = json_tokener_parse(text);
	auto_json struct json_object *again = json_tokener_parse(text);
	int r;

	/* json-c 0.16 leaves out what it has no memory for, and says nothing: a step that was read
	 * away would never be undone */
	if (!json_object_equal(object, again))
		return no_memory(error);
	if (!json_object_is_type(object, json_type_object))
		return error_set(error, -EBADMSG, "it is not a JSON object");
	r = check_schema(format, object, error);
	if (r == 0)
		r = read_fields(format, object, ret, error);
	return r == 0 && format->check ? format->check(ret, error) : r;
}

int record_read_file(const struct root *root, const char *path, const struct record_format *format,
	char **ret_text, struct error *error)
{
	const struct file_read_options options = {
		.max = format->max, .require_owner = true, .refuse_nul = true};

	return file_read(root, path, &options, ret_text, NULL, error);
}

/* What was read, so that the fields that the table does not have go back into the file. */
static int copy_known(const struct record_format *format, const void *record,
	struct json_object **ret, struct error *error)
{
	struct json_object *known = NULL;

	if (format->record)
		memcpy(&known, constant_place_of(record, format->record), sizeof(known));
	if (!known)
		return give(json_object_new_object(), ret, error);
	return json_object_deep_copy(known, ret, NULL) < 0 ? no_memory(error) : 0;
}

static int write_field(const struct record_field *field, const void *record,
	struct json_object *object, struct error *error)
{
	auto_json struct json_object *value = NULL;
	int r = 0;

	if (is_there(field, record)) {
		r = types[field->type].write(field, record, &value, error);
	} else if (field->type != RECORD_OBJECT) {
		json_object_object_del(object, field->key);
		return 0;
	}
	if (r == 0 && json_object_object_add(object, field->key, value) < 0)
		r = no_memory(error);
	if (r == 0)
		value = NULL;
	return r;
}

static int write_fields(const struct record_format *format, const void *record,
	struct json_object **ret, struct error *error)
{
	auto_json struct json_object *object = NULL;
	int r = copy_known(format, record, &object, error);

	if (r == 0 && format->schema) {
		struct json_object *schema = json_object_new_int(format->schema);

		r = schema && json_object_object_add(object, "schema", schema) == 0
			? 0
			: no_memory(error);
		if (r < 0)
			json_object_put(schema);
	}
	for (size_t i = 0; r == 0 && i < format->count; i++)
		r = write_field(&format->fields[i], record, object, error);
	if (r == 0)
		*ret = TAKE_PTR(object);
	return r;
}

int record_write(const struct record_format *format, const void *record, char **ret_text,
	struct error *error)
{
	auto_json struct json_object *object = NULL;
	char *copy = NULL;
	const char *text;
	int r = format->check ? format->check(record, error) : 0;

	if (r == 0)
		r = write_fields(format, record, &object, error);
	if (r < 0)
		return r;
	/* json-c leaves out what it has no memory for, and only errno says so. The text is not read
	 * back to find that out: at one place in six where its reader may lack memory, json-c 0.16
	 * crashes. What a reader checks is checked here, too. */
	errno = 0;
	text = json_object_to_json_string_ext(
		object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (!text || errno == ENOMEM || asprintf(&copy, "%s\n", text) < 0)
		return no_memory(error);
	if (strlen(copy) > format->max) {
		r = error_set(error, -EFBIG, "the record would have %zu bytes, more than %zu",
			strlen(copy), format->max);
		free(copy);
		return r;
	}
	*ret_text = copy;
	return 0;
}
