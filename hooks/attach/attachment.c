/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads the record of what attach did for a VM, and compares a card with it. */

#include "attachment.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/record/record.h"
#include "snippet.h"
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)

void attachment_key_done(struct attachment_key *key)
{
	free(key->before);
	free(key->after);
	json_object_put(key->record);
}

void attachment_done(struct attachment *attachment)
{
	for (size_t i = 0; i < attachment->key_count; i++)
		attachment_key_done(&attachment->keys[i]);
	for (size_t i = 0; i < attachment->function_count; i++)
		json_object_put(attachment->functions[i].record);
	free(attachment->keys);
	free(attachment->functions);
	json_object_put(attachment->record);
	*attachment = (struct attachment){0};
}

/* ---- keys */

struct attachment_key *attachment_find_key(const struct attachment *attachment, const char *name)
{
	for (size_t i = 0; i < attachment->key_count; i++) {
		if (strcmp(attachment->keys[i].name, name) == 0)
			return &attachment->keys[i];
	}
	return NULL;
}

struct attachment_key *attachment_add_key(struct attachment *attachment, const char *name)
{
	struct attachment_key *key = LIST_ADD(attachment->keys, attachment->key_count);

	if (key)
		snprintf(key->name, sizeof(key->name), "%s", name);
	return key;
}

const char *attachment_chained(const struct attachment *attachment)
{
	const struct attachment_key *key = attachment_find_key(attachment, "hookscript");

	return key && !snippet_is_ours(key->before) ? key->before : NULL;
}

/* ---- functions */

struct attachment_function *attachment_find_function(
	const struct attachment *attachment, const char *address)
{
	for (size_t i = 0; i < attachment->function_count; i++) {
		if (strcmp(attachment->functions[i].address, address) == 0)
			return &attachment->functions[i];
	}
	return NULL;
}

struct attachment_function *attachment_add_function(struct attachment *attachment)
{
	return LIST_ADD(attachment->functions, attachment->function_count);
}

int attachment_check_function(const struct attachment *attachment,
	const struct pci_function *function, struct error *error)
{
	const struct attachment_function *known =
		attachment_find_function(attachment, function->address);

	if (!known ||
		(known->vendor_id == function->vendor_id &&
			known->device_id == function->device_id &&
			known->subsystem_vendor_id == function->subsystem_vendor_id &&
			known->subsystem_device_id == function->subsystem_device_id))
		return 0;
	return error_set(error, -ESTALE,
		"%s is %04x:%04x (subsystem %04x:%04x), but %04x:%04x (subsystem %04x:%04x) was "
		"attached: if this is intended, attach it again",
		function->address, function->vendor_id, function->device_id,
		function->subsystem_vendor_id, function->subsystem_device_id, known->vendor_id,
		known->device_id, known->subsystem_vendor_id, known->subsystem_device_id);
}

/* ---- as JSON */

static const struct record_field key_fields[] = {
	{"key", RECORD_TEXT, RECORD_MEMBER(struct attachment_key, name), .required = true},
	{"before", RECORD_STRING, RECORD_MEMBER(struct attachment_key, before), .required = true},
	{"after", RECORD_STRING, RECORD_MEMBER(struct attachment_key, after), .required = true},
};
static const struct record_format key_format = {RECORD_FIELDS(key_fields),
	.size = sizeof(struct attachment_key), .record = offsetof(struct attachment_key, record)};

#define ID(member)                                                                                 \
	{                                                                                          \
#member, RECORD_HEX, RECORD_MEMBER(struct attachment_function, member)             \
	}

static const struct record_field function_fields[] = {
	{"address", RECORD_TEXT, RECORD_MEMBER(struct attachment_function, address),
		.required = true},
	ID(vendor_id),
	ID(device_id),
	ID(subsystem_vendor_id),
	ID(subsystem_device_id),
};
static const struct record_format function_format = {RECORD_FIELDS(function_fields),
	.size = sizeof(struct attachment_function),
	.record = offsetof(struct attachment_function, record)};

