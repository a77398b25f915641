/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Takes back from a guest's config what `attach` put there. */

#include "attach.h"

#include "conf/pve/container.h"
#include "conf/pve/storage.h"
#include "hooks/base/program.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/loan.h"
#include "listing.h"
#include "snippet.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool is_same(const char *left, const char *right)
{
	return left && right ? strcmp(left, right) == 0 : left == right;
}

/* Refuses while the VM has a loan: the config must still have the hookscript that returns the
 * devices. */
static int check_loan(struct context *context, unsigned int vmid, struct error *error)
{
	const struct loan_owner owner = {.kind = LOAN_OWNER_VM, .vmid = vmid};
	cleanup(loan_done) struct loan loan = {0};
	int r = loan_read(&context->kernel.root, &owner, &loan, error);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	return error_set(error, -EBUSY,
		"VM %u has %s (%s since %s): stop it first; if it is stopped, run `gpu-ferry "
		"reconcile`",
		vmid, loan.function_count ? loan.functions[0].address : "a loan",
		loan_state_name(loan.state), loan.since);
}

/* Proxmox refuses to set a hookscript whose file is not there. */
static bool is_usable(struct context *context, const char *volume)
{
	cleanup(storages_done) struct storages storages = {0};
	struct error ignored = {0};
	char path[PATH_MAX];

	return storages_read(&context->kernel.root, &storages, &ignored) < 0 ||
		(storages_find_snippet(&storages, volume, path, sizeof(path), &ignored) == 0 &&
			snippet_check(&context->kernel.root, volume, path, &ignored) == 0);
}

static int plan_key(struct context *context, const struct guest_config *config,
	const struct attachment_key *key, struct changes *changes)
{
	const char *now = guest_config_get(config, key->name);
	const char *before = key->before;
	int r = 0;

	if (is_same(now, before))
		return 0;
	if (!is_same(now, key->after))
		return changes_note(changes, "%s was changed after attach (%s): not changed back",
			key->name, now ? now : "removed");
	if (before && strcmp(key->name, "hookscript") == 0 && !is_usable(context, before)) {
		r = changes_note(changes,
			"the earlier hookscript %s no longer exists: it is not restored", before);
		before = NULL;
	}
	return r < 0 ? r : changes_add(changes, config, key->name, before, NULL);
}

/* Rolling back to a snapshot brings its hookscript back, whatever the guest has now. */
static int note_snapshots(const struct guest_config *config, struct changes *changes)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->sections.count; i++) {
		const struct vm_section *section = &config->sections.items[i];

		if (vm_section_is_snapshot(section) &&
			snippet_is_ours(vm_section_get(section, "hookscript")))
			r = changes_note(changes,
				"the snapshot '%s' still names the hookscript: a rollback brings it "
				"back",
				section->name);
	}
	return r;
}

/* Our hookscript was there before attach, so detach leaves it. */
static int note_kept(const struct guest_config *config, const struct attachment *attachment,
	struct changes *changes)
{
	const char *now = guest_config_get(config, "hookscript");

	if (!snippet_is_ours(now) || attachment_find_key(attachment, "hookscript"))
		return 0;
	return changes_note(changes,
		"hookscript is %s, as it was before attach (`%s set %u --delete hookscript` "
		"removes it)",
		now, changes->kind->tool, changes->vmid);
}

static int plan_make(struct context *context, const struct guest_config *config,
	const struct attachment *attachment, struct changes *changes, struct error *error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < attachment->key_count; i++)
		r = plan_key(context, config, &attachment->keys[i], changes);
	if (r == 0)
		r = note_kept(config, attachment, changes);
	if (r == 0)
		r = note_snapshots(config, changes);
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

/* Removes the record last: until then a second detach can do what is left. */
static int forget(struct context *context, struct changes *changes, struct error *error)
{
	auto_close int lock = attachment_lock(context, true, ATTACHMENT_STORAGE, error);
	int r = lock < 0 ? lock : listing_restore(context, changes, error);

	if (r < 0)
		return error_wrap(error, r,
			"%s %u itself is detached, but the storage `local` is still set up for "
			"snippets (run detach again)",
			changes->kind->noun, changes->vmid);
	return attachment_remove(&context->kernel.root, changes->vmid, error);
}

