/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A VM's config as Proxmox sees it at start: what stands before the first section. Source:
 * PVE/QemuServer.pm (parse_vm_config, check_type, $confdesc) of qemu-server 9.2.6. Needs libc,
 * kmod-helper/base and, here in conf/, cluster, hostpci, node and property.
 */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include "vm_entries.h"
#include <stdbool.h>
#include <stddef.h>

#define VM_CONFIG_MAX_BYTES (1024 * 1024)

struct vm_config {
	struct vm_config_entry *entries; /* each key once */
	size_t count;
	/* each hostpciN line that Proxmox ignores, so that the VM starts without its device */
	struct vm_config_entry *ignored;
	size_t ignored_count;
	struct names warnings; /* one line for each other line that Proxmox ignores */
};

/* Reads the @length bytes @text. Lines that are no settings, and values that Proxmox rejects for
 * keys that are read here, are left out, as Proxmox does, with a warning; of a key given twice the
 * last valid line counts. Other keys are not judged: they stand there as they are written. Nor are
 * the models and the flags of `cpu`. Returns 0 or -ENOMEM. @ret is untouched on failure; free with
 * vm_config_done. */
int vm_config_parse(const char *text, size_t length, struct vm_config *ret, struct error *error);
void vm_config_done(struct vm_config *config);

struct vm_config_read_options {
	unsigned int vmid;
	bool container;		   /* it is a container's number; for vm_config_read_text */
	const char *migrated_from; /* PVE_MIGRATED_FROM; NULL or "": the VM is this node's */
	unsigned int deadline_ms;  /* for /etc/pve to answer; used with the live root only */
};

/*
 * Reads the config of a VM of this node (or of the node that it is migrating from). Source:
 * PVE/AbstractConfig.pm, load_config. In addition to vm_config_parse's errors:
 *
 * -ENOENT    no such VM
 * -EREMOTE   the VM is another node's, which the message names
 * -ENOTCONN  no VM has a config: /etc/pve is empty, pmxcfs does not run
 * -EISNAM    the VMID is a container's
 * -EISDIR, -ENXIO  a folder, or something else that is not a file, is in its place
 * -EFBIG     more than VM_CONFIG_MAX_BYTES
 * -EILSEQ    a NUL byte
 * -EINVAL    migrated_from is no node name
 * -ETIMEDOUT  /etc/pve does not answer; other -errno of the reading.
 */
int vm_config_read(const struct root *root, const struct vm_config_read_options *options,
	struct vm_config *ret, struct error *error);

/* Reads the same file as text, with its sections, for vm_config_parse and vm_sections_parse; the
 * caller frees it. */
int vm_config_read_text(const struct root *root, const struct vm_config_read_options *options,
	char **ret_text, size_t *ret_length, struct error *error);

/* The value, or NULL when the key is not set. Booleans are "0" or "1". `description` is there when
 * the file has one: decoded, with bytes that are not UTF-8 replaced. The value lives as long as
 * @config. */
const char *vm_config_get(const struct vm_config *config, const char *key);

/* The value of hostpci@index, or NULL. */
const char *vm_config_hostpci(const struct vm_config *config, unsigned int index);

/* True when any hostpciN is set. */
bool vm_config_has_hostpci(const struct vm_config *config);

/* template: 1 */
bool vm_config_is_template(const struct vm_config *config);

/* One of Proxmox's guest types; "other" when unset or when Proxmox does not know it. */
const char *vm_config_ostype(const struct vm_config *config);

/* The guest type is one of the w* ones. */
bool vm_config_is_windows(const struct vm_config *config);

/* agent: 1. A running VM has the agent's socket only if this was set when it started. */
bool vm_config_has_agent(const struct vm_config *config);

/* As PVE/QemuServer/Machine.pm, machine_type_is_q35. */
bool vm_config_is_q35(const struct vm_config *config);
