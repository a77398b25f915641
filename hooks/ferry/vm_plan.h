/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "resolve.h"
#include "take.h"

/* A VM's handover in full: its config, what it means on this host, and the plan. `plan` prints it
 * and pre-start runs it. */
struct vm_plan {
	struct pci_functions host;
	struct loans loans;
	struct resolved resolved;
	struct settings settings;
	struct plan plan;
};

/* All but the settings and the plan, in which only what Proxmox would die with stands as a blocker.
 * @ret must be zeroed; free with vm_plan_done also on failure. 0, or the errors of
 * vm_config_read. */
int vm_plan_resolve(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *ret, struct error *error);

/* The settings, read only when the VM asks for devices, and whether they refuse a backup's start,
 * which is a blocker then. The errors of settings_read. */
int vm_plan_settings(
	struct context *context, unsigned int vmid, struct vm_plan *guest, struct error *error);

/* The same with the plan. Settings that cannot be read are a blocker of it. */
int vm_plan_make(struct context *context, unsigned int vmid, const char *migrated_from,
	struct vm_plan *ret, struct error *error);
/* lock: backup. Proxmox starts a stopped VM, paused, for the time of its backup. */
bool vm_plan_is_for_backup(const struct vm_plan *guest);

void vm_plan_done(struct vm_plan *guest);

/* The request that take_run wants, pointing into @guest. */
struct take_request vm_plan_request(const struct vm_plan *guest, unsigned int vmid);
