/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Puts devices and the hookscript into a VM's config, or a card's device nodes into a container's.
 */

#include "attach.h"

#include "attach_device.h"
#include "attach_nodes.h"
#include "conf/pve/hostpci.h"
#include "conf/settings.h"
#include "hooks/base/output.h"
#include "hooks/base/program.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "listing.h"
#include "snippet.h"
#include "snippet_file.h"
#include "tune.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_CHAIN "the earlier hookscript also runs, in every phase"

struct attach_plan {
	const struct attach_options *options;
	struct guest_config config;
	struct attach_devices devices;
	struct storages storages;
	struct changes changes;
};

static void attach_plan_done(struct attach_plan *plan)
{
	guest_config_done(&plan->config);
	attach_devices_done(&plan->devices);
	storages_done(&plan->storages);
	changes_done(&plan->changes);
}

/* ---- planning */

static bool is_container(const struct attach_plan *plan)
{
	return plan->config.kind == &guest_is_container;
}

static int check_guest(const struct attach_plan *plan, struct error *error)
{
	const struct attach_options *options = plan->options;
	unsigned int vmid = plan->config.vmid;

	if (vm_config_is_template(&plan->config.now))
		return error_set(error, -EINVAL, "%s %u is a template: it never starts",
			plan->config.kind->noun, vmid);
	if (is_container(plan) &&
		(options->tune || options->primary_gpu || options->machine || options->bios))
		return error_set(error, USAGE,
			"--tune, --primary-gpu, --machine and --bios are for VMs, and %u is a "
			"container",
			vmid);
	return 0;
}

static int plan_hookscript(struct context *context, struct attach_plan *plan, struct error *error)
{
	const char *before = guest_config_get(&plan->config, "hookscript");
	const char *after = before ? SNIPPET_CHAIN : SNIPPET_PLAIN;
	char path[PATH_MAX];
	int r;

	if (snippet_is_ours(before))
		return snippet_check_ours(context, &plan->storages, before, error);
	r = snippet_check_ours(context, &plan->storages, after, error);
	/* refuse to chain a hookscript that Proxmox cannot run: the guest would not start */
	if (r == 0 && before)
		r = storages_find_snippet(&plan->storages, before, path, sizeof(path), error);
	if (r == 0 && before)
		r = snippet_check(&context->kernel.root, before, path, error);
	if (r < 0)
		return r;
	r = changes_add(
		&plan->changes, &plan->config, "hookscript", after, before ? WHY_CHAIN : NULL);
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

static int plan_new_entry(struct attach_plan *plan, const struct attach_device *device,
	bool primary, struct error *error)
{
	const char *machine = changes_get(&plan->changes, &plan->config, "machine");
	char key[32], value[320];
	int r = changes_free_key(
		&plan->changes, &plan->config, "hostpci", HOSTPCI_MAX, key, sizeof(key), error);

	if (r < 0)
		return r;
	snprintf(value, sizeof(value), "%s%s%s", device->host,
		guest_config_is_q35(machine) ? ",pcie=1" : "", primary ? ",x-vga=1" : "");
	r = changes_add(&plan->changes, &plan->config, key, value, NULL);
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

/* Returns @before with x-vga=1, which replaces any x-vga=0. Malloced; NULL when out of memory. */
static char *with_x_vga(const char *before)
{
	char *value = NULL;
	size_t size, length;
	FILE *stream = open_memstream(&value, &size);

	if (!stream)
		return NULL;
	for (const char *part = before; *part; part += length + (part[length] == ',')) {
		length = strcspn(part, ",");
		if (strncmp(part, "x-vga=", 6) != 0)
			fprintf(stream, "%.*s,", (int)length, part);
	}
	fputs("x-vga=1", stream);
	if (fclose(stream) == 0)
		return value;
	free(value);
	return NULL;
}

/* The device is in the config already: its entry stays as it is, apart from x-vga=1 for
 * --primary-gpu. */
static int plan_entry(struct attach_plan *plan, const struct attach_device *device, bool primary,
	struct error *error)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};
	const char *before;
	char key[32];
	int r = 0;

	snprintf(key, sizeof(key), "hostpci%d", device->entry);
	before = guest_config_get(&plan->config, key);
	if (primary && hostpci_parse(before, &hostpci, NULL) == 0 && !hostpci.x_vga) {
		auto_free char *value = with_x_vga(before);

		r = value ? changes_add(&plan->changes, &plan->config, key, value, NULL) : -ENOMEM;
	}
	if (r == 0)
		r = changes_note(&plan->changes, "%s %s %s already", key,
			device->split ? "and other entries have" : "has", device->argument);
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

static int plan_devices(struct context *context, struct attach_plan *plan, struct error *error)
{
	int r = attach_devices_match(context, &plan->config, &plan->devices, error);

	for (size_t i = 0; r == 0 && i < plan->devices.count; i++) {
		const struct attach_device *device = &plan->devices.items[i];
		bool primary = plan->options->primary_gpu && i == 0;

		r = device->entry < 0 ? plan_new_entry(plan, device, primary, error)
				      : plan_entry(plan, device, primary, error);
	}
	return r;
}

static bool has_display(
	const struct attach_plan *plan, const struct attach_device *device, unsigned int vendor)
{
	for (size_t i = 0; i < device->addresses.count; i++) {
		const struct pci_function *function =
			pci_find(&plan->devices.host, device->addresses.names[i]);

		if (function && pci_is_display(function) &&
			(!vendor || function->vendor_id == vendor))
			return true;
	}
	return false;
}

static bool has_nvidia(const struct attach_plan *plan)
{
	for (size_t i = 0; i < plan->devices.count; i++) {
		if (has_display(plan, &plan->devices.items[i], PCI_VENDOR_NVIDIA))
			return true;
	}
	return false;
}

/* Plans the changes that options ask for: --machine, --bios and --tune. */
static int plan_options(struct attach_plan *plan, struct error *error)
{
	const struct attach_options *options = plan->options;
	struct changes *changes = &plan->changes;
	int r = 0;

	if (options->machine && !guest_config_is_q35(guest_config_get(&plan->config, "machine")))
		r = changes_add(changes, &plan->config, "machine", options->machine, NULL);
	if (r == 0 && options->bios)
		r = changes_add(changes, &plan->config, "bios", options->bios, NULL);
	if (r == 0 && options->tune)
		r = tune_add(&plan->config, has_nvidia(plan), changes);
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

/* Adds a note for each hostpci entry that we cannot parse: it may have one of the devices. */
static int note_unknown(struct attach_plan *plan)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < HOSTPCI_MAX; i++) {
		cleanup(hostpci_done) struct hostpci hostpci = {0};
		struct error why = {0};
		const char *value;
		char key[32];

		snprintf(key, sizeof(key), "hostpci%u", i);
		value = guest_config_get(&plan->config, key);
		if (value && hostpci_parse(value, &hostpci, &why) == -EINVAL)
			r = changes_note(&plan->changes, "%s (%s) is not changed: %s", key, value,
				why.message);
	}
	return r;
}

