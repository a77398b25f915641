/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/quirks.h"
#include "conf/settings.h"
#include "resolve.h"
#include "take.h"

/* The whole handover of a VM: its config, what it means on this host, and the plan. `plan` prints
 * it and pre-start runs it. */
struct vm_plan {
	struct pci_functions host;
	struct loans loans;
	struct resolved resolved;
	struct settings settings;
	struct quirks quirks;
	struct plan plan;
};

/* Fills all but the settings and the steps of the plan. The plan only gets blockers: what Proxmox
 * would refuse, a loan that cannot be read, a card that was replaced. @ret must be zeroed; free
 * with vm_plan_done also on failure. 0, or the errors of vm_config_read. */
int vm_plan_resolve(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *ret, struct error *error);

/* Reads the settings and the quirks, but only when the VM asks for devices. Adds a blocker when
 * they refuse to start the VM for a backup. 0 or the errors of settings_read. */
int vm_plan_settings(
	struct context *context, unsigned int vmid, struct vm_plan *guest, struct error *error);

/* Does both, and makes the plan. Settings that cannot be read become a blocker. */
int vm_plan_make(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *ret, struct error *error);

/* Says that Proxmox starts the VM without a device, why, and what to write instead. */
void vm_plan_tell_ignored(const struct vm_config_entry *ignored, char *ret, size_t size);

/* True when the config has `lock: backup`: Proxmox starts a stopped VM, paused, for the time of its
 * backup. */
bool vm_plan_is_for_backup(const struct vm_plan *guest);

void vm_plan_done(struct vm_plan *guest);

/* The request for take_run. It points into @guest. */
struct take_request vm_plan_request(const struct vm_plan *guest, unsigned int vmid);
