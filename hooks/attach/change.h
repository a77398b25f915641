/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/pve/vm_config.h"
#include "conf/pve/vm_sections.h"
#include "hooks/base/context.h"
#include <stdbool.h>

/*
 * Changes of a VM's config, made by `qm set` and by nothing else: as an object that --dry-run
 * prints and the real run executes. What a running VM has changed may wait in [PENDING] until the
 * VM stops: a key's value here is the one that the next start sees.
 */

struct guest_config {
	unsigned int vmid;
	struct vm_config now;
	struct vm_sections sections;
	char digest[41]; /* of the text: tells qm whether it still is the same */
};

/* The errors of vm_config_read. Free with guest_config_done. */
int guest_config_read(
	struct context *context, unsigned int vmid, struct guest_config *ret, struct error *error);
void guest_config_done(struct guest_config *config);

/* The value that the running VM has, or NULL. One that we would drop as invalid counts: a newer
 * Proxmox may know it, and it is not ours to lose. */
const char *guest_config_now(const struct guest_config *config, const char *key);
/* The same of the value that the next start sees. */
const char *guest_config_get(const struct guest_config *config, const char *key);
bool guest_config_is_pending(const struct guest_config *config, const char *key);

/* machine: q35 at the next start */
bool guest_config_is_q35(const char *machine);

struct change {
	char key[32];
	char *before;	 /* NULL: not set */
	char *after;	 /* NULL: deleted */
	const char *why; /* a constant; NULL where the key says it all */
	bool pending;	 /* done, but not before the VM has stopped */
};

struct changes {
	unsigned int vmid;
	char digest[41]; /* of the config that they were planned for */
	struct change *items;
	size_t count;
	struct names notes; /* for the person, a line each */
	bool applied;
};

/* Adds the change of @key from what @config has to @after (NULL: delete it); nothing where that is
 * what it has. A second change of a key replaces the first. 0 or -ENOMEM. */
int changes_add(struct changes *changes, const struct guest_config *config, const char *key,
	const char *after, const char *why);

/* The value that @key has with the changes made. */
const char *changes_get(
	const struct changes *changes, const struct guest_config *config, const char *key);

/* Adds a note. 0 or -ENOMEM. */
int changes_note(struct changes *changes, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Notes which changes wait for the VM to stop. 0 or -ENOMEM. */
int changes_note_pending(struct changes *changes);
void changes_done(struct changes *changes);

/*
 * Runs `qm set`, which refuses when somebody has changed the config since it was read, and reads
 * back: each change's `after` and `pending` become what the config has now. When qm fails, or has
 * not done all, what it did is put back. 0; -ENOENT without qm, -EIO or another -errno. *@ret_left
 * is true when something could not be put back.
 */
int changes_apply(
	struct context *context, struct changes *changes, bool *ret_left, struct error *error);

/* Puts back what changes_apply did, but for what somebody else has changed since. False, and
 * logged, when that could not be done. */
bool changes_undo(struct context *context, struct changes *changes);

/* Prints them in the context's format: the command, the changes, the notes. */
int changes_print(struct context *context, const struct changes *changes, struct error *error);
