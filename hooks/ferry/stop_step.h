/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/operation/operation.h"
#include "kmod-helper/plan/executor.h"

/* The steps that make room on a card. Each stops something; its undo starts that again. They stand
 * at the beginning of a loan's steps. Their argument is how many seconds either may take; their
 * original is when they were planned, by clock_milliseconds, and for which function: "81230
 * 0000:01:00.0". */

#define STOP_UNIT "stop-unit"			  /* a service of the host */
#define STOP_CONTAINER "stop-container"		  /* by pct */
#define STOP_CONTAINER_UNIT "stop-container-unit" /* "105/ollama.service": in the container */
#define STOP_VM "stop-vm"			  /* by qm */
#define STOP_PROGRAM "stop-program"		  /* a program of root's makes room */

extern const struct operation stop_operations[];

/* The time that such a step has beyond its own limit: for pct, and for systemd to answer. */
#define STOP_STEP_GRACE_MS 30000u

/* The time limit in ms, from the argument: "60" means seconds. */
unsigned int stop_step_ms(const struct step *step);

/* A step of @operation, one of the above, that may take @seconds, and makes room on @address. */
struct step stop_step_make(
	const char *operation, const char *subject, unsigned int seconds, const char *address);

/* When it was planned, by clock_milliseconds; 0 once it is being undone after it was done. */
unsigned long long stop_step_asked_ms(const struct step *step);

/* The function on which it made room; "" unknown, in a loan of an earlier version. */
const char *stop_step_address(const struct step *step);

/* Why pct or systemctl failed: the last line of its output, which is cut. systemctl adds where to
 * read more, in a line of its own; so do we, in ours. */
const char *stop_step_reason(char *output);

bool stop_step_is(const struct step *step);

/* How many of them stand at the beginning. */
size_t stop_steps_count(const struct steps *steps);

/* Adds a step behind them, and each only once: one that is there becomes @step. 0 or -ENOMEM. */
int stop_steps_add(struct steps *steps, const struct step *step);

/* Those of an earlier start are not done again: what was begun counts as done, so that it is
 * undone; what was only planned is forgotten. */
void stop_steps_settle(struct steps *steps);

/* Forgets that VM @vmid made room: it runs again. */
void stop_steps_forget_vm(struct steps *steps, unsigned int vmid);

/* Starts again what they have stopped, the last one first, except the subjects of @later. Steps
 * that fail stay in the loan, which the caller has to write. 0, or the first error; the others are
 * logged. */
int stop_steps_undo(const struct executor *executor, struct loan *loan, const struct names *later,
	struct error *error);