/* Tells of the devices that go to the VM with the card, or keep the VM from starting. */
static int note_group(struct attach_plan *plan, const struct attach_device *device, long group)
{
	const struct pci_functions *host = &plan->devices.host;
	char others[160];
	struct holders_text text = {.buffer = others, .size = sizeof(others)};
	int r = 0;

	for (size_t i = 0; i < host->count; i++) {
		const struct pci_function *function = &host->items[i];

		if (function->iommu_group == group && !function->bridge &&
			!names_have(&device->addresses, function->address) &&
			!pci_same_card(function->address, device->addresses.names[0]))
			holders_text_add(&text, function->address);
	}
	if (text.used)
		r = changes_note(&plan->changes,
			"%s shares its IOMMU group with %s: the VM gets them too, or does not "
			"start (gpu-ferry plan %u says which)",
			device->argument, others, plan->config.vmid);
	return r;
}

/* Tells what a person may not have meant: a device that is no GPU, an IOMMU that is off. */
static int note_devices(struct attach_plan *plan)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->devices.count; i++) {
		const struct attach_device *device = &plan->devices.items[i];
		const struct pci_function *first = device->addresses.count
			? pci_find(&plan->devices.host, device->addresses.names[0])
			: NULL;

		if (first && !has_display(plan, device, 0))
			r = changes_note(&plan->changes, "%s is no GPU (PCI class %04x)",
				device->argument, first->class_code);
		if (r == 0 && first && first->iommu_group == PCI_NO_GROUP)
			r = changes_note(&plan->changes,
				"%s has no IOMMU group: the IOMMU is off, and the VM would not "
				"start (gpu-ferry doctor says what to do)",
				device->argument);
		else if (r == 0 && first)
			r = note_group(plan, device, first->iommu_group);
	}
	return r;
}

