/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Changes, writes and removes the records of what attach did. */

#include "attachment_edit.h"

#include "conf/host/manifest.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/loan/lock.h"
#include <errno.h>
#include <fcntl.h>
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

/* The VMID in a name such as "vm-104.json"; 0 for any other name. */
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

int attachment_lock(struct context *context, bool apply, unsigned int vmid, struct error *error)
{
	char name[32];

	if (!apply)
		return file_open(&context->kernel.root, ".", O_PATH | O_DIRECTORY);
	snprintf(name, sizeof(name), "attach-%u", vmid);
	return lock_take(&context->kernel.root, name, LOCK_MS, error);
}
