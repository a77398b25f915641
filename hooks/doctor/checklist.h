/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include <stdbool.h>
#include <stddef.h>

/* What doctor found: a list of checks in sections, for people (the look of Proxmox VE's own
 * checklists, pve8to9) and for programs. */

enum check_level {
	CHECK_PASS,
	CHECK_INFO,   /* a fact, neither good nor bad */
	CHECK_SKIP,   /* could not be looked at, or has no meaning here */
	CHECK_NOTICE, /* to be known; nothing to mend */
	CHECK_WARN,   /* works, but not as it should, or not for long */
	CHECK_FAIL,   /* does not work */
};

#define CHECK_LEVELS 6

struct check_result {
	const char *id; /* stable: programs and the man page know it */
	const char *section;
	enum check_level level;
	char *message;
	char *fix; /* the command that mends it; NULL for none. WARN and FAIL always have one */
};

struct checklist {
	struct check_result *items;
	size_t count;
	const char *section; /* the current one */
	bool out_of_memory;
};

/* The checks that follow belong to it. @title lives as long as the list. */
void checklist_section(struct checklist *list, const char *title);

/* Without memory the list says so at its end. @id is a constant. */
void check_add(struct checklist *list, enum check_level level, const char *id, const char *format,
	...) __attribute__((format(printf, 4, 5)));

/* The command that mends what was added last, "COMMAND  # remark". */
void check_fix(struct checklist *list, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

size_t checklist_count(const struct checklist *list, enum check_level level);

/* Prints it in the context's format. 0, -ENOMEM, or -EIO when stdout does not take it. */
int checklist_print(
	const struct checklist *list, const struct context *context, struct error *error);
void checklist_done(struct checklist *list);
