/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads and writes the record of what `attach` has done. */

#include "attachment.h"

#include "conf/host/manifest.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/loan/lock.h"
#include "snippet.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILE_MAX (1u << 20)
#define LOCK_MS 10000
#define LIST_MAX 4096 /* keys or functions of one record */

void attachment_init(struct attachment *attachment, unsigned int vmid)
{
	time_t now = time(NULL);
	struct tm utc;

	*attachment = (struct attachment){.vmid = vmid};
	gmtime_r(&now, &utc);
	strftime(attachment->since, sizeof(attachment->since), "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static void key_done(struct attachment_key *key)
{
	free(key->before);
	free(key->after);
	json_object_put(key->record);
}

void attachment_done(struct attachment *attachment)
{
	for (size_t i = 0; i < attachment->key_count; i++)
		key_done(&attachment->keys[i]);
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

static struct attachment_key *add_key(struct attachment *attachment, const char *name)
{
	struct attachment_key *grown =
		reallocarray(attachment->keys, attachment->key_count + 1, sizeof(*grown));

	if (!grown)
		return NULL;
	attachment->keys = grown;
	grown += attachment->key_count++;
	*grown = (struct attachment_key){0};
	snprintf(grown->name, sizeof(grown->name), "%s", name);
	return grown;
}

static bool is_same(const char *left, const char *right)
{
	return left && right ? strcmp(left, right) == 0 : left == right;
}

int attachment_set_key(
	struct attachment *attachment, const char *name, const char *before, const char *after)
{
	struct attachment_key *key = attachment_find_key(attachment, name);
	int r = 0;

	if (!key || !is_same(key->after, before)) {
		key = key ? key : add_key(attachment, name);
		r = key ? text_replace(&key->before, before) : -ENOMEM;
	}
	return r < 0 ? r : text_replace(&key->after, after);
}

void attachment_drop_key(struct attachment *attachment, const char *name)
{
	struct attachment_key *key = attachment_find_key(attachment, name);
	size_t index;

	if (!key)
		return;
	key_done(key);
	index = (size_t)(key - attachment->keys);
	attachment->key_count--;
	memmove(key, key + 1, (attachment->key_count - index) * sizeof(*key));
}

const char *attachment_chained(const struct attachment *attachment)
{
	const struct attachment_key *key = attachment_find_key(attachment, "hookscript");

	return key && !snippet_is_ours(key->before) ? key->before : NULL;
}

/* ---- functions */

static struct attachment_function *find_function(
	const struct attachment *attachment, const char *address)
{
	for (size_t i = 0; i < attachment->function_count; i++) {
		if (strcmp(attachment->functions[i].address, address) == 0)
			return &attachment->functions[i];
	}
	return NULL;
}

static struct attachment_function *add_function(struct attachment *attachment)
{
	struct attachment_function *grown =
		reallocarray(attachment->functions, attachment->function_count + 1, sizeof(*grown));

	if (!grown)
		return NULL;
	attachment->functions = grown;
	grown += attachment->function_count++;
	*grown = (struct attachment_function){0};
	return grown;
}

int attachment_set_function(struct attachment *attachment, const struct pci_function *function)
{
	struct attachment_function *place = find_function(attachment, function->address);

	place = place ? place : add_function(attachment);
	if (!place)
		return -ENOMEM;
	snprintf(place->address, sizeof(place->address), "%s", function->address);
	place->vendor_id = function->vendor_id;
	place->device_id = function->device_id;
	place->subsystem_vendor_id = function->subsystem_vendor_id;
	place->subsystem_device_id = function->subsystem_device_id;
	return 0;
}

int attachment_check_function(const struct attachment *attachment,
	const struct pci_function *function, struct error *error)
{
	const struct attachment_function *known = find_function(attachment, function->address);

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
	key = add_key(attachment, name);
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
	if (find_function(attachment, function.address))
		return bad("functions", error);
	place = add_function(attachment);
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

/* ---- writing */

/* A copy of what was read, so that the fields we do not know go back into the file. */
static struct json_object *copy_record(struct json_object *record)
{
	struct json_object *copy = NULL;

	if (!record || json_object_deep_copy(record, &copy, NULL) < 0)
		copy = json_object_new_object();
	return copy;
}

static void put_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, text ? json_object_new_string(text) : NULL);
}

static void put_id(struct json_object *object, const char *key, uint16_t id)
{
	char text[8];

	snprintf(text, sizeof(text), "%04x", id);
	put_text(object, key, text);
}

static struct json_object *format_key(const struct attachment_key *key)
{
	struct json_object *object = copy_record(key->record);

	put_text(object, "key", key->name);
	put_text(object, "before", key->before);
	put_text(object, "after", key->after);
	return object;
}

static struct json_object *format_function(const struct attachment_function *function)
{
	struct json_object *object = copy_record(function->record);

	put_text(object, "address", function->address);
	put_id(object, "vendor_id", function->vendor_id);
	put_id(object, "device_id", function->device_id);
	put_id(object, "subsystem_vendor_id", function->subsystem_vendor_id);
	put_id(object, "subsystem_device_id", function->subsystem_device_id);
	return object;
}

static struct json_object *format_all(const struct attachment *attachment)
{
	struct json_object *object = copy_record(attachment->record);
	struct json_object *keys = json_object_new_array();
	struct json_object *functions = json_object_new_array();

	json_object_object_add(object, "schema", json_object_new_int64(ATTACHMENT_SCHEMA));
	json_object_object_add(object, "vmid", json_object_new_int64(attachment->vmid));
	put_text(object, "since", attachment->since);
	for (size_t i = 0; i < attachment->key_count; i++)
		json_object_array_add(keys, format_key(&attachment->keys[i]));
	for (size_t i = 0; i < attachment->function_count; i++)
		json_object_array_add(functions, format_function(&attachment->functions[i]));
	json_object_object_add(object, "keys", keys);
	json_object_object_add(object, "functions", functions);
	return object;
}

int attachment_format(const struct attachment *attachment, char **ret_text, struct error *error)
{
	struct json_object *object = format_all(attachment);
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY);
	char *copy = NULL;

	if (text && asprintf(&copy, "%s\n", text) < 0)
		copy = NULL;
	json_object_put(object);
	if (!copy)
		return error_set_errno(error, -ENOMEM, "write down what is attached");
	*ret_text = copy;
	return 0;
}

/* ---- files */

static void file_path(unsigned int vmid, char *path, size_t size)
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

	file_path(vmid, path, sizeof(path));
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

int attachment_write(
	const struct root *root, const struct attachment *attachment, struct error *error)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	int r;

	file_path(attachment->vmid, path, sizeof(path));
	r = folder_make(root, ATTACHMENT_FOLDER, 0700, error);
	if (r == 0)
		r = attachment_format(attachment, &text, error);
	if (r == 0) {
		file_sweep(root, path);
		r = file_replace(root, path, 0600, text, error);
	}
	return r < 0 ? error_wrap(error, r, "record what is attached") : 0;
}

