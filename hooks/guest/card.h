/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/ferry/vm_plan.h"
#include "view.h"

/* The functions that a VM was given, and where its guest sees them. */

struct guest_card {
	char address[PCI_ADDRESS_SIZE]; /* on the host */
	uint16_t vendor_id, device_id;	/* in the guest: a hostpci entry may set other ids */
	bool display;
	const struct guest_device *seen; /* NULL: not on the guest's bus */
};

struct guest_cards {
	struct guest_card *items;
	size_t count;
};

/* Finds the functions that the hostpci entries of @plan mean, but not those of mediated devices.
 * For a mapping it takes the alternative that the VM's loan has, or else the one that Proxmox would
 * choose now. 0 or -ENOMEM. */
int guest_cards_find(const struct vm_plan *plan, unsigned int vmid, struct guest_cards *ret,
	struct error *error);
void guest_cards_done(struct guest_cards *cards);

/* Finds each card among @devices, by vendor and device id. Several with the same ids are matched in
 * their order. The cards then point into @devices. */
void guest_cards_match(struct guest_cards *cards, const struct guest_devices *devices);

/* True for an NVIDIA display. */
bool guest_card_is_nvidia(const struct guest_card *card);
