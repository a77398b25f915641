/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads what stands below a VM's config: pending changes and snapshots. */

#include "vm_sections.h"

#include "conf/property.h"
#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <string.h>
#include <strings.h>

#define PENDING "PENDING"

static void section_done(struct vm_section *section)
{
	vm_entries_free(section->entries, section->count);
	free(section->name);
	*section = (struct vm_section){0};
}

void vm_sections_done(struct vm_sections *sections)
{
	for (size_t i = 0; i < sections->count; i++)
		section_done(&sections->items[i]);
	free(sections->items);
	section_done(&sections->own);
	*sections = (struct vm_sections){0};
}

const char *vm_section_get(const struct vm_section *section, const char *key)
{
	const struct vm_config_entry *entry = vm_entry_find(section->entries, section->count, key);

	return entry ? entry->value : NULL;
}

static int section_add(struct vm_sections *sections, const char *name)
{
	struct vm_section *section = LIST_ADD(sections->items, sections->count);

	if (!section)
		return -ENOMEM;
	section->name = strdup(name);
	return section->name ? 0 : -ENOMEM;
}

/* ^\[NAME\]\s*$; NULL for any other line. */
static char *section_name(char *line)
{
	char *end = strchr(line, ']');

	if (line[0] != '[' || !end || !text_is_blank(end + 1))
		return NULL;
	*end = '\0';
	return line + 1;
}

/* ^([a-z][a-z_\-]*\d*):\s*(.+?)\s*$ */
static int line_read(struct vm_section *section, char *line)
{
	size_t length = strspn(line, "abcdefghijklmnopqrstuvwxyz_-");
	char *value;

	length += strspn(line + length, "0123456789");
	if (line[0] < 'a' || line[0] > 'z' || line[length] != ':')
		return 0;
	line[length] = '\0';
	value = text_trim(line + length + 1);
	return *value ? vm_entry_set(&section->entries, &section->count, line, value) : 0;
}

int vm_sections_parse(const char *text, size_t length, struct vm_sections *ret, struct error *error)
{
	cleanup(vm_sections_done) struct vm_sections sections = {0};
	auto_free char *copy = strndup(text, length);
	char *rest = copy;
	char *line;
	int r = copy ? 0 : -ENOMEM;

	while (r == 0 && (line = strsep(&rest, "\n"))) {
		const char *name = section_name(line);

		if (name)
			r = section_add(&sections, name);
		else
			r = line_read(sections.count ? &sections.items[sections.count - 1]
						     : &sections.own,
				line);
	}
	if (r < 0)
		return error_set_errno(error, r, "read a VM's config");
	*ret = sections;
	sections = (struct vm_sections){0};
	return 0;
}

bool vm_section_is_snapshot(const struct vm_section *section)
{
	return strcasecmp(section->name, PENDING) != 0 && is_config_id(section->name);
}

static const struct vm_section *pending_find(const struct vm_sections *sections)
{
	const char *name = sections->container ? "pve:pending" : PENDING;

	for (size_t i = 0; i < sections->count; i++) {
		if (strcasecmp(sections->items[i].name, name) == 0)
			return &sections->items[i];
	}
	return NULL;
}

/* delete: hostpci0,!net0 — the "!" asks for force. */
static bool is_deleted(const struct vm_section *pending, const char *key)
{
	const char *value = vm_section_get(pending, "delete");
	auto_free char *list = value ? strdup(value) : NULL;
	char *rest = NULL;

	for (char *part = list ? strtok_r(list, ",; \t", &rest) : NULL; part;
		part = strtok_r(NULL, ",; \t", &rest)) {
		if (strcmp(part + (*part == '!'), key) == 0)
			return true;
	}
	return false;
}

const char *vm_pending_get(const struct vm_sections *sections, const char *key, bool *ret_pending)
{
	const struct vm_section *pending = pending_find(sections);
	const char *value = pending ? vm_section_get(pending, key) : NULL;

	if (ret_pending)
		*ret_pending = value || (pending && is_deleted(pending, key));
	return value;
}
