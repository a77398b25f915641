/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/ferry/vm_plan.h"
#include "view.h"

/* The functions that a VM was given, and where its guest sees them. */

struct guest_card {
	char address[PCI_ADDRESS_SIZE]; /* the host's */
	uint16_t vendor_id, device_id;	/* the guest's: a hostpci entry may set others */
	bool display;
	const struct guest_device *seen; /* NULL: not on the guest's bus */
};

struct guest_cards {
	struct guest_card *items;
	size_t count;
};

/* The functions that the hostpci entries of @plan mean, those of mediated devices left out. Of a
 * mapping's alternatives the one that the VM's loan has, or else the one that Proxmox would choose
 * now. 0 or -ENOMEM. */
int guest_cards_find(const struct vm_plan *plan, unsigned int vmid, struct guest_cards *ret,
	struct error *error);
void guest_cards_done(struct guest_cards *cards);

/* Looks for each among @devices, by vendor and device id; of several alike in their order. They
 * then point into @devices. */
void guest_cards_match(struct guest_cards *cards, const struct guest_devices *devices);

/* A display of NVIDIA's. */
bool guest_card_is_nvidia(const struct guest_card *card);
