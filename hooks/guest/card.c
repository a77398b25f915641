/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds a VM's devices again on the PCI bus of its guest. */

#include "card.h"

#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const struct loan *find_loan(const struct loans *loans, unsigned int vmid)
{
	for (size_t i = 0; i < loans->count; i++) {
		const struct loan_owner *owner = &loans->items[i].owner;

		if (owner->kind == LOAN_OWNER_VM && owner->vmid == vmid)
			return &loans->items[i];
	}
	return NULL;
}

static bool is_lent(const struct loan *loan, const struct names *addresses)
{
	const struct loan_function *function =
		addresses->count ? loan_find(loan, addresses->names[0]) : NULL;

	return function && function->use != LOAN_ALTERNATIVE;
}

static const struct names *find_addresses(const struct choice_entry *entry, const struct loan *loan)
{
	for (size_t i = 0; loan && i < entry->alternatives.count; i++) {
		if (is_lent(loan, &entry->alternatives.lists[i]))
			return &entry->alternatives.lists[i];
	}
	return choice_addresses(entry);
}

/* Replaces the id when the entry sets one, such as "0x2704" (PVE/QemuServer/PCI.pm,
 * print_hostpci_devices). */
static void set_id(const struct choice_entry *entry, const char *option, uint16_t *id)
{
	const char *text = property_get(&entry->hostpci.options, option);
	unsigned long long value;

	if (text && strncmp(text, "0x", 2) == 0 &&
		parse_unsigned(text + 2, 16, UINT16_MAX, &value) == 0)
		*id = (uint16_t)value;
}

static int add_card(struct guest_cards *cards, const struct choice_entry *entry,
	const struct pci_function *function, bool first)
{
	struct guest_card *card = LIST_ADD(cards->items, cards->count);

	if (!card)
		return -ENOMEM;
	*card = (struct guest_card){
		.vendor_id = function->vendor_id,
		.device_id = function->device_id,
		.display = pci_is_display(function),
	};
	memcpy(card->address, function->address, sizeof(card->address));
	/* Proxmox sets these ids for the first function only */
	if (first) {
		set_id(entry, "vendor-id", &card->vendor_id);
		set_id(entry, "device-id", &card->device_id);
	}
	return 0;
}

int guest_cards_find(
	const struct vm_plan *plan, unsigned int vmid, struct guest_cards *ret, struct error *error)
{
	const struct loan *loan = find_loan(&plan->loans, vmid);
	const struct choice *choice = &plan->resolved.choice;
	int r = 0;

	for (size_t i = 0; i < choice->count; i++) {
		const struct choice_entry *entry = &choice->entries[i];
		const struct names *addresses =
			entry->mediated ? NULL : find_addresses(entry, loan);

		for (size_t k = 0; r == 0 && addresses && k < addresses->count; k++) {
			const struct pci_function *function =
				pci_find(&plan->host, addresses->names[k]);

			if (function)
				r = add_card(ret, entry, function, k == 0);
		}
	}
	return r < 0 ? error_set_errno(error, r, "look for the VM's devices") : 0;
}

void guest_cards_done(struct guest_cards *cards)
{
	free(cards->items);
	*cards = (struct guest_cards){0};
}

static bool is_seen(const struct guest_cards *cards, const struct guest_device *device)
{
	for (size_t i = 0; i < cards->count; i++) {
		if (cards->items[i].seen == device)
			return true;
	}
	return false;
}

void guest_cards_match(struct guest_cards *cards, const struct guest_devices *devices)
{
	for (size_t i = 0; i < cards->count; i++)
		cards->items[i].seen = NULL;
	for (size_t i = 0; i < cards->count; i++) {
		struct guest_card *card = &cards->items[i];

		for (size_t k = 0; !card->seen && k < devices->count; k++) {
			const struct guest_device *device = &devices->items[k];

			if (device->vendor_id == card->vendor_id &&
				device->device_id == card->device_id && !is_seen(cards, device))
				card->seen = device;
		}
	}
}

bool guest_card_is_nvidia(const struct guest_card *card)
{
	return card->display && card->vendor_id == PCI_VENDOR_NVIDIA;
}
