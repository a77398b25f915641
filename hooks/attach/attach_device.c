/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the devices that `attach` was given, and the hostpci entries that have them already. */

#include "attach_device.h"

#include "conf/pve/hostpci.h"
#include "conf/pve/vm_list.h"
#include "hooks/base/devices.h"
#include "kmod-helper/base/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The form of the names in /sys/bus/mdev/devices. */
#define MEDIATED_DEVICE "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

static bool is_part(const struct names *part, const struct names *whole)
{
	for (size_t i = 0; i < part->count; i++) {
		if (!names_have(whole, part->names[i]))
			return false;
	}
	return true;
}

/* The first name that both have, or NULL. */
static const char *shared_name(const struct names *left, const struct names *right)
{
	for (size_t i = 0; i < left->count; i++) {
		if (names_have(right, left->names[i]))
			return left->names[i];
	}
	return NULL;
}

/* ---- arguments */

static int check_mediated(const char *argument, bool mediated, struct error *error)
{
	if (pattern_matches(MEDIATED_DEVICE, argument))
		return error_set(error, -EINVAL,
			"%s is a mediated device: Proxmox VE sets those up itself (qm set VMID "
			"--hostpci0 DEVICE,mdev=TYPE), without gpu-ferry",
			argument);
	if (mediated)
		return error_set(error, -EINVAL,
			"the mapping %s is for mediated devices: Proxmox VE sets those up itself, "
			"without gpu-ferry",
			argument);
	return 0;
}

static int check_bridges(
	const struct pci_functions *host, const struct attach_device *device, struct error *error)
{
	for (size_t i = 0; i < device->addresses.count; i++) {
		const struct pci_function *function = pci_find(host, device->addresses.names[i]);

		if (function && function->bridge)
			return error_set(error, -EINVAL,
				"%s is a PCI bridge: a bridge cannot be passed through",
				function->address);
	}
	return 0;
}

static bool is_mapping(const struct attach_device *device)
{
	return strncmp(device->host, "mapping=", 8) == 0;
}

/* True when the mapping has a card of which no function is in @others. */
static bool leaves_card(const struct names *mapping, const struct names *others)
{
	for (size_t i = 0; i < mapping->count; i++) {
		bool touched = false;

		for (size_t n = 0; n < others->count && !touched; n++)
			touched = pci_same_card(mapping->names[i], others->names[n]);
		if (!touched)
			return true;
	}
	return false;
}

/* True when the device is a mapping of several cards. */
static bool has_cards(const struct attach_device *device)
{
	const struct names first = {device->addresses.names, device->addresses.count ? 1 : 0};

	return is_mapping(device) && leaves_card(&device->addresses, &first);
}

/* True when both arguments can be used together. A mapping needs only one of its alternatives: the
 * others may be named elsewhere too, as long as one card is left. Two different mappings are always
 * fine. */
static bool leave_choice(const struct attach_device *left, const struct attach_device *right)
{
	if (is_mapping(left) && is_mapping(right))
		return strcmp(left->argument, right->argument) != 0;
	if (is_mapping(right))
		return leaves_card(&right->addresses, &left->addresses);
	return is_mapping(left) && leaves_card(&left->addresses, &right->addresses);
}

static int check_twice(const struct attach_devices *devices, struct error *error)
{
	const struct attach_device *last = &devices->items[devices->count - 1];

	for (size_t i = 0; i + 1 < devices->count; i++) {
		const char *address = shared_name(&devices->items[i].addresses, &last->addresses);

		if (address && !leave_choice(&devices->items[i], last))
			return error_set(error, -EEXIST,
				"%s and %s both mean %s: Proxmox VE passes a device only once",
				devices->items[i].argument, last->argument, address);
	}
	return 0;
}

static int find_one(struct context *context, const char *argument, struct attach_devices *devices,
	struct error *error)
{
	cleanup(device_meaning_done) struct device_meaning meaning = {0};
	struct attach_device *found = &devices->items[devices->count++];
	int r = device_find(context, &devices->host, argument, &meaning, error);
	int refused = check_mediated(argument, meaning.mediated, error);

