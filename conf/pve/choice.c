/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Chooses the functions that Proxmox would pass to a VM now. */

#include "choice.h"

#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <string.h>

struct chooser {
	const struct vm_config *config;
	const struct choice_host *host;
	struct choice choice;
	bool legacy_igd;   /* an earlier entry has it */
	struct names used; /* by earlier entries */
};

static void chooser_done(struct chooser *chooser)
{
	choice_done(&chooser->choice);
	names_done(&chooser->used);
}

static int ids_copy(const struct names *ids, struct alternatives *ret)
{
	struct names *list = alternatives_add(ret);

	for (size_t i = 0; list && i < ids->count; i++) {
		if (names_add(list, ids->names[i]) < 0)
			return -ENOMEM;
	}
	return list ? 0 : -ENOMEM;
}

/* The ids as written in the config or the mapping. */
static int entry_ids(
	const struct chooser *chooser, struct choice_entry *entry, struct alternatives *ret)
{
	const struct choice_host *host = chooser->host;
	int r = hostpci_check(&entry->hostpci, &entry->error);

	if (r < 0)
		return r;
	if (entry->hostpci.mapping)
		return mapping_find(host->mappings, entry->hostpci.mapping, host->node,
			host->look_up, host->context, ret, &entry->error);
	r = ids_copy(&entry->hostpci.ids, ret);
	return r < 0 ? error_set_errno(&entry->error, r, "read hostpci%u", entry->index) : 0;
}

static bool is_vgpu(const struct choice_host *host, const char *mdev, const char *address)
{
	struct mapping_device device;

	return host->look_up && host->look_up(host->context, address, &device) == 0 &&
		device.vgpu && pattern_matches("^nvidia-[0-9]+$", mdev);
}

static int alternative_find(
	const struct chooser *chooser, struct choice_entry *entry, const struct names *ids)
{
	const struct choice_host *host = chooser->host;
	struct names *addresses = alternatives_add(&entry->alternatives);

	if (!addresses)
		return error_set_errno(&entry->error, -ENOMEM, "read hostpci%u", entry->index);
	for (size_t i = 0; i < ids->count; i++) {
		int r = hostpci_find(
			ids->names[i], host->addresses, host->count, addresses, &entry->error);

		if (r < 0)
			return r;
	}
	if (!entry->mediated)
		return 0;
	if (addresses->count > 1)
		return error_set(&entry->error, -EINVAL,
			"cannot use mediated device with multifunction device");
	if (is_vgpu(host, entry->hostpci.mdev, addresses->names[0]))
		entry->vgpu = true;
	return 0;
}

/* As Proxmox's parse_hostpci. */
static int entry_resolve(const struct chooser *chooser, struct choice_entry *entry)
{
	cleanup(alternatives_done) struct alternatives ids = {0};
	int r = entry_ids(chooser, entry, &ids);

	for (size_t i = 0; r == 0 && i < ids.count; i++)
		r = alternative_find(chooser, entry, &ids.lists[i]);
	if (r < 0)
		alternatives_done(&entry->alternatives);
	return r;
}

static bool has_multifunction(const struct choice_entry *entry)
{
	for (size_t i = 0; i < entry->alternatives.count; i++) {
		if (entry->alternatives.lists[i].count > 1)
			return true;
	}
	return false;
}

/* Proxmox tests m/02\.0$/ on the first function. */
static bool is_igd(const struct choice_entry *entry)
{
	const char *address = entry->alternatives.lists[0].names[0];
	size_t length = strlen(address);

	return length >= 4 && strcmp(address + length - 4, "02.0") == 0;
}

/* The first fault of legacy-igd on this entry, in Proxmox's order, or NULL. */
static const char *legacy_igd_fault(
	const struct chooser *chooser, const struct choice_entry *entry, bool q35)
{
	const char *vga = vm_config_get(chooser->config, "vga");

	if (chooser->legacy_igd)
		return "only one device can be assigned in legacy-igd mode";
	if (!vga || strcmp(vga, "none") != 0)
		return "legacy IGD assignment requires VGA mode to be 'none'";
	if (!entry->hostpci.rombar)
		return "legacy IGD assignment requires rombar to be enabled";
	if (entry->hostpci.x_vga)
		return "legacy IGD assignment is not compatible with x-vga";
	if (entry->mediated)
		return "legacy IGD assignment is not compatible with mdev";
	if (q35)
		return "legacy IGD assignment is not compatible with q35";
	if (has_multifunction(entry))
		return "legacy IGD assignment is not compatible with multifunction devices";
	if (entry->alternatives.count > 1)
		return "legacy IGD assignment is not compatible with alternate devices";
	if (!is_igd(entry))
		return "legacy IGD assignment only works for devices on host bus 00:02.0";
	return NULL;
}

/* Proxmox finds these faults only after pre-start, when it writes QEMU's command line. Here they
 * are only reported: refusing is left to Proxmox. */
static void entry_check(struct chooser *chooser, struct choice_entry *entry)
{
	bool q35 = vm_config_is_q35(chooser->config);

	if (entry->hostpci.pcie && !q35)
		entry->notice = "q35 machine model is not enabled";
	if (!entry->hostpci.legacy_igd)
		return;
	if (!entry->notice)
		entry->notice = legacy_igd_fault(chooser, entry, q35);
	chooser->legacy_igd = true;
}

static void choice_fail(struct choice *choice, const struct choice_entry *entry)
{
	if (choice->error.status == 0)
		error_set(&choice->error, entry->error.status, "hostpci%u: %s", entry->index,
			entry->error.message);
}

