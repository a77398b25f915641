/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include <stdbool.h>
#include <stddef.h>

/* What doctor found: a list of checks in sections. For people it looks like Proxmox VE's own
 * checklist, pve8to9, and ends with what to do, each fix once; for programs it is JSON. */

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
	const char *subject; /* what it is about, "0000:2b:00.0"; NULL: the section says it */
	enum check_level level;
	char *message; /* without the subject */
	char *fix;     /* the command that fixes it, or NULL; WARN and FAIL always have one */
};

struct checklist {
	struct check_result *items;
	size_t count;
	const char *section; /* the current ones */
	const char *subject;
	bool out_of_memory;
};

/* Begins a section: the checks that follow belong to it, and have no subject. @title must live as
 * long as the list. */
void checklist_section(struct checklist *list, const char *title);

/* The checks that follow are about @subject, which must live as long as the list. Of those that
 * need nobody's attention, only the first is shown without -v; the same NOTICE, WARN or FAIL about
 * several subjects of a section is shown as one. Of a subject that is the section's title only
 * PASSes are left out. */
void checklist_subject(struct checklist *list, const char *subject);

/* Adds a check. When memory runs out, the list says so at its end. @id must be a constant. */
void check_add(struct checklist *list, enum check_level level, const char *id, const char *format,
	...) __attribute__((format(printf, 4, 5)));

/* Adds the command that fixes the check added last: "COMMAND  # remark". */
void check_fix(struct checklist *list, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Makes the WARN @id about a card that the message names a FAIL with that message: the same cause
 * is told once. False when there is none. */
bool check_raise(struct checklist *list, const char *id, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

size_t checklist_count(const struct checklist *list, enum check_level level);

/* Prints the list in the context's format; with -q only what is wrong. 0, -ENOMEM, or -EIO when
 * stdout cannot be written. */
int checklist_print(
	const struct checklist *list, const struct context *context, struct error *error);
void checklist_done(struct checklist *list);