static int note_vm(struct attach_plan *plan)
{
	int r = note_unknown(plan);

	if (r == 0)
		r = note_devices(plan);
	if (r == 0)
		r = tune_advise(&plan->config, &plan->changes);
	if (r == 0 && !plan->options->tune && has_nvidia(plan) &&
		vm_config_is_windows(&plan->config.now))
		r = changes_note(
			&plan->changes, "--tune shows what else NVIDIA's Windows driver may need");
	return r;
}

/* Notes the setting that lets a VM's start stop the container, unless it is there already. */
static int note_make_room(struct context *context, struct attach_plan *plan)
{
	cleanup(settings_done) struct settings settings = {0};
	unsigned int ctid = plan->config.vmid;
	bool stops = false;

	if (settings_read(&context->kernel.root, 0, &settings, NULL) < 0)
		return 0;
	for (size_t i = 0; i < settings.make_room.count && !stops; i++) {
		const struct room_entry *entry = &settings.make_room.items[i];

		stops = (entry->kind == ROOM_CONTAINER && !entry->guest) ||
			((entry->kind == ROOM_CONTAINER || entry->kind == ROOM_CONTAINER_UNIT) &&
				entry->guest == ctid);
	}
	return stops ? 0
		     : changes_note(&plan->changes,
			       "a VM that needs the card does not start while the container uses "
			       "it, unless /" SETTINGS_PATH
			       " lets it stop the container: make_room = ( { container = %u; } ); "
			       "or only a service in it: make_room = ( { container = %u; unit = "
			       "\"NAME.service\"; } );",
			       ctid, ctid);
}

static int plan_notes(struct context *context, struct attach_plan *plan, struct error *error)
{
	const struct storage *local = storages_find(&plan->storages, "local");
	int r = attach_devices_note_others(context, &plan->devices, &plan->changes, error);

	if (r < 0)
		return r;
	r = is_container(plan) ? note_make_room(context, plan) : note_vm(plan);
	if (r == 0 && !plan->options->enable_snippets && local && !storage_holds(local, "snippets"))
		r = changes_note(&plan->changes,
			"the web page does not list the hookscript, because the storage `local` "
			"is not set up for snippets: --enable-snippets sets it (the hookscript "
			"also works without)");
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

static int plan_make(struct context *context, unsigned int vmid, char **arguments,
	struct attach_plan *plan, struct error *error)
{
	int r = attach_devices_find(context, arguments, &plan->devices, error);

	if (r == 0)
		r = guest_config_read(context, vmid, &plan->config, error);
	plan->changes.kind = plan->config.kind;
	plan->changes.vmid = vmid;
	if (r == 0)
		r = check_guest(plan, error);
	if (r == 0)
		r = storages_read(&context->kernel.root, &plan->storages, error);
	if (r == 0)
		r = plan_hookscript(context, plan, error);
	if (r == 0 && is_container(plan))
		r = attach_nodes_plan(
			context, &plan->config, &plan->devices, &plan->changes, error);
	else if (r == 0)
		r = plan_options(plan, error);
	if (r == 0 && !is_container(plan))
		r = plan_devices(context, plan, error);
	return r < 0 ? r : plan_notes(context, plan, error);
}

/* ---- applying */

static int record_devices(const struct attach_devices *devices, struct attachment *attachment)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < devices->count; i++) {
		const struct names *addresses = &devices->items[i].addresses;

		for (size_t n = 0; r == 0 && n < addresses->count; n++)
			r = attachment_set_function(
				attachment, pci_find(&devices->host, addresses->names[n]));
	}
	return r;
}

/* Records the changes before they are made. */
static int record(struct context *context, const struct attach_plan *plan,
	struct attachment *attachment, struct error *error)
{
	/* pre-start compares the functions of VMs alone */
	int r = is_container(plan) ? 0 : record_devices(&plan->devices, attachment);

	for (size_t i = 0; r == 0 && i < plan->changes.count; i++) {
		const struct change *change = &plan->changes.items[i];

		r = attachment_set_key(attachment, change->key, change->before, change->after);
	}
	if (r < 0)
		return error_set_errno(error, r, "record what is attached");
	return attachment_write(&context->kernel.root, attachment, error);
}

