/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads what stands below a guest's config: [PENDING], the changes that wait for it to stop, and
 * snapshots. Source: PVE/QemuServer.pm (parse_vm_config) of qemu-server 9.2.6,
 * PVE/LXC/Config.pm (parse_pct_config) of pve-container 6.1.10. */

#include "kmod-helper/base/error.h"
#include "vm_config.h"
#include <stdbool.h>
#include <stddef.h>

struct vm_section {
	char *name; /* "PENDING", or a snapshot's name; "special:cloudinit" and the like too */
	struct vm_config_entry *entries; /* each key once; values as written, unchecked */
	size_t count;
};

struct vm_sections {
	struct vm_section *items;
	size_t count;
	struct vm_section own; /* what stands above them all, even what Proxmox would drop */
	bool container; /* to be set after reading: pending changes are in [pve:pending] then */
};

/* Reads the sections of the @length bytes @text. Returns 0 or -ENOMEM. @ret is untouched on
 * failure; free with vm_sections_done. */
int vm_sections_parse(
	const char *text, size_t length, struct vm_sections *ret, struct error *error);
void vm_sections_done(struct vm_sections *sections);

/* The value of @key in that section, or NULL. */
const char *vm_section_get(const struct vm_section *section, const char *key);

bool vm_section_is_snapshot(const struct vm_section *section);

/* The value that [PENDING] has for @key, or NULL. *@ret_pending (may be NULL) says whether a change
 * of the key waits there; if it does and the value is NULL, the key will be deleted. */
const char *vm_pending_get(const struct vm_sections *sections, const char *key, bool *ret_pending);
