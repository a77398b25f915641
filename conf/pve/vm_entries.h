/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Keys and values of a VM's config and of each of its sections: a list with each key once. */

#include <stddef.h>

struct vm_config_entry {
	char *key;
	char *value;
};

/* NULL when the key is not there. */
struct vm_config_entry *vm_entry_find(
	struct vm_config_entry *entries, size_t count, const char *key);

/* Adds the key, or replaces its value. 0 or -ENOMEM; the caller must free the list even then. */
int vm_entry_set(
	struct vm_config_entry **entries, size_t *count, const char *key, const char *value);

void vm_entries_free(struct vm_config_entry *entries, size_t count);
