/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include <stdbool.h>
#include <stddef.h>

/* What doctor found: a list of checks in sections. For people it looks like Proxmox VE's own
 * checklist, pve8to9; for programs it is JSON. */

enum check_level {
	CHECK_PASS,
	CHECK_INFO,   /* a fact, neither good nor bad */
	CHECK_SKIP,   /* could not be checked, or does not apply here */
	CHECK_NOTICE, /* good to know; nothing to fix */
	CHECK_WARN,   /* works, but not as it should, or not for long */
	CHECK_FAIL,   /* does not work */
};

#define CHECK_LEVELS 6

struct check_result {
	const char *id; /* stable: programs and the man page use it */
	const char *section;
	enum check_level level;
	char *message;
	char *fix; /* the command that fixes it, or NULL; WARN and FAIL always have one */
};

struct checklist {
	struct check_result *items;
	size_t count;
	const char *section; /* the current one */
	bool out_of_memory;
};

/* Begins a section: the checks that follow belong to it. @title must live as long as the list. */
void checklist_section(struct checklist *list, const char *title);

/* Adds a check. When memory runs out, the list says so at its end. @id must be a constant. */
void check_add(struct checklist *list, enum check_level level, const char *id, const char *format,
	...) __attribute__((format(printf, 4, 5)));

/* Adds the command that fixes the check added last: "COMMAND  # remark". */
void check_fix(struct checklist *list, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

size_t checklist_count(const struct checklist *list, enum check_level level);

/* Prints the list in the context's format. 0, -ENOMEM, or -EIO when stdout cannot be written. */
int checklist_print(
	const struct checklist *list, const struct context *context, struct error *error);
void checklist_done(struct checklist *list);