static struct choice_entry *entry_add(struct choice *choice, unsigned int index)
{
	struct choice_entry *grown =
		reallocarray(choice->entries, choice->count + 1, sizeof(*grown));

	if (!grown)
		return NULL;
	choice->entries = grown;
	grown += choice->count++;
	*grown = (struct choice_entry){.index = index, .chosen = -1};
	return grown;
}

/* The first pass: every entry is read before any is chosen. */
static int entry_read(struct chooser *chooser, unsigned int index, const char *value)
{
	struct choice_entry *entry = entry_add(&chooser->choice, index);
	int r;

	if (!entry)
		return -ENOMEM;
	r = hostpci_parse(value, &entry->hostpci, &entry->error);
	entry->mediated = r == 0 && entry->hostpci.mdev;
	if (r == 0)
		r = entry_resolve(chooser, entry);
	if (r == 0)
		entry_check(chooser, entry);
	if (r < 0)
		choice_fail(&chooser->choice, entry);
	return r == -ENOMEM ? r : 0;
}

static int use(struct chooser *chooser, struct choice_entry *entry, const struct names *addresses)
{
	for (size_t i = 0; i < addresses->count; i++) {
		if (names_have(&chooser->used, addresses->names[i]))
			return error_set(&entry->error, -EINVAL,
				"device '%s' assigned more than once", addresses->names[i]);
		if (names_add(&chooser->used, addresses->names[i]) < 0)
			return error_set_errno(
				&entry->error, -ENOMEM, "choose hostpci%u", entry->index);
	}
	return 0;
}

static int check_free(
	const struct chooser *chooser, const struct names *addresses, struct error *error)
{
	const struct choice_host *host = chooser->host;

	for (size_t i = 0; host->check_free && i < addresses->count; i++) {
		int r = host->check_free(host->context, addresses->names[i], error);

		if (r < 0)
			return r;
	}
	return 0;
}

static bool any_used(const struct chooser *chooser, const struct names *addresses)
{
	for (size_t i = 0; i < addresses->count; i++) {
		if (names_have(&chooser->used, addresses->names[i]))
			return true;
	}
	return false;
}

static int choose_first_free(struct chooser *chooser, struct choice_entry *entry)
{
	for (size_t i = 0; i < entry->alternatives.count; i++) {
		const struct names *addresses = &entry->alternatives.lists[i];
		int r;

		if (any_used(chooser, addresses) || check_free(chooser, addresses, NULL) < 0)
			continue;
		r = use(chooser, entry, addresses);
		if (r == 0)
			entry->chosen = (ptrdiff_t)i;
		return r;
	}
	return error_set(&entry->error, -EBUSY, "could not find a free device for 'hostpci%u'",
		entry->index);
}

/* A single alternative is chosen without a check; the last pass finds out whether another VM has
 * it. */
static int entry_choose(struct chooser *chooser, struct choice_entry *entry)
{
	int r;

	if (entry->mediated && !entry->vgpu) {
		entry->chosen = 0;
		return 0;
	}
	if (entry->alternatives.count > 1)
		return choose_first_free(chooser, entry);
	/* set even when the device is assigned twice: a plan shows what was asked for */
	entry->chosen = 0;
	r = use(chooser, entry, &entry->alternatives.lists[0]);
	/* Proxmox makes a vGPU, and reserves its function, at this point already */
	if (r == 0 && entry->vgpu)
		r = check_free(chooser, &entry->alternatives.lists[0], &entry->error);
	return r;
}

/* The last pass: Proxmox reserves at once all that was chosen. */
static int entry_reserve(struct chooser *chooser, struct choice_entry *entry)
{
	if (entry->mediated && !entry->vgpu)
		return 0;
	return check_free(chooser, choice_addresses(entry), &entry->error);
}

static int pass(
	struct chooser *chooser, int (*step)(struct chooser *chooser, struct choice_entry *entry))
{
	for (size_t i = 0; i < chooser->choice.count; i++) {
		struct choice_entry *entry = &chooser->choice.entries[i];
		int r;

		if (entry->error.status)
			continue;
		r = step(chooser, entry);
		if (r < 0)
			choice_fail(&chooser->choice, entry);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

static int choose_all(struct chooser *chooser)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < HOSTPCI_MAX; i++) {
		const char *value = vm_config_hostpci(chooser->config, i);

		if (value)
			r = entry_read(chooser, i, value);
	}
	if (r == 0)
		r = pass(chooser, entry_choose);
	return r == 0 ? pass(chooser, entry_reserve) : r;
}

int choice_make(const struct vm_config *config, const struct choice_host *host, struct choice *ret,
	struct error *error)
{
	cleanup(chooser_done) struct chooser chooser = {.config = config, .host = host};

	if (choose_all(&chooser) < 0)
		return error_set_errno(error, -ENOMEM, "choose the devices of the VM");
	*ret = chooser.choice;
	chooser.choice = (struct choice){0};
	return 0;
}

void choice_done(struct choice *choice)
{
	for (size_t i = 0; i < choice->count; i++) {
		hostpci_done(&choice->entries[i].hostpci);
		alternatives_done(&choice->entries[i].alternatives);
	}
	free(choice->entries);
	*choice = (struct choice){0};
}

const struct names *choice_addresses(const struct choice_entry *entry)
{
	return entry->chosen < 0 ? NULL : &entry->alternatives.lists[entry->chosen];
}
