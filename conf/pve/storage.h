/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Storages: /etc/pve/storage.cfg. Source: PVE/SectionConfig.pm (parse_config),
 * PVE/Storage/Plugin.pm (parse_config, get_subdir, parse_volname) and PVE/GuestHelpers.pm
 * (check_hookscript) of pve-storage 9.1.7.
 */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

#define STORAGE_MAX_BYTES (1024 * 1024)

struct storage {
	char *id;
	char *type;
	char *path;	/* its folder; NULL: it has none (LVM, ZFS, RBD, …) */
	char *content;	/* as written, or Proxmox's default; NULL: the type's, unknown here */
	char *snippets; /* the folder of snippets below `path`; NULL: the usual one */
	char *nodes;	/* as written; NULL: every node */
	bool disabled;
};

struct storages {
	struct storage *items; /* of sections with the same id only the last; has `local` always */
	size_t count;
	struct names warnings;
};

/* Reads storage.cfg as Proxmox does; `local` is the folder /var/lib/vz on every node, whatever the
 * file says. Returns 0 or -ENOMEM. @ret is untouched on failure; free with storages_done. */
int storages_parse(const char *text, size_t length, struct storages *ret, struct error *error);
void storages_done(struct storages *storages);

/* Reads etc/pve/storage.cfg; a missing file means `local` alone. The errors of mappings_read. */
int storages_read(const struct root *root, struct storages *ret, struct error *error);

const struct storage *storages_find(const struct storages *storages, const char *id);

/* True when the storage's content list has @content ("snippets"). */
bool storage_holds(const struct storage *storage, const char *content);

/* True when two content lists have the same entries, in any order: Proxmox does not keep one. */
bool storage_contents_equal(const char *left, const char *right);

/* Finds the file of the volume @volume ("local:snippets/NAME"), without a leading slash. As Proxmox
 * at a start, it ignores the content list, `disable` and `nodes`. Returns 0, -EINVAL when @volume
 * is no volume id of a snippet or its storage has no folder, -ENOENT when there is no such storage,
 * -ENAMETOOLONG. */
int storages_find_snippet(const struct storages *storages, const char *volume, char *ret,
	size_t size, struct error *error);

/* Would Proxmox run the file @path of the volume @volume? A regular file, links followed, and
 * executable. Returns 0, -ENOENT, -EACCES (not executable) or -errno of looking. */
int snippet_check(
	const struct root *root, const char *volume, const char *path, struct error *error);