static int carry_out(struct context *context, struct changes *changes, struct error *error)
{
	bool left = false;
	int r = changes_apply(context, changes, &left, error);

	if (r < 0 && left)
		return error_wrap(error, r, "only partly done (run detach again)");
	if (r < 0)
		return r;
	if (changes_note_pending(changes) < 0)
		return error_set_errno(error, -ENOMEM, "detach");
	return forget(context, changes, error);
}

static int detach_recorded(struct context *context, bool apply, const struct attachment *attachment,
	struct error *error)
{
	cleanup(guest_config_done) struct guest_config config = {0};
	cleanup(changes_done) struct changes changes = {.vmid = attachment->vmid};
	int r = guest_config_read(context, attachment->vmid, &config, error);

	changes.kind = config.kind;
	if (r == 0)
		r = plan_make(context, &config, attachment, &changes, error);
	if (r == 0 && apply)
		r = carry_out(context, &changes, error);
	return r < 0 ? r : changes_print(context, &changes, error);
}

/* It was destroyed, VM or container, so only its record is left to remove. */
static int drop_record(struct context *context, bool apply, unsigned int vmid, struct error *error)
{
	static const struct guest_kind gone = {"guest", "qm", QM_PATH};
	cleanup(changes_done) struct changes changes = {
		.kind = &gone, .vmid = vmid, .applied = apply};
	int r = 0;

	if (apply)
		r = forget(context, &changes, error);
	if (r == 0 &&
		changes_note(&changes, "guest %u no longer exists: its record is deleted", vmid) <
			0)
		r = error_set_errno(error, -ENOMEM, "detach");
	return r < 0 ? r : changes_print(context, &changes, error);
}

static int say_unrecorded(struct context *context, unsigned int vmid, struct error *error)
{
	cleanup(guest_config_done) struct guest_config config = {0};
	int r = guest_config_read(context, vmid, &config, error);

	if (r < 0)
		return r;
	if (snippet_is_ours(guest_config_get(&config, "hookscript")))
		return error_set(error, -ENOENT,
			"%s %u was not attached on this node; `%s set %u --delete hookscript` "
			"removes the hookscript",
			config.kind->noun, vmid, config.kind->tool, vmid);
	return error_set(error, -ENOENT, "%s %u is not attached", config.kind->noun, vmid);
}

/* True when no VM or container has this number any more. */
static bool is_destroyed(struct context *context, unsigned int vmid)
{
	cleanup(guest_config_done) struct guest_config config = {0};

	return guest_config_read(context, vmid, &config, NULL) == -ENOENT;
}

int detach_guest(struct context *context, bool apply, unsigned int vmid, struct error *error)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	auto_close int lock = attachment_lock(context, apply, vmid, error);
	int r;

	if (lock < 0)
		return lock;
	r = attachment_read(&context->kernel.root, vmid, &attachment, error);
	if (r == -ENOENT)
		return say_unrecorded(context, vmid, error);
	if (r == 0)
		r = check_loan(context, vmid, error);
	if (r < 0)
		return r;
	return is_destroyed(context, vmid) ? drop_record(context, apply, vmid, error)
					   : detach_recorded(context, apply, &attachment, error);
}

int detach_all(struct context *context, bool apply, size_t *ret_count, struct error *error)
{
	auto_free unsigned int *vmids = NULL;
	struct error one = {0};
	size_t count = 0;
	int first = attachments_list(&context->kernel.root, &vmids, &count, error);

	for (size_t i = 0; i < count; i++) {
		const char *noun = guest_noun(&context->kernel.root, vmids[i]);
		int r = detach_guest(context, apply, vmids[i], &one);

		if (r < 0 && first == 0)
			first = error_set(error, r, "%s %u: %s", noun, vmids[i], one.message);
		else if (r < 0)
			log_write(&context->log, LOG_ERR, "%s %u: %s", noun, vmids[i], one.message);
	}
	if (ret_count)
		*ret_count = count;
	return first;
}
