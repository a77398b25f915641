/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/pve/choice.h"
#include "conf/pve/reservation.h"
#include "conf/pve/vm_config.h"
#include "conf/settings.h"
#include "hooks/base/devices.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/plan/plan.h"

/* Finds which functions of this host a VM's config means, as Proxmox would choose them now. */

struct resolved {
	struct vm_config config;
	struct choice choice;
	struct plan_want *wants; /* none for a template, none for mediated devices */
	size_t want_count;
};

/* Reads the config of @vmid and finds what every hostpci entry means on @host. A function that
 * another VM has reserved or borrowed counts as taken. What Proxmox would refuse is in ret->choice,
 * not in the return value. @migrated_from: PVE_MIGRATED_FROM or NULL. @settings: a VM that makes
 * room by them has nothing reserved; NULL: none does. 0 or the errors of vm_config_read. */
int resolve_vm(struct context *context, unsigned int vmid, const char *migrated_from,
	const struct pci_functions *host, const struct loans *loans,
	const struct settings *settings, struct resolved *ret, struct error *error);
void resolved_done(struct resolved *resolved);

/* True when both ask for the same functions, each chosen or as an alternative. */
bool resolved_equal(const struct resolved *left, const struct resolved *right);

/* Adds a blocker for everything that Proxmox, or QEMU, would refuse. 0 or -ENOMEM. */
int resolved_add_blockers(
	const struct root *root, const struct resolved *resolved, struct plan *plan);
