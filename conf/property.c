/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads Proxmox's property strings, such as "01:00,pcie=1". */

#include "property.h"

#include "kmod-helper/base/cleanup.h"
#include "text.h"
#include <errno.h>
#include <regex.h>
#include <string.h>
#include <strings.h>

struct property_parser {
	struct property_set set;
	bool default_seen;
	struct error *error;
};

bool pattern_matches(const char *pattern, const char *text)
{
	regex_t compiled;
	int r;

	if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	r = regexec(&compiled, text, 0, NULL, 0);
	regfree(&compiled);
	return r == 0;
}

bool is_config_id(const char *text)
{
	return strspn(text, TEXT_LETTERS) > 0 && text[1] != '\0' &&
		text[strspn(text, TEXT_LETTERS TEXT_DIGITS "_-")] == '\0';
}

static bool is_integer(const char *text)
{
	if (*text == '+' || *text == '-')
		text++;
	return *text != '\0' && text[strspn(text, TEXT_DIGITS)] == '\0';
}

static bool is_in(
	const char *const *list, const char *text, int (*compare)(const char *, const char *))
{
	for (; *list; list++) {
		if (compare(*list, text) == 0)
			return true;
	}
	return false;
}

const char *boolean_normalise(const char *text)
{
	static const char *const yes[] = {"1", "on", "yes", "true", NULL};
	static const char *const no[] = {"0", "off", "no", "false", NULL};

	if (is_in(yes, text, strcasecmp))
		return "1";
	if (is_in(no, text, strcasecmp))
		return "0";
	return text;
}

static const struct property_rule *rule_find(const struct property_format *format, const char *name)
{
	for (size_t i = 0; i < format->count; i++) {
		if (strcmp(format->rules[i].name, name) == 0)
			return &format->rules[i];
	}
	return NULL;
}

static const struct property_rule *rule_find_default(const struct property_format *format)
{
	for (size_t i = 0; i < format->count; i++) {
		if (format->rules[i].is_default)
			return &format->rules[i];
	}
	return NULL;
}

static const char **value_of(struct property_set *set, const struct property_rule *rule)
{
	return &set->values[rule - set->format->rules];
}

static void value_store(
	struct property_set *set, const struct property_rule *rule, const char *value)
{
	*value_of(set, rule) = rule->type == PROPERTY_BOOLEAN ? boolean_normalise(value) : value;
}

static int add_named(struct property_parser *parser, const char *name, const char *value)
{
	const struct property_rule *rule = rule_find(parser->set.format, name);

	if (rule && rule->alias_of)
		rule = rule_find(parser->set.format, rule->alias_of);
	if (!rule)
		return error_set(parser->error, -EINVAL, "unknown option '%s'", name);
	if (*value_of(&parser->set, rule))
		return error_set(parser->error, -EINVAL, "option '%s' is given twice", name);
	value_store(&parser->set, rule, value);
	return 0;
}

static int add_default(struct property_parser *parser, const char *value)
{
	const struct property_rule *rule = rule_find_default(parser->set.format);
	const char *present;

	if (!rule)
		return error_set(parser->error, -EINVAL, "'%s' is a value without a name", value);
	present = *value_of(&parser->set, rule);
	/* in Perl "0" is false, so it counts as not given */
	if (parser->default_seen || (present && strcmp(present, "0") != 0))
		return error_set(parser->error, -EINVAL, "'%s' is given twice", rule->name);
	parser->default_seen = true;
	value_store(&parser->set, rule, value);
	return 0;
}

static int add_part(struct property_parser *parser, char *part)
{
	char *equals = strchr(part, '=');

	if (text_is_blank(part))
		return 0;
	if (!equals)
		return add_default(parser, part);
	if (equals == part || equals[1] == '\0')
		return error_set(parser->error, -EINVAL, "'%s' has no name or no value", part);
	*equals = '\0';
	return add_named(parser, part, equals + 1);
}

static bool type_fits(const struct property_rule *rule, const char *value)
{
	switch (rule->type) {
	case PROPERTY_BOOLEAN:
		return strcmp(value, "0") == 0 || strcmp(value, "1") == 0;
	case PROPERTY_INTEGER:
		return is_integer(value);
	case PROPERTY_NUMBER:
		return pattern_matches(
			"^[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?$", value);
	case PROPERTY_STRING:
		break;
	}
	return true;
}

static bool range_fits(const struct property_rule *rule, const char *value)
{
	double number;

	if (rule->minimum == 0 && rule->maximum == 0)
		return true;
	number = strtod(value, NULL);
	return number >= rule->minimum && number <= rule->maximum;
}

static bool value_fits(const struct property_rule *rule, const char *value)
{
	return type_fits(rule, value) && range_fits(rule, value) &&
		(!rule->max_length || strlen(value) <= rule->max_length) &&
		(!rule->values || is_in(rule->values, value, strcmp)) &&
		(!rule->fits || rule->fits(value)) &&
		(!rule->pattern || pattern_matches(rule->pattern, value));
}

static int check_values(struct property_parser *parser)
{
	const struct property_format *format = parser->set.format;

	for (size_t i = 0; i < format->count; i++) {
		const struct property_rule *rule = &format->rules[i];
		const char *value = parser->set.values[i];

		if (!value && rule->required)
			return error_set(parser->error, -EINVAL, "'%s' is missing", rule->name);
		if (value && !value_fits(rule, value))
			return error_set(parser->error, -EINVAL,
				"'%s' is not a valid value of "
				"'%s'",
				value, rule->name);
	}
	return 0;
}

int property_parse(const struct property_format *format, const char *text, struct property_set *ret,
	struct error *error)
{
	cleanup(property_set_done) struct property_set copy = {.text = strdup(text)};
	struct property_parser parser = {.set = {.format = format}, .error = error};
	char *rest = copy.text;
	char *part;
	int r;

	if (!copy.text)
		return error_set_errno(error, -ENOMEM, "read the options '%s'", text);
	while ((part = strsep(&rest, ","))) {
		r = add_part(&parser, part);
		if (r < 0)
			return r;
	}
	r = check_values(&parser);
	if (r < 0)
		return r;
	*ret = parser.set;
	ret->text = TAKE_PTR(copy.text);
	return 0;
}

void property_set_done(struct property_set *set)
{
	free(set->text);
	*set = (struct property_set){0};
}

const char *property_get(const struct property_set *set, const char *name)
{
	const struct property_rule *rule = set->format ? rule_find(set->format, name) : NULL;

	return rule ? set->values[rule - set->format->rules] : NULL;
}

bool property_is_true(const struct property_set *set, const char *name)
{
	const char *value = property_get(set, name);

	return value && strcmp(value, "1") == 0;
}
