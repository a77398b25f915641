/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/pve/vm_config.h"
#include "conf/pve/vm_sections.h"
#include "hooks/base/context.h"
#include <stdbool.h>

/* Changes of a VM's or a container's config, made only with `qm set` or `pct set`. --dry-run prints
 * the same object that the real run executes. While a guest runs, a change may wait in [PENDING]
 * until it stops; the value of a key here is the one that the next start will use. */

/* What differs between VMs and containers: Proxmox's programs take the same words. */
struct guest_kind {
	const char *noun; /* "VM" */
	const char *tool; /* "qm" */
	const char *path; /* "/usr/sbin/qm" */
};

extern const struct guest_kind guest_is_vm, guest_is_container;

struct guest_config {
	const struct guest_kind *kind;
	unsigned int vmid;
	struct vm_config now;
	struct vm_sections sections;
	struct names nodes; /* of a container: container_nodes_parse */
	char digest[41];    /* of the text: qm refuses when the config has changed since */
};

/* Reads the config of the VM or container. Returns 0 or the errors of vm_config_read. Free with
 * guest_config_done. */
int guest_config_read(
	struct context *context, unsigned int vmid, struct guest_config *ret, struct error *error);
void guest_config_done(struct guest_config *config);

/* The value that the running guest has, or NULL. This includes values that look invalid to us: a
 * newer Proxmox may know them, and we must not lose them. */
const char *guest_config_now(const struct guest_config *config, const char *key);
/* The value that the next start will use, found in the same way. */
const char *guest_config_get(const struct guest_config *config, const char *key);
bool guest_config_is_pending(const struct guest_config *config, const char *key);

/* True when the value of `machine` is a q35 type. */
bool guest_config_is_q35(const char *machine);

struct change {
	char key[32];
	char *before;	 /* NULL: not set */
	char *after;	 /* NULL: deleted */
	const char *why; /* a constant; NULL when the key needs no explanation */
	bool pending;	 /* takes effect only after the guest has stopped */
};

struct changes {
	const struct guest_kind *kind; /* guest_config_read's */
	unsigned int vmid;
	char digest[41]; /* of the config that they were planned for */
	struct change *items;
	size_t count;
	struct names notes; /* for the user, one line each */
	bool applied;
};

/* Adds a change of @key from its value in @config to @after (NULL: delete it). Adds nothing when it
 * has that value already. A second change of a key replaces the first. 0 or -ENOMEM. */
int changes_add(struct changes *changes, const struct guest_config *config, const char *key,
	const char *after, const char *why);

/* The value that @key will have after the changes. */
const char *changes_get(
	const struct changes *changes, const struct guest_config *config, const char *key);

/* Finds the first of @prefix0 to @prefixN that is free after the changes, and that the running
 * guest does not use either: a pending deletion is not done yet. 0 or -ENOSPC. */
int changes_free_key(const struct changes *changes, const struct guest_config *config,
	const char *prefix, unsigned int count, char *ret, size_t size, struct error *error);

/* Adds a note. 0 or -ENOMEM. */
int changes_note(struct changes *changes, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Notes which changes wait for the guest to stop. 0 or -ENOMEM. */
int changes_note_pending(struct changes *changes);
void changes_done(struct changes *changes);

/* Runs `qm set` or `pct set`, which refuses when somebody has changed the config since it was read.
 * Then reads the config back: each change's `after` and `pending` become what the config has now.
 * When qm fails, or did not make every change, what it did is put back. Returns 0, -ENOENT (no qm),
 * -EIO or another -errno. *@ret_left is true when something could not be put back. */
int changes_apply(
	struct context *context, struct changes *changes, bool *ret_left, struct error *error);

/* Puts back what changes_apply did, except what somebody else has changed since. When that fails it
 * is logged, and false is returned. */
bool changes_undo(struct context *context, struct changes *changes);

/* Prints the command, the changes and the notes, in the context's format. */
int changes_print(struct context *context, const struct changes *changes, struct error *error);
