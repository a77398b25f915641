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
	const char *path; /* as warnings name it, "/etc/pve/storage.cfg" */
	char *rest;	  /* what is not read yet, and is written into; NULL at the end */
	size_t line;
	struct names *warnings;
};

/* The next line that is no comment. NULL at the end. */
char *section_line_next(struct section_reader *reader);

/* What is false to Perl ends a section: nothing at all, and "0". White space does not. */
bool section_line_ends(const char *line);

/* Takes "  key value" apart, in place; *@ret_value is NULL when there is none. False when the line
 * is not indented, or blank: only an empty line ends a section. */
bool section_line_split(char *line, char **ret_key, char **ret_value);

/* Adds "PATH:LINE: …" to the warnings. 0 or -ENOMEM. */
int section_warn(struct section_reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
