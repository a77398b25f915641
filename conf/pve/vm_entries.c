/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A list of the keys and values of a VM's config, each key once. */

#include "vm_entries.h"

#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct vm_config_entry *vm_entry_find(
	struct vm_config_entry *entries, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(entries[i].key, key) == 0)
			return &entries[i];
	}
	return NULL;
}

static int entry_add(
	struct vm_config_entry **entries, size_t *count, const char *key, const char *value)
{
	struct vm_config_entry *entry = LIST_ADD(*entries, *count);

	if (!entry)
		return -ENOMEM;
	*entry = (struct vm_config_entry){.key = strdup(key), .value = strdup(value)};
	return entry->key && entry->value ? 0 : -ENOMEM;
}

int vm_entry_set(
	struct vm_config_entry **entries, size_t *count, const char *key, const char *value)
{
	struct vm_config_entry *entry = vm_entry_find(*entries, *count, key);

	return entry ? text_replace(&entry->value, value) : entry_add(entries, count, key, value);
}

void vm_entries_free(struct vm_config_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(entries[i].key);
		free(entries[i].value);
	}
	free(entries);
}
