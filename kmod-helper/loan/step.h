/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* A step of a plan: an operation's name and its arguments, nothing else. So a plan can be printed,
 * recorded in a loan, executed, and undone by a later process that knows the operation only by its
 * name. */

#define STEP_TEXT_SIZE 256
#define STEP_ORIGINAL_SIZE 4096 /* the parameters of a family of modules are many */

enum step_state {
	STEP_PLANNED, /* recorded, not begun */
	STEP_STARTED, /* begun: whether it took effect must be read from the kernel */
	STEP_DONE,
	STEP_STUCK, /* its write has not come back: @child sleeps in the driver */
};

struct json_object;

struct step {
	char operation[24];
	char subject[STEP_TEXT_SIZE];	   /* what it changes: an address, a module */
	char argument[STEP_TEXT_SIZE];	   /* to what, or from what */
	char original[STEP_ORIGINAL_SIZE]; /* what the undo puts back */
	char why[STEP_TEXT_SIZE];	   /* for the person; not recorded */
	enum step_state state;
	/* since it was begun: how long its write into a driver may take; 0: it sleeps in none */
	unsigned int write_deadline_ms;
	pid_t child; /* STEP_STUCK only */
	unsigned long long child_start_time;
	struct json_object *record; /* as read from the loan, fields unknown to us included */
};

struct steps {
	struct step *items;
	size_t count;
};

/* Appends a copy (and takes over the reference to the record). Returns the step, or NULL without
 * memory. */
struct step *steps_add(struct steps *steps, const struct step *step);

/* The same, at @index; the steps from there on move up. */
struct step *steps_insert(struct steps *steps, size_t index, const struct step *step);

/* Removes and frees the step at @index. */
void steps_remove(struct steps *steps, size_t index);
void steps_done(struct steps *steps);
