/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads what is known of kernels, drivers and cards: the shipped file conf/gpu-ferry.quirks, and
 * the administrator's own entries. gpu-ferry.conf(5) explains the entries. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stdint.h>

#define QUIRKS_PATH "usr/share/gpu-ferry/quirks.conf"
#define QUIRKS_FOLDER "etc/gpu-ferry/quirks.d"

/* "10de:2b00-2bff": devices of one vendor */
struct quirk_id {
	uint16_t vendor;
	uint16_t first, last;
};

struct quirk_ids {
	struct quirk_id *items;
	size_t count;
};

/* "10de:2704", "10de:2b00-2bff", "10de:*"; lower case or upper case. 0 or -EINVAL. */
int quirk_id_parse(const char *text, struct quirk_id *ret);

/* An entry: what it is about, and what follows. A text that was not given is NULL, a list that was
 * not given is empty: then anything matches. */
struct quirk {
	char *place; /* "/usr/share/gpu-ferry/quirks.conf:12" */
	char *name;  /* unique: an entry of the same name replaces an earlier one */
	char *source;

	struct quirk_ids ids;
	struct quirk_ids beside;      /* one of these is in the host too; none: whatever there is */
	char *class_code;	      /* the beginning of a class code: "03", "0300" */
	bool is_virtual;	      /* only a virtual function (SR-IOV) */
	char *driver;		      /* the driver that has the function */
	struct names driver_versions; /* of that driver's module */
	char *module;		      /* a module that must be loaded */
	char *unless_parameter;	      /* "modeset=N": if that module has it, nothing follows */
	struct names kernels;	      /* versions of the running kernel */

	char *notice, *warning, *blocker;
	char *unload;		  /* why the modules of the driver must be unloaded first */
	char *fix;		  /* what a person can do about it */
	char *reset_method;	  /* while the function is lent */
	unsigned int deadline_ms; /* for a write to the function's driver; 0: the usual one */
	bool waits_forever;	  /* a driver that does not let go never does */
};

/* A file that cannot be used. */
struct quirk_problem {
	char *path;	  /* "/etc/gpu-ferry/quirks.d/mine.conf" */
	struct error why; /* "/etc/gpu-ferry/quirks.d/mine.conf:3: …" */
};

struct quirks {
	struct quirk *items;
	size_t count;
	struct quirk_problem *problems; /* the other files count all the same */
	size_t problem_count;
};

/* Reads the shipped file, and then those in QUIRKS_FOLDER whose name ends in ".conf", sorted by
 * name. A file that cannot be read, or has any mistake, is left out as a whole and becomes a
 * problem. Free with quirks_done also on failure. 0 or -ENOMEM. */
int quirks_read(const struct root *root, struct quirks *ret, struct error *error);

/* Adds the entries of a text in memory, or none; messages call it @name. 0, -ENOMEM, or -EINVAL:
 * wrong syntax, an unknown or a wrong member, a name twice (NAME:LINE: …). */
int quirks_parse(const char *text, const char *name, struct quirks *quirks, struct error *error);
void quirks_done(struct quirks *quirks);

/* The parts of a function that an entry can be about. */
struct quirk_device {
	uint16_t vendor_id, device_id, class_code;
	bool is_virtual;
	const char *driver; /* "" none */
};

/* True when the entry's ids, class and driver mean the device. Versions, whether a module is
 * loaded, and what else is in the host are for the caller to look up. */
bool quirk_is_about(const struct quirk *quirk, const struct quirk_device *device);

/* True when @ids has the device's, or is empty. */
bool quirk_ids_have(const struct quirk_ids *ids, const struct quirk_device *device);

/* True when a version is in one of the ranges, or there are none. A range is words with blanks
 * between them, and all must hold: ">=6.14.2" from there on, "<6.14.4" before that, and any other
 * word is part of the version ("-pve"). Compared as strverscmp does, so that 6.14.10 is after
 * 6.14.2, and an unknown version ("") is before all others. */
bool quirk_version_matches(const struct names *ranges, const char *version);
