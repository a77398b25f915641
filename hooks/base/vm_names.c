/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads the names of VMs. */

#include "vm_names.h"

#include "conf/pve/vm_config.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include <string.h>

/* A name is not worth a long wait. */
#define DEADLINE_MS 1000

struct vm_name {
	unsigned int vmid;
	char *text; /* NULL: none */
};

static char *read_name(struct vm_names *names, const struct context *context, unsigned int vmid)
{
	const struct vm_config_read_options options = {.vmid = vmid, .deadline_ms = DEADLINE_MS};
	cleanup(vm_config_done) struct vm_config config = {0};
	struct error error = {0};
	const char *name = NULL;
	int r = vm_config_read(&context->kernel.root, &options, &config, &error);

	names->is_off = r == -ETIMEDOUT;
	if (r == 0)
		name = vm_config_get(&config, "name");
	return name ? strdup(name) : NULL;
}

static const char *find_name(
	struct vm_names *names, const struct context *context, unsigned int vmid)
{
	struct vm_name *item;

	for (size_t i = 0; i < names->count; i++) {
		if (names->items[i].vmid == vmid)
			return names->items[i].text;
	}
	item = names->is_off ? NULL : LIST_ADD(names->items, names->count);
	if (!item)
		return NULL;
	*item = (struct vm_name){.vmid = vmid, .text = read_name(names, context, vmid)};
	return item->text;
}

void vm_names_title(struct vm_names *names, const struct context *context, unsigned int vmid,
	char *buffer, size_t size)
{
	const char *name = find_name(names, context, vmid);

	snprintf(buffer, size, "VM %u%s%s%s", vmid, name ? " (" : "", name ? name : "",
		name ? ")" : "");
}

void vm_names_owner(struct vm_names *names, const struct context *context,
	const struct loan_owner *owner, char *buffer, size_t size)
{
	if (owner->kind == LOAN_OWNER_VM)
		vm_names_title(names, context, owner->vmid, buffer, size);
	else
		loan_owner_format(owner, buffer, size);
}

void vm_names_done(struct vm_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].text);
	free(names->items);
	*names = (struct vm_names){0};
}
