/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Makes the plan of a VM's start: its config, its devices, and what is in the way. */

#include "vm_plan.h"

#include "hooks/attach/attachment.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/lock.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define JUST_NOW_SECONDS 300

struct take_request vm_plan_request(const struct vm_plan *guest, unsigned int vmid)
{
	return (struct take_request){
		.owner = {.kind = LOAN_OWNER_VM, .vmid = vmid},
		.host = &guest->host,
		.wants = guest->resolved.wants,
		.want_count = guest->resolved.want_count,
		.settings = &guest->settings,
		.quirks = &guest->quirks,
		.windows = vm_config_is_windows(&guest->resolved.config),
	};
}

static int block_strangers(const struct attachment *attachment, struct vm_plan *guest)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < guest->resolved.want_count; i++) {
		const struct plan_want *want = &guest->resolved.wants[i];
		const struct pci_function *function = pci_find(&guest->host, want->address);
		struct error why = {0};

		if (!want->alternative && function &&
			attachment_check_function(attachment, function, &why) < 0)
			r = plan_block(&guest->plan, BLOCKER_IDENTITY, "%s", why.message);
	}
	return r;
}

/* Adds a blocker when another card has replaced the one that was attached. Without a record there
 * is nothing to compare with. */
static int block_identity(struct context *context, unsigned int vmid, struct vm_plan *guest)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	struct error why = {0};
	int r = guest->resolved.want_count
		? attachment_read(&context->kernel.root, vmid, &attachment, &why)
		: -ENOENT;

	if (r == -ENOENT)
		return 0;
	return r < 0 ? plan_block(&guest->plan, BLOCKER_CONFIG, "%s", why.message)
		     : block_strangers(&attachment, guest);
}

/* Another VM has a card: maybe it makes room. Settings that cannot be read are told later. */
static int resolve_with_room(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *guest, struct error *error)
{
	cleanup(settings_done) struct settings settings = {0};
	struct error ignored = {0};

	if (settings_read(&context->kernel.root, vmid, &settings, &ignored) < 0)
		return 0;
	resolved_done(&guest->resolved);
	return resolve_vm(context, vmid, migrated_from, &guest->host, &guest->loans, &settings,
		&guest->resolved, error);
}

int vm_plan_resolve(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *ret, struct error *error)
{
	int r = pci_scan(&context->kernel, &ret->host, error);

	if (r == 0)
		r = loans_read(&context->kernel.root, &ret->loans, error);
	if (r == 0) {
		loans_mark_boot_displays(&ret->loans, &ret->host);
		r = resolve_vm(context, vmid, migrated_from, &ret->host, &ret->loans, NULL,
			&ret->resolved, error);
	}
	if (r == 0 && ret->resolved.choice.error.status == -EBUSY)
		r = resolve_with_room(context, vmid, migrated_from, ret, error);
	if (r < 0 || vm_config_is_template(&ret->resolved.config))
		return r;
	r = resolved_add_blockers(&context->kernel.root, &ret->resolved, &ret->plan);
	/* a loan that cannot be read may have any device of this host */
	if (r == 0 && ret->resolved.want_count && ret->loans.unreadable.status < 0)
		r = plan_block(&ret->plan, BLOCKER_CONFIG, "%s", ret->loans.unreadable.message);
	if (r == 0)
		r = block_identity(context, vmid, ret);
	return r < 0 ? error_set_errno(error, r, "plan the handover") : 0;
}

bool vm_plan_is_for_backup(const struct vm_plan *guest)
{
	const char *lock = vm_config_get(&guest->resolved.config, "lock");

	return lock && strcmp(lock, "backup") == 0;
}

/* True when the VM ran until its own backup, in stop mode, stopped it, and now starts again under
 * the same lock: its devices were returned just now, or are still in its loan. */
static bool ran_just_now(
	const struct context *context, const struct loans *loans, unsigned int vmid)
{
	const struct loan_owner owner = {.kind = LOAN_OWNER_VM, .vmid = vmid};
	char name[32];
	long long age;

	if (loans_find_owner(loans, &owner))
		return true;
	snprintf(name, sizeof(name), "vm-%u", vmid);
	age = lock_age_seconds(&context->kernel.root, name);
	return age >= 0 && age < JUST_NOW_SECONDS;
}