static const struct record_field attachment_fields[] = {
	{"vmid", RECORD_NUMBER, RECORD_MEMBER(struct attachment, vmid), .maximum = VMID_MAX},
	{"since", RECORD_TEXT, RECORD_MEMBER(struct attachment, since), .required = true},
	{"keys", RECORD_LIST, RECORD_MEMBER(struct attachment, keys),
		.count = offsetof(struct attachment, key_count), .format = &key_format},
	{"functions", RECORD_LIST, RECORD_MEMBER(struct attachment, functions),
		.count = offsetof(struct attachment, function_count), .format = &function_format},
};
static bool is_line(const char *text)
{
	return !text || !strchr(text, '\n');
}

/* They become arguments of qm: each one line, and no option. */
static int check_keys(const struct attachment *attachment, struct error *error)
{
	for (size_t i = 0; i < attachment->key_count; i++) {
		const struct attachment_key *key = &attachment->keys[i];

		if (!key->name[0] || key->name[0] == '-' || !is_line(key->name))
			return error_set(error, -EBADMSG, "'%s' is not a key", key->name);
		if (!is_line(key->before) || !is_line(key->after))
			return error_set(
				error, -EBADMSG, "the key '%s' has more than one line", key->name);
		if (attachment_find_key(attachment, key->name) != key)
			return error_set(error, -EBADMSG, "the key '%s' is there twice", key->name);
	}
	return 0;
}

static int check_functions(const struct attachment *attachment, struct error *error)
{
	for (size_t i = 0; i < attachment->function_count; i++) {
		const struct attachment_function *function = &attachment->functions[i];
		char device[PCI_ADDRESS_SIZE];

		if (pci_device_parse(function->address, device, sizeof(device)) < 0 ||
			strcmp(device, function->address) != 0 || !strchr(device, '.'))
			return error_set(error, -EBADMSG,
				"'%s' is not the address of a PCI "
				"function",
				function->address);
		if (attachment_find_function(attachment, function->address) != function)
			return error_set(error, -EBADMSG, "%s is there twice", function->address);
	}
	return 0;
}

static int check_attachment(const void *record, struct error *error)
{
	const struct attachment *attachment = record;
	int r = is_line(attachment->since)
		? 0
		: error_set(error, -EBADMSG, "the field 'since' has more than one line");

	if (r == 0)
		r = check_keys(attachment, error);
	return r < 0 ? r : check_functions(attachment, error);
}

static const struct record_format attachment_record = {RECORD_FIELDS(attachment_fields),
	.size = sizeof(struct attachment), .record = offsetof(struct attachment, record),
	.schema = ATTACHMENT_SCHEMA, .max = FILE_MAX, .check = check_attachment};

int attachment_parse(const char *text, struct attachment *ret, struct error *error)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	int r = record_parse(&attachment_record, text, &attachment, error);

	if (r < 0)
		return r;
	*ret = attachment;
	attachment = (struct attachment){0};
	return 0;
}

int attachment_format(const struct attachment *attachment, char **ret_text, struct error *error)
{
	return record_write(&attachment_record, attachment, ret_text, error);
}

/* ---- files */

void attachment_path(unsigned int vmid, char *path, size_t size)
{
	if (vmid == ATTACHMENT_STORAGE)
		snprintf(path, size, ATTACHMENT_FOLDER "/storage.json");
	else
		snprintf(path, size, ATTACHMENT_FOLDER "/vm-%u.json", vmid);
}

int attachment_read(
	const struct root *root, unsigned int vmid, struct attachment *ret, struct error *error)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	auto_free char *text = NULL;
	struct error why = {0};
	char path[PATH_MAX];
	int r;

	attachment_path(vmid, path, sizeof(path));
	r = record_read_file(root, path, &attachment_record, &text, &why);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return error_set(error, r, "%s", why.message);
	r = attachment_parse(text, &attachment, &why);
	if (r == 0 && attachment.vmid != vmid)
		r = error_set(&why, -EBADMSG, "it belongs to another VM than its name says");
	if (r < 0)
		return error_set(error, r, "read the record /%s: %s%s", path, why.message,
			r == -EBADMSG ? " (move it away, and undo by hand what attach did)" : "");
	*ret = attachment;
	attachment = (struct attachment){0};
	return 0;
}
