/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The lines of /etc/modprobe.d and its sister folders, as modprobe reads them, with the place of
 * each. Source: modprobe.d(5) and libkmod-config.c of kmod 30 and 34 (conf_files_list,
 * kmod_config_parse, freadline_wrapped). This is for naming a line in a message and for editing it;
 * whether a module may be loaded is asked of libkmod (kmod-helper/kernel/modules.h). */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>

#define MODPROBE_FILE_MAX_BYTES (256 * 1024)

enum modprobe_kind {
	MODPROBE_ALIAS,
	MODPROBE_BLACKLIST,
	MODPROBE_INSTALL,
	MODPROBE_OPTIONS,
	MODPROBE_REMOVE,
	MODPROBE_SOFTDEP,
	MODPROBE_WEAKDEP,
};

struct modprobe_line {
	enum modprobe_kind kind;
	char *module;		 /* with _ for -, as in libkmod; of an alias the pattern */
	char *arguments;	 /* what follows, blanks trimmed; "" when nothing does */
	char *path;		 /* "etc/modprobe.d/vfio.conf" */
	unsigned int line;	 /* from 1 */
	unsigned int line_count; /* more than 1 when a backslash continues it */
};

struct modprobe_files {
	struct modprobe_line *lines; /* in the order in which modprobe reads them */
	size_t count;
	struct names files;  /* the paths that were read, in that order */
	struct names unread; /* one line for each that could not be read: which, and why */
};

/* What the initramfs loads, "MODULE OPTION…", one a line (initramfs-tools(7)). */
#define INITRAMFS_MODULES_PATH "etc/initramfs-tools/modules"

/* Reads every NAME.conf of the five folders, sorted by name; a name in an earlier folder hides it
 * in later ones. Lines that modprobe ignores are left out. At the end come the lines of
 * INITRAMFS_MODULES_PATH that give a module options, turned into "options" lines. Works for any
 * user. Returns 0 or -ENOMEM. @ret is untouched on failure; free with modprobe_files_done. */
int modprobe_files_read(const struct root *root, struct modprobe_files *ret, struct error *error);

/* Appends the lines of one text to @files, as if they were of the file @path. 0 or -ENOMEM. */
int modprobe_text_parse(const char *path, const char *text, struct modprobe_files *files);
/* The same for the text of INITRAMFS_MODULES_PATH. */
int initramfs_modules_parse(const char *text, struct modprobe_files *files);
void modprobe_files_done(struct modprobe_files *files);

/* "blacklist", "options" … */
const char *modprobe_kind_name(enum modprobe_kind kind);

/* True when the line stops its module from taking devices: a blacklist; an install line that runs
 * /bin/false or /bin/true instead; modeset=0, with which nouveau, radeon and i915 are loaded but
 * take no card. */
bool modprobe_line_blocks(const struct modprobe_line *line);

/* The value of the option @name ("ids") in an options line's arguments, malloced; NULL when it is
 * not among them (or without memory). */
char *modprobe_option_value(const char *arguments, const char *name);
