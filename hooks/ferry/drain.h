/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/operation/operation.h"
#include "kmod-helper/plan/plan.h"

/*
 * The step `drain`: closes NVIDIA's driver to new users of a card while the card is taken, so that
 * nobody opens it between the last look for users and the unbind. Where nvidia-smi is installed:
 * persistence mode off (nvidia-smi(1): without that a card cannot be drained), then `nvidia-smi
 * drain -m 1`; its undo is drain off, and persistence as it was. Both are a precaution: what fails
 * is a remark, and nothing is refused because of it.
 */
extern const struct operation drain_operations[];

/* A card of which nvidia-smi gives an answer. */
struct drain_card {
	char address[PCI_ADDRESS_SIZE];
	bool is_persistent;
};

struct drain_cards {
	struct drain_card *items;
	size_t count;
};

void drain_cards_done(struct drain_cards *cards);

/* Asks nvidia-smi for the persistence mode of each of @wants that nvidia has. A card of which it
 * gives no answer is not drained. Call it before the plan is made: nvidia-smi loads nvidia_uvm. */
void drain_ask(const struct context *context, const struct plan_want *wants, size_t want_count,
	struct drain_cards *ret);

/* Adds a step for each of @cards that the plan unbinds from nvidia, before all others. 0 or
 * -ENOMEM. */
int drain_plan(const struct drain_cards *cards, struct plan *plan);
