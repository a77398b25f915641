/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads Proxmox's property strings: "01:00,pcie=1,x-vga=on". Source: PVE/JSONSchema.pm,
 * parse_property_string, with its oddities: a blank part is ignored, a blank beside a comma belongs
 * to the name or the value, a value may hold "=", and after a default value of "0" another one may
 * follow. */

#include "kmod-helper/base/error.h"
#include <stdbool.h>
#include <stddef.h>

#define PROPERTY_MAX 16

enum property_type {
	PROPERTY_STRING,
	PROPERTY_BOOLEAN,
	PROPERTY_INTEGER,
	PROPERTY_NUMBER,
};

struct property_rule {
	const char *name;
	const char *alias_of; /* an alias: stored and checked as the rule of this name */
	enum property_type type;
	bool is_default; /* takes the part without a "name=" */
	bool required;
	bool (*fits)(const char *value); /* NULL: anything */
	const char *pattern;		 /* POSIX extended, with its own ^ and $; NULL: anything */
	const char *const *values; /* the only ones allowed, NULL at the end; NULL: anything */
	size_t max_length;	   /* bytes; 0: no limit */
	double minimum, maximum;   /* both 0: no limits */
};

/* At most PROPERTY_MAX rules. */
struct property_format {
	const struct property_rule *rules;
	size_t count;
};

struct property_set {
	const struct property_format *format;
	char *text;			  /* what the values point into */
	const char *values[PROPERTY_MAX]; /* by rule; NULL: not given */
};

/* Reads @text by @format. A boolean is stored as "0" or "1". Returns 0, -ENOMEM, or -EINVAL where
 * Proxmox rejects the whole string. @ret is untouched on failure; free with property_set_done. */
int property_parse(const struct property_format *format, const char *text, struct property_set *ret,
	struct error *error);
void property_set_done(struct property_set *set);

/* The value as given, or NULL. It lives as long as @set. */
const char *property_get(const struct property_set *set, const char *name);

/* True when the boolean is given and true. */
bool property_is_true(const struct property_set *set, const char *name);

/* True when @text matches the POSIX extended regular expression @pattern. For what each start of a
 * VM reads, a function that knows the form takes a hundredth of the time. */
bool pattern_matches(const char *pattern, const char *text);

/* PVE/JSONSchema.pm, $CONFIGID_RE, ^[a-zA-Z][a-zA-Z0-9_-]+$: snapshots, mappings. */
bool is_config_id(const char *text);

/* As Proxmox's parse_boolean: "1" for 1, on, yes and true, "0" for 0, off, no and false, in upper
 * or lower case. Anything else is returned unchanged. */
const char *boolean_normalise(const char *text);
