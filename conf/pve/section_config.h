/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * The lines of Proxmox's section files (storage.cfg, mapping/pci.cfg): a header, indented
 * settings below it, and an empty line. Source: PVE/SectionConfig.pm, parse_config.
 */

#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

struct section_reader {
	const char *path; /* its name in warnings, "/etc/pve/storage.cfg" */
	char *rest;	  /* the text not read yet, which is changed; NULL at the end */
	size_t line;
	struct names *warnings;
};

/* What the reader of one file does with a section; 0 or -ENOMEM each. */
struct section_handler {
	bool has_type;			 /* a header is "TYPE: ID"; else "ID" */
	bool (*is_id)(const char *text); /* sections of another name are left out with a warning */
	int (*begin)(void *context, const char *type, const char *id);
	/* @value is NULL when there is none; it may be written into */
	int (*set)(void *context, const char *key, char *value);
	int (*end)(void *context);
};

/* Reads all sections. Lines that are wrong are left out with a warning. 0 or -ENOMEM. */
int sections_read(
	struct section_reader *reader, const struct section_handler *handler, void *context);

/* Adds "PATH:LINE: …" to the warnings. 0 or -ENOMEM. */
int section_warn(struct section_reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
