/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Puts snippets into the content list of the storage `local`, and takes them out again. */

#include "listing.h"

#include "attachment_edit.h"
#include "conf/pve/storage.h"
#include "hooks/base/program.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY "content"

/* Reads the content list of `local`; malloced. *@ret_listed is true when it has snippets. */
static int read_content(struct context *context, char **ret, bool *ret_listed, struct error *error)
{
	cleanup(storages_done) struct storages storages = {0};
	const struct storage *local;
	int r = storages_read(&context->kernel.root, &storages, error);

	if (r < 0)
		return r;
	local = storages_find(&storages, "local");
	*ret_listed = storage_holds(local, "snippets");
	*ret = strdup(local->content);
	return *ret ? 0 : error_set_errno(error, -ENOMEM, "read the content list of `local`");
}

static int set_content(struct context *context, const char *content, struct error *error)
{
	const char *const command[] = {PVESM_PATH, "set", "local", "--content", content, NULL};
	auto_free char *now = NULL;
	bool listed;
	int r = program_check(context, PVESM_PATH, error);

	if (r == 0)
		r = program_run(command, error);
	if (r == 0)
		r = read_content(context, &now, &listed, error);
	if (r == 0 && !storage_contents_equal(now, content))
		r = error_set(error, -EIO,
			"pvesm set reported no error, but the content of `local` is now %s, not %s",
			now, content);
	return r;
}

/* Removes the record when the change was not made, so there is nothing to take back. The record
 * stays when we cannot find out. */
static void drop_unless_listed(struct context *context)
{
	auto_free char *now = NULL;
	struct error ignored = {0};
	bool listed;

	if (read_content(context, &now, &listed, &ignored) == 0 && !listed)
		attachment_remove(&context->kernel.root, ATTACHMENT_STORAGE, &ignored);
}

/* Records the change, then makes it. */
static int enable(
	struct context *context, const char *before, const char *after, struct error *error)
{
	cleanup(attachment_done) struct attachment record = {0};
	int r;

	attachment_init(&record, ATTACHMENT_STORAGE);
	if (attachment_set_key(&record, KEY, before, after) < 0)
		return error_set_errno(error, -ENOMEM, "record the content list of `local`");
	r = attachment_write(&context->kernel.root, &record, error);
	if (r < 0)
		return r;
	r = set_content(context, after, error);
	if (r < 0)
		drop_unless_listed(context);
	return r;
}

int listing_enable(
	struct context *context, bool apply, struct changes *changes, struct error *error)
{
	auto_free char *before = NULL;
	auto_free char *after = NULL;
	auto_close int lock = attachment_lock(context, apply, ATTACHMENT_STORAGE, error);
	bool listed;
	int r = lock < 0 ? lock : read_content(context, &before, &listed, error);

	if (r < 0)
		return r;
	if (!before)
		return -ENOMEM;
	if (listed)
		r = changes_note(changes, "the storage `local` is already set up for snippets");
	else if (strcmp(before, "none") == 0)
		after = strdup("snippets");
	else if (asprintf(&after, "%s,snippets", before) < 0)
		after = NULL;
	if (!listed && after)
		r = changes_note(changes,
			"so that the web page lists the hookscript: pvesm set local --content %s",
			after);
	if (r < 0 || (!listed && !after))
		return error_set_errno(error, -ENOMEM, "list the hookscript");
	return listed || !apply ? 0 : enable(context, before, after, error);
}

/* Returns 1 when a VM of this node other than @vmid is attached, else 0, or -errno. */
static int is_wanted(struct context *context, unsigned int vmid, struct error *error)
{
	auto_free unsigned int *vmids = NULL;
	size_t count = 0;
	int r = attachments_list(&context->kernel.root, &vmids, &count, error);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = vmids[i] != vmid;
	return r;
}

static int put_back(struct context *context, const struct attachment_key *key,
	struct changes *changes, struct error *error)
{
	auto_free char *now = NULL;
	bool listed;
	int r = read_content(context, &now, &listed, error);

	if (r < 0 || storage_contents_equal(now, key->before))
		return r;
	if (!storage_contents_equal(now, key->after)) {
		r = changes_note(changes,
			"the content list of `local` was changed after attach (%s): not changed "
			"back",
			now);
	} else {
		r = set_content(context, key->before, error);
		if (r < 0)
			return r;
		r = changes_note(changes, "the content of `local` is %s again", key->before);
	}
	return r < 0 ? error_set_errno(error, r, "detach") : 0;
}

int listing_restore(struct context *context, struct changes *changes, struct error *error)
{
	cleanup(attachment_done) struct attachment record = {0};
	const struct attachment_key *key;
	int r = is_wanted(context, changes->vmid, error);

	if (r != 0)
		return r < 0 ? r : 0;
	r = attachment_read(&context->kernel.root, ATTACHMENT_STORAGE, &record, error);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	key = attachment_find_key(&record, KEY);
	if (key && key->before && key->after)
		r = put_back(context, key, changes, error);
	return r < 0 ? r : attachment_remove(&context->kernel.root, ATTACHMENT_STORAGE, error);
}