	*found = (struct attach_device){.argument = argument, .entry = -1};
	if (r < 0 || refused < 0)
		return refused < 0 ? refused : r;
	found->addresses = meaning.addresses;
	meaning.addresses = (struct names){0};
	if (*meaning.device)
		snprintf(found->host, sizeof(found->host), "%s", meaning.device);
	else
		snprintf(found->host, sizeof(found->host), "mapping=%s", argument);
	r = check_bridges(&devices->host, found, error);
	return r < 0 ? r : check_twice(devices, error);
}

int attach_devices_find(
	struct context *context, char **arguments, struct attach_devices *ret, struct error *error)
{
	size_t count = 0;
	int r;

	while (arguments[count])
		count++;
	if (!count)
		return error_set(error, USAGE, "attach takes a VMID and a DEVICE");
	r = pci_scan(&context->kernel, &ret->host, error);
	if (r < 0)
		return r;
	ret->items = calloc(count, sizeof(*ret->items));
	if (!ret->items)
		return error_set_errno(error, -ENOMEM, "look for the devices");
	for (size_t i = 0; r == 0 && i < count; i++)
		r = find_one(context, arguments[i], ret, error);
	return r;
}

void attach_devices_done(struct attach_devices *devices)
{
	for (size_t i = 0; i < devices->count; i++) {
		names_done(&devices->items[i].addresses);
		names_done(&devices->items[i].found);
	}
	free(devices->items);
	pci_functions_done(&devices->host);
}

/* ---- hostpci entries of the VMs */

/* What the value of a hostpci entry means on this host. No functions when it means nothing here. */
struct entry_meaning {
	struct names functions;
	bool mapped;
	bool mediated;
};

static void meaning_done(struct entry_meaning *meaning)
{
	names_done(&meaning->functions);
}

/* 0 or -ENOMEM */
static int entry_functions(struct context *context, const struct pci_functions *host,
	const char *value, struct entry_meaning *ret)
{
	cleanup(device_meaning_done) struct device_meaning mapping = {0};
	cleanup(hostpci_done) struct hostpci hostpci = {0};
	struct error ignored = {0};
	int r = 0;

	if (hostpci_parse(value, &hostpci, &ignored) < 0)
		return 0;
	ret->mapped = hostpci.mapping;
	if (hostpci.mapping)
		r = devices_read_mapping(context, host, hostpci.mapping, &mapping, &ignored);
	ret->mediated = hostpci.mdev || mapping.mediated;
	for (size_t i = 0; r == 0 && i < mapping.addresses.count; i++)
		r = devices_add_functions(host, mapping.addresses.names[i], &ret->functions);
	for (size_t i = 0; r == 0 && i < hostpci.ids.count; i++)
		r = devices_add_functions(host, hostpci.ids.names[i], &ret->functions);
	return r == -ENOMEM ? r : 0;
}

static bool is_mapping_of(const struct attach_device *device, const char *value)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};

	return hostpci_parse(value, &hostpci, NULL) == 0 && hostpci.mapping &&
		strcmp(hostpci.mapping, device->argument) == 0;
}

/* The same check for an entry that is in the config already. */
static bool leaves_choice(const struct attach_device *device, const struct entry_meaning *meaning)
{
	if (is_mapping(device))
		return meaning->mapped || leaves_card(&device->addresses, &meaning->functions);
	return meaning->mapped && leaves_card(&meaning->functions, &device->addresses);
}

/* Notes which functions of @device a raw entry (one without a mapping) has. */
static int match_functions(struct attach_device *device, unsigned int index,
	const struct entry_meaning *meaning, struct error *error)
{
	const struct names *wanted = &device->addresses;
	bool is_first = !device->found.count;

	for (size_t i = 0; i < meaning->functions.count; i++) {
		const char *address = meaning->functions.names[i];

		if (!names_have(wanted, address) || names_have(&device->found, address))
			continue;
		if (device->entry < 0 || strcmp(address, wanted->names[0]) == 0)
			device->entry = (int)index;
		device->split = device->split || !is_first;
		if (names_add(&device->found, address) < 0)
			return error_set_errno(error, -ENOMEM, "read hostpci%u", index);
	}
	return 0;
}