/* Updates the record where qm or pct wrote a value in a different form from what we asked for. */
static int record_result(struct context *context, const struct changes *changes,
	struct attachment *attachment, struct error *error)
{
	bool same = true;

	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->items[i];
		struct attachment_key *key = attachment_find_key(attachment, change->key);

		if (change->after && strcmp(key->after, change->after) != 0) {
			same = false;
			if (text_replace(&key->after, change->after) < 0)
				return error_set_errno(error, -ENOMEM, "record what is attached");
		}
	}
	return same ? 0 : attachment_write(&context->kernel.root, attachment, error);
}

/* Reads the record and dates it now, or makes an empty one. *@ret_stood: there was a record. */
static int read_record(struct context *context, unsigned int vmid, struct attachment *ret,
	bool *ret_stood, struct error *error)
{
	struct attachment empty;
	int r = attachment_read(&context->kernel.root, vmid, ret, error);

	*ret_stood = r == 0;
	attachment_init(&empty, vmid);
	if (r == -ENOENT)
		*ret = empty;
	else if (r == 0)
		strcpy(ret->since, empty.since);
	return r == -ENOENT ? 0 : r;
}

static void restore_record(struct context *context, const struct attachment *old, bool stood)
{
	struct error error = {0};
	int r = stood ? attachment_write(&context->kernel.root, old, &error)
		      : attachment_remove(&context->kernel.root, old->vmid, &error);

	if (r < 0)
		log_write(&context->log, LOG_ERR, "%s", error.message);
}

static int apply(struct context *context, struct attach_plan *plan, struct error *error)
{
	cleanup(attachment_done) struct attachment old = {0}, new = {0};
	struct changes *changes = &plan->changes;
	bool stood, left = false;
	int r = program_check(context, changes->kind->path, error);

	if (r == 0)
		r = read_record(context, changes->vmid, &old, &stood, error);
	if (r == 0)
		r = read_record(context, changes->vmid, &new, &stood, error);
	if (r == 0)
		r = record(context, plan, &new, error);
	if (r < 0)
		return r;
	r = changes_apply(context, changes, &left, error);
	if (r == 0) {
		r = record_result(context, changes, &new, error);
		if (r < 0)
			left = !changes_undo(context, changes);
	}
	if (r < 0 && left)
		return error_wrap(error, r, "only partly done (`gpu-ferry detach %u` undoes it)",
			changes->vmid);
	if (r < 0) {
		restore_record(context, &old, stood);
		return r;
	}
	return changes_note_pending(changes) < 0 ? error_set_errno(error, -ENOMEM, "attach") : 0;
}

static void say_next(const struct context *context, const struct changes *changes)
{
	if (context->output != OUTPUT_TEXT || context->log_level < LOG_INFO)
		return;
	if (!changes->applied && changes->count)
		puts("Nothing has been changed yet: to do it, run the same command without "
		     "--dry-run.");
	else if (changes->kind == &guest_is_container)
		output_print("%s. Next: pct start %u; gpu-ferry detach %u takes it back.\n",
			changes->count ? "Done" : "Nothing to do", changes->vmid, changes->vmid);
	else
		output_print("%s. Next: gpu-ferry plan %u, then qm start %u; gpu-ferry detach %u "
			     "takes it back.\n",
			changes->count ? "Done" : "Nothing to do", changes->vmid, changes->vmid,
			changes->vmid);
}

int attach_guest(struct context *context, const struct attach_options *options, unsigned int vmid,
	char **arguments, struct error *error)
{
	cleanup(attach_plan_done) struct attach_plan plan = {.options = options};
	struct error later = {0};
	auto_close int lock = attachment_lock(context, !options->dry_run, vmid, error);
	int enabled = 0;
	int r;

	if (lock < 0)
		return lock;
	r = plan_make(context, vmid, arguments, &plan, error);
	if (r == 0 && !options->dry_run)
		r = apply(context, &plan, error);
	if (r < 0)
		return r;
	if (options->enable_snippets)
		enabled = listing_enable(context, !options->dry_run, &plan.changes, &later);
	r = changes_print(context, &plan.changes, error);
	if (r == 0)
		say_next(context, &plan.changes);
	if (r == 0 && enabled < 0)
		return error_set(error, enabled, "%s %u is attached, but: %s",
			plan.config.kind->noun, vmid, later.message);
	return r;
}
