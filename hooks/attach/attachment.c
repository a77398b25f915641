/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads the record of what attach has done for a VM, and compares a card with it. */

#include "attachment.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "snippet.h"
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)
#define LIST_MAX 4096 /* keys or functions of one record */

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
		"attached: if that is meant, attach it again",
		function->address, function->vendor_id, function->device_id,
		function->subsystem_vendor_id, function->subsystem_device_id, known->vendor_id,
		known->device_id, known->subsystem_vendor_id, known->subsystem_device_id);
}

/* ---- reading */

static int bad(const char *key, struct error *error)
{
	return error_set(error, -EBADMSG, "'%s' is missing or wrong", key);
}

static int get_number(struct json_object *object, const char *key, int64_t maximum, int64_t *ret,
	struct error *error)
{
	struct json_object *value = NULL;

	if (!json_object_object_get_ex(object, key, &value) ||
		!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
		json_object_get_int64(value) > maximum)
		return bad(key, error);
	*ret = json_object_get_int64(value);
	return 0;
}

/* The text, or NULL where null stands; never with a NUL or a line's end in it. */
static int get_text(
	struct json_object *object, const char *key, const char **ret, struct error *error)
{
	struct json_object *value = NULL;
	const char *text;

	if (!json_object_object_get_ex(object, key, &value))
		return bad(key, error);
	*ret = NULL;
	if (!value)
		return 0;
	if (!json_object_is_type(value, json_type_string))
		return bad(key, error);
	text = json_object_get_string(value);
	if (strlen(text) != (size_t)json_object_get_string_len(value) || strchr(text, '\n'))
		return bad(key, error);
	*ret = text;
	return 0;
}

static int get_array(
	struct json_object *object, const char *key, struct json_object **ret, struct error *error)
{
	if (!json_object_object_get_ex(object, key, ret) ||
		!json_object_is_type(*ret, json_type_array) ||
		json_object_array_length(*ret) > LIST_MAX)
		return bad(key, error);
	return 0;
}

static int parse_key(struct json_object *object, struct attachment *attachment, struct error *error)
{
	const char *name = NULL, *before = NULL, *after = NULL;
	struct attachment_key *key;
	int r = get_text(object, "key", &name, error);

	if (r == 0 && (!name || !*name || strlen(name) >= sizeof(key->name) || name[0] == '-'))
		r = bad("key", error);
	if (r == 0)
		r = get_text(object, "before", &before, error);
	if (r == 0)
		r = get_text(object, "after", &after, error);
	if (r < 0)
		return r;
	if (attachment_find_key(attachment, name))
		return bad("keys", error);
	key = attachment_add_key(attachment, name);
	if (!key || text_replace(&key->before, before) < 0 || text_replace(&key->after, after) < 0)
		return -ENOMEM;
	key->record = json_object_get(object);
	return 0;
}

static int parse_id(struct json_object *object, const char *key, uint16_t *ret, struct error *error)
{
	unsigned long long number;
	const char *text = NULL;
	int r = get_text(object, key, &text, error);

	if (r < 0)
		return r;
	if (!text || strlen(text) != 4 || parse_unsigned(text, 16, UINT16_MAX, &number) < 0)
		return bad(key, error);
	*ret = (uint16_t)number;
	return 0;
}

static int parse_address(
	struct json_object *object, struct attachment_function *function, struct error *error)
{
	const char *text = NULL;
	int r = get_text(object, "address", &text, error);

	if (r < 0)
		return r;
	if (!text || pci_device_parse(text, function->address, sizeof(function->address)) < 0 ||
		strcmp(text, function->address) != 0 || !strchr(text, '.'))
		return bad("address", error);
	return 0;
}

static int parse_function(
	struct json_object *object, struct attachment *attachment, struct error *error)
{
	struct attachment_function function = {0};
	struct attachment_function *place;
	int r = parse_address(object, &function, error);

	if (r == 0)
		r = parse_id(object, "vendor_id", &function.vendor_id, error);
	if (r == 0)
		r = parse_id(object, "device_id", &function.device_id, error);
	if (r == 0)
		r = parse_id(object, "subsystem_vendor_id", &function.subsystem_vendor_id, error);
	if (r == 0)
		r = parse_id(object, "subsystem_device_id", &function.subsystem_device_id, error);
	if (r < 0)
		return r;
	if (attachment_find_function(attachment, function.address))
		return bad("functions", error);
	place = attachment_add_function(attachment);
	if (!place)
		return -ENOMEM;
	*place = function;
	place->record = json_object_get(object);
	return 0;
}

static int parse_list(struct json_object *object, const char *key, struct attachment *attachment,
	int (*parse)(struct json_object *, struct attachment *, struct error *),
	struct error *error)
{
	struct json_object *list = NULL;
	int r = get_array(object, key, &list, error);

	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		struct json_object *item = json_object_array_get_idx(list, i);

		r = json_object_is_type(item, json_type_object) ? parse(item, attachment, error)
								: bad(key, error);
	}
	return r == -ENOMEM ? error_set_errno(error, r, "read it") : r;
}

static int parse_fields(
	struct json_object *object, struct attachment *attachment, struct error *error)
{
	const char *since = NULL;
	int64_t number;
	int r = get_number(object, "schema", INT32_MAX, &number, error);

	if (r == 0 && number > ATTACHMENT_SCHEMA)
		return error_set(error, -EPROTONOSUPPORT,
			"it was written by a newer gpu-ferry (schema %lld, this one knows %d)",
			(long long)number, ATTACHMENT_SCHEMA);
	if (r == 0 && number < 1)
		r = bad("schema", error);
	if (r == 0)
		r = get_number(object, "vmid", VMID_MAX, &number, error);
	if (r == 0)
		r = get_text(object, "since", &since, error);
	if (r == 0 && (!since || strlen(since) >= sizeof(attachment->since)))
		r = bad("since", error);
	if (r < 0)
		return r;
	attachment->vmid = (unsigned int)number;
	snprintf(attachment->since, sizeof(attachment->since), "%s", since ? since : "");
	r = parse_list(object, "keys", attachment, parse_key, error);
	return r < 0 ? r : parse_list(object, "functions", attachment, parse_function, error);
}

int attachment_parse(const char *text, struct attachment *ret, struct error *error)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	int r;

	attachment.record = json_tokener_parse(text);
	if (!json_object_is_type(attachment.record, json_type_object))
		return error_set(error, -EBADMSG, "it is no JSON object");
	r = parse_fields(attachment.record, &attachment, error);
	if (r < 0)
		return r;
	*ret = attachment;
	attachment = (struct attachment){0};
	return 0;
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
	const struct file_read_options options = {.max = FILE_MAX, .require_owner = true};
	cleanup(attachment_done) struct attachment attachment = {0};
	auto_free char *text = NULL;
	struct error why = {0};
	char path[PATH_MAX];
	int r;

	attachment_path(vmid, path, sizeof(path));
	r = file_read(root, path, &options, &text, NULL, &why);
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return error_set(error, r, "%s", why.message);
	r = attachment_parse(text, &attachment, &why);
	if (r == 0 && attachment.vmid != vmid)
		r = error_set(&why, -EBADMSG, "it is another VM's than its name says");
	if (r < 0)
		return error_set(error, r, "read the record /%s: %s%s", path, why.message,
			r == -EBADMSG ? " (move it away, and take back by hand what attach did)"
				      : "");
	*ret = attachment;
	attachment = (struct attachment){0};
	return 0;
}