static int match_one(struct attach_device *device, unsigned int index, const char *value,
	const struct entry_meaning *meaning, struct error *error)
{
	const char *shared = shared_name(&meaning->functions, &device->addresses);

	if (shared && meaning->mediated)
		return error_set(error, -EEXIST,
			"hostpci%u (%s) uses %s for mediated devices: the whole device cannot be "
			"passed too",
			index, value, shared);
	if (is_mapping(device) && is_mapping_of(device, value)) {
		device->entry = (int)index;
		return 0;
	}
	if (shared && !is_mapping(device) && !meaning->mapped)
		return match_functions(device, index, meaning, error);
	if (!shared || leaves_choice(device, meaning))
		return 0;
	return error_set(error, -EEXIST,
		"hostpci%u (%s) has %s already, which is a part of %s: remove that one first, "
		"with `qm set`",
		index, value, shared, device->argument);
}

static int match_entry(struct context *context, const struct guest_config *config,
	unsigned int index, struct attach_devices *devices, struct error *error)
{
	cleanup(meaning_done) struct entry_meaning meaning = {0};
	char key[32];
	const char *value;
	int r = 0;

	snprintf(key, sizeof(key), "hostpci%u", index);
	value = guest_config_get(config, key);
	if (!value)
		return 0;
	if (entry_functions(context, &devices->host, value, &meaning) < 0)
		return error_set_errno(error, -ENOMEM, "read %s", key);
	for (size_t n = 0; r == 0 && n < devices->count; n++)
		r = match_one(&devices->items[n], index, value, &meaning, error);
	return r;
}

int attach_devices_match(struct context *context, const struct guest_config *config,
	struct attach_devices *devices, struct error *error)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < HOSTPCI_MAX; i++)
		r = match_entry(context, config, i, devices, error);
	/* the functions of a device may be in several entries, but a part of them is not enough */
	for (size_t i = 0; r == 0 && i < devices->count; i++) {
		const struct attach_device *device = &devices->items[i];

		if (device->found.count && !is_part(&device->addresses, &device->found))
			r = error_set(error, -EEXIST,
				"hostpci%d has %s already, which is a part of %s: attach only "
				"that part, or remove it first (qm set %u --delete hostpci%d)",
				device->entry, device->found.names[0], device->argument,
				config->vmid, device->entry);
	}
	return r;
}

/* Collects the functions of all hostpci entries of a VM, pending ones too. A template has none,
 * because it never starts. Returns 0 (also when the config cannot be read) or -ENOMEM. */
static int guest_functions(struct context *context, const struct pci_functions *host,
	unsigned int vmid, struct entry_meaning *ret)
{
	cleanup(guest_config_done) struct guest_config config = {0};
	struct error ignored = {0};
	int r = guest_config_read(context, vmid, &config, &ignored);

	if (r < 0 || vm_config_is_template(&config.now))
		return r == -ENOMEM ? r : 0;
	for (unsigned int i = 0; r == 0 && i < HOSTPCI_MAX; i++) {
		const char *now, *next;
		char key[32];

		snprintf(key, sizeof(key), "hostpci%u", i);
		now = guest_config_now(&config, key);
		next = guest_config_get(&config, key);
		if (now)
			r = entry_functions(context, host, now, ret);
		if (r == 0 && next && next != now)
			r = entry_functions(context, host, next, ret);
	}
	return r;
}

static int note_other(struct context *context, const struct attach_devices *devices,
	unsigned int vmid, struct changes *changes)
{
	cleanup(meaning_done) struct entry_meaning meaning = {0};
	int r = guest_functions(context, &devices->host, vmid, &meaning);

	for (size_t i = 0; r == 0 && i < devices->count; i++) {
		const struct attach_device *device = &devices->items[i];

		if (!shared_name(&meaning.functions, &device->addresses))
			continue;
		if (has_cards(device) && changes->kind == &guest_is_vm)
			r = changes_note(changes,
				"%s is also attached to VM %u: each of them takes a card of it that "
				"is free when it starts",
				device->argument, vmid);
		else
			r = changes_note(changes,
				"%s is also attached to VM %u: only one of them can have the card "
				"at a time",
				device->argument, vmid);
	}
	return r;
}

int attach_devices_note_others(struct context *context, const struct attach_devices *devices,
	struct changes *changes, struct error *error)
{
	auto_free unsigned int *vmids = NULL;
	size_t count = 0;
	int r = vm_list_read(&context->kernel.root, &vmids, &count, error);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (vmids[i] != changes->vmid)
			r = note_other(context, devices, vmids[i], changes);
	}
	return r < 0 ? error_set_errno(error, r, "look at the other VMs") : 0;
}
