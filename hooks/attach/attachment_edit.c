/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Changes, writes and removes the records of what attach has done. */

#include "attachment_edit.h"

#include "conf/host/manifest.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/loan/lock.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCK_MS 10000

void attachment_init(struct attachment *attachment, unsigned int vmid)
{
	time_t now = time(NULL);
	struct tm utc;

	*attachment = (struct attachment){.vmid = vmid};
	gmtime_r(&now, &utc);
	strftime(attachment->since, sizeof(attachment->since), "%Y-%m-%dT%H:%M:%SZ", &utc);
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
		key = key ? key : attachment_add_key(attachment, name);
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
	attachment_key_done(key);
	index = (size_t)(key - attachment->keys);
	attachment->key_count--;
	memmove(key, key + 1, (attachment->key_count - index) * sizeof(*key));
}

int attachment_set_function(struct attachment *attachment, const struct pci_function *function)
{
	struct attachment_function *place = attachment_find_function(attachment, function->address);

	place = place ? place : attachment_add_function(attachment);
	if (!place)
		return -ENOMEM;
	snprintf(place->address, sizeof(place->address), "%s", function->address);
	place->vendor_id = function->vendor_id;
	place->device_id = function->device_id;
	place->subsystem_vendor_id = function->subsystem_vendor_id;
	place->subsystem_device_id = function->subsystem_device_id;
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

int attachment_write(
	const struct root *root, const struct attachment *attachment, struct error *error)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	int r;

	attachment_path(attachment->vmid, path, sizeof(path));
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

	attachment_path(vmid, path, sizeof(path));
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
