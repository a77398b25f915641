/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include "kmod-helper/device/pci.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The record of what `attach` did on this node: `detach` takes it back, and the hook compares the
 * cards with it. JSON files in /var/lib/gpu-ferry/attachments (root, 0700): "vm-104.json" for a VM
 * or container, and "storage.json" for the content list of the storage that has the snippet. A file
 * is always replaced as a whole; fields that this version does not know are kept. */

#define ATTACHMENT_FOLDER "var/lib/gpu-ferry/attachments"
#define ATTACHMENT_SCHEMA 1
#define ATTACHMENT_STORAGE 0u /* instead of a VMID: storage.json */

struct json_object;

/* A changed key of the guest's config; for the storage it is "content". */
struct attachment_key {
	char name[32];
	char *before; /* NULL: it was not set */
	char *after;  /* NULL: it was deleted */
	struct json_object *record;
};

/* A function as it was when it was attached. */
struct attachment_function {
	char address[PCI_ADDRESS_SIZE];
	uint16_t vendor_id, device_id;
	uint16_t subsystem_vendor_id, subsystem_device_id;
	struct json_object *record;
};

struct attachment {
	unsigned int vmid; /* or ATTACHMENT_STORAGE */
	char since[32];	   /* time of the last attach (RFC 3339, UTC) */
	struct attachment_key *keys;
	size_t key_count;
	struct attachment_function *functions;
	size_t function_count;
	struct json_object *record;
};

void attachment_done(struct attachment *attachment);

/* Find the key of that name, or the function at that address; NULL when the record has none. */
struct attachment_key *attachment_find_key(const struct attachment *attachment, const char *name);
struct attachment_function *attachment_find_function(
	const struct attachment *attachment, const char *address);

/* Add a key of that name, or an empty function, to the record. NULL when out of memory. */
struct attachment_key *attachment_add_key(struct attachment *attachment, const char *name);
struct attachment_function *attachment_add_function(struct attachment *attachment);

/* Frees what the key has. */
void attachment_key_done(struct attachment_key *key);

/* The path of a record, below the root. */
void attachment_path(unsigned int vmid, char *path, size_t size);

/* The hookscript that the guest had before ours, as a volume id; NULL when it had none. */
const char *attachment_chained(const struct attachment *attachment);

/* Returns 0 when @function is the device that was recorded for its address, or when none was
 * recorded; else -ESTALE. */
int attachment_check_function(const struct attachment *attachment,
	const struct pci_function *function, struct error *error);

/* Text of a record to struct and back. 0, -EPROTONOSUPPORT for a newer schema, -EBADMSG for what is
 * no record, -ENOMEM, or -ERANGE for what could not be read again. The text is malloced. */
int attachment_parse(const char *text, struct attachment *ret, struct error *error);
int attachment_format(const struct attachment *attachment, char **ret_text, struct error *error);

/* Reads a record. Returns 0, -ENOENT (there is none; @error is not set), -EPERM (the file is not
 * root's, or others can write it), attachment_parse's errors, or another -errno. */
int attachment_read(
	const struct root *root, unsigned int vmid, struct attachment *ret, struct error *error);
