/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Structs as JSON records, by a table of their fields. What is read may be anybody's: a field that
 * is missing, of the wrong type, out of its range or too long for its place is refused, with an
 * error that names it. Fields that the table does not have are kept, where the struct has a place
 * for the object that it was read from.
 */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_type {
	RECORD_TEXT,   /* char[]: a text; "" for null, or when it is missing */
	RECORD_STRING, /* char *: a text; NULL for null, or when it is missing */
	RECORD_NUMBER, /* an integer from `minimum` to `maximum`; always there */
	RECORD_HEX,    /* an unsigned integer: its hexadecimal digits, all of them; always there */
	RECORD_CHOICE, /* an enum: one of `names`; always there */
	RECORD_OBJECT, /* a struct of `format`; zeros for null, or when it is missing */
	RECORD_LIST,   /* a pointer to an array of structs of `format`; always there */
	RECORD_NAMES,  /* struct names: a list of texts; always there */
};

#define RECORD_LIST_MAX 4096 /* items; more are refused */

struct record_format;

struct record_field {
	const char *key;
	enum record_type type;
	size_t offset, size; /* RECORD_MEMBER */
	bool required;	     /* a text or object that is always there; a string, or null */
	int64_t minimum, maximum;
	const char *const *names;
	size_t name_count;
	const struct record_format *format;
	size_t count; /* RECORD_LIST: the offset of the number of its items, a size_t */
	/* False for a struct that does not have this field: then it is not written (as an object:
	 * null), and may be missing. NULL: every struct has it. */
	bool (*is_there)(const void *record);
};

struct record_format {
	const struct record_field *fields;
	size_t count;
	size_t size;   /* of the struct */
	size_t record; /* the offset of its struct json_object *; 0: it has none */
	int schema;    /* the number in its field "schema"; 0: it has no such field */
	size_t max;    /* bytes of its file: a larger one is neither read nor written */
	/* What else must be true of it, for it to be read or written: 0 or -EBADMSG. May be NULL.
	 */
	int (*check)(const void *record, struct error *error);
};

/* The place of a struct's member. */
#define RECORD_MEMBER(type, member)                                                                \
	.offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)

/* The names of a RECORD_CHOICE, from an array. */
#define RECORD_NAMED(array) .names = (array), .name_count = sizeof(array) / sizeof((array)[0])

/* The fields of a record_format, from an array. */
#define RECORD_FIELDS(array) .fields = (array), .count = sizeof(array) / sizeof((array)[0])

/* Reads the file of a record: file_read's errors, among them -EPERM when it is not root's alone. */
int record_read_file(const struct root *root, const char *path, const struct record_format *format,
	char **ret_text, struct error *error);

/* Reads the JSON object @text into @ret, a struct of zeros. 0, -ENOMEM, -EPROTONOSUPPORT when its
 * schema is newer than the format's, or -EBADMSG for what is no such record. On failure too, what
 * @ret has is the caller's to free. */
int record_parse(
	const struct record_format *format, const char *text, void *ret, struct error *error);

/* The text of @record, malloced: a whole one, which can be read again, so that it may replace the
 * one before. 0, -ENOMEM, or what a reader would refuse: -ERANGE for a number, a choice or a list,
 * -EFBIG for a text longer than the format's `max`, -EBADMSG from its `check`. */
int record_write(const struct record_format *format, const void *record, char **ret_text,
	struct error *error);