static int block_backup(const struct context *context, unsigned int vmid, struct vm_plan *guest)
{
	if (guest->settings.backup_of_stopped_vm == BACKUP_ALLOW || !vm_plan_is_for_backup(guest) ||
		ran_just_now(context, &guest->loans, vmid))
		return 0;
	return plan_block(&guest->plan, BLOCKER_BACKUP,
		"the VM would be started for its backup only (lock: backup), and "
		"backup_of_stopped_vm = \"refuse\" is set");
}

int vm_plan_settings(
	struct context *context, unsigned int vmid, struct vm_plan *guest, struct error *error)
{
	int r;

	if (!guest->resolved.want_count)
		return 0;
	r = quirks_read(&context->kernel.root, &guest->quirks, error);
	if (r == 0)
		r = settings_read(&context->kernel.root, vmid, &guest->settings, error);
	if (r == 0 && block_backup(context, vmid, guest) < 0)
		return error_set_errno(error, -ENOMEM, "plan the handover");
	return r;
}

void vm_plan_tell_ignored(const struct vm_config_entry *ignored, char *ret, size_t size)
{
	cleanup(hostpci_done) struct hostpci parsed = {0};
	char instead[HOSTPCI_MENDED_SIZE] = "ADDRESS,pcie=1";
	struct error why = {0};
	bool known = hostpci_parse(ignored->value, &parsed, &why) < 0;

	if (!known)
		snprintf(why.message, sizeof(why.message), "there are only hostpci0 to hostpci%d",
			HOSTPCI_MAX - 1);
	(void)hostpci_mend(ignored->value, instead, sizeof(instead));
	snprintf(ret, size,
		"Proxmox VE ignores '%s: %s' and starts the VM without this device: %s; write "
		"'%s: %s'",
		ignored->key, ignored->value, why.message, known ? ignored->key : "hostpciN",
		instead);
}

/* The hook does not refuse what Proxmox starts: only a plan has these. */
static int block_ignored(struct vm_plan *guest)
{
	const struct vm_config *config = &guest->resolved.config;
	char text[ERROR_MESSAGE_SIZE];
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->ignored_count; i++) {
		vm_plan_tell_ignored(&config->ignored[i], text, sizeof(text));
		r = plan_block(&guest->plan, BLOCKER_IGNORED, "%s", text);
	}
	return r;
}

static int plan_start(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *ret, struct error *error)
{
	struct take_request request;
	struct error why = {0};
	int r = vm_plan_resolve(context, vmid, migrated_from, ret, error);

	if (r < 0 || !ret->resolved.want_count)
		return r;
	/* settings that cannot be read: still show a plan, with the defaults */
	if (vm_plan_settings(context, vmid, ret, &why) < 0) {
		r = settings_parse("", SETTINGS_PATH, vmid, &ret->settings, error);
		if (r == 0 && plan_block(&ret->plan, BLOCKER_CONFIG, "%s", why.message) < 0)
			r = error_set_errno(error, -ENOMEM, "plan the handover");
	}
	if (r < 0)
		return r;
	request = vm_plan_request(ret, vmid);
	return take_plan(context, &request, &ret->loans, &ret->plan, error);
}

int vm_plan_make(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *ret, struct error *error)
{
	int r = plan_start(context, vmid, migrated_from, ret, error);

	if (r < 0 || vm_config_is_template(&ret->resolved.config))
		return r;
	return block_ignored(ret) < 0 ? error_set_errno(error, -ENOMEM, "plan the handover") : 0;
}

void vm_plan_done(struct vm_plan *guest)
{
	plan_done(&guest->plan);
	quirks_done(&guest->quirks);
	settings_done(&guest->settings);
	resolved_done(&guest->resolved);
	loans_done(&guest->loans);
	pci_functions_done(&guest->host);
}