int attachment_remove(const struct root *root, unsigned int vmid, struct error *error)
{
	char path[PATH_MAX];

	file_path(vmid, path, sizeof(path));
	file_sweep(root, path);
	return file_remove(root, path, error);
}

void attachments_remove_folders(const struct root *root)
{
	if (folder_remove_empty(root, ATTACHMENT_FOLDER))
		(void)folder_remove_empty(root, MANIFEST_FOLDER);
}

/* "vm-104.json"; 0 when it is no such name. */
static unsigned int vmid_of_name(const char *name)
{
	const char *dot = strrchr(name, '.');
	auto_free char *number = NULL;
	unsigned int vmid;

	if (strncmp(name, "vm-", 3) != 0 || !dot || strcmp(dot, ".json") != 0)
		return 0;
	number = strndup(name + 3, (size_t)(dot - name) - 3);
	return number && parse_vmid(number, &vmid) == 0 ? vmid : 0;
}

static int compare_vmids(const void *left, const void *right)
{
	unsigned int a = *(const unsigned int *)left, b = *(const unsigned int *)right;

	return (a > b) - (a < b);
}

int attachments_list(
	const struct root *root, unsigned int **ret_vmids, size_t *ret_count, struct error *error)
{
	cleanup(names_done) struct names names = {0};
	unsigned int *vmids;
	size_t count = 0;
	int r = folder_list(root, ATTACHMENT_FOLDER, &names);

	if (r < 0 && r != -ENOENT)
		return error_set_errno(error, r, "list /" ATTACHMENT_FOLDER);
	vmids = calloc(names.count + 1, sizeof(*vmids));
	if (!vmids)
		return error_set_errno(error, -ENOMEM, "list /" ATTACHMENT_FOLDER);
	for (size_t i = 0; i < names.count; i++) {
		vmids[count] = vmid_of_name(names.names[i]);
		count += vmids[count] != 0;
	}
	qsort(vmids, count, sizeof(*vmids), compare_vmids);
	*ret_vmids = vmids;
	*ret_count = count;
	return 0;
}

int attachment_lock(struct context *context, unsigned int vmid, struct error *error)
{
	char name[32];

	if (context->dry_run)
		return file_open(&context->kernel.root, ".", O_PATH | O_DIRECTORY);
	snprintf(name, sizeof(name), "attach-%u", vmid);
	return lock_take(&context->kernel.root, name, LOCK_MS, error);
}
