/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/loan/step.h"
#include <stdbool.h>

/*
 * An operation is what a step's name means. The executor gets tables of them: kmod-helper supplies
 * the kernel's (binding.h), hooks/ adds its own, so the executor can run steps that kmod-helper
 * does not know.
 *
 * apply and undo run in the executor's child. They must be idempotent and look at the state
 * themselves, because after a kill nobody knows whether a step took effect. They read back what
 * they changed. undo gets the step with its recorded state: done, or started when nobody knows how
 * far it came. Success with a message in @error is a remark for the person.
 */
enum direction {
	APPLY,
	UNDO,
};

struct operation {
	const char *name; /* one word; it stands in loans, plans and the man page */
	/* What a person is told that it does, and that its undoing does: "unbind {subject} from
	 * {argument}"; there is {original} too, and an empty one reads "none". NULL: the name and
	 * the subject. */
	const char *apply_text, *undo_text;
	/* It changes files of the function @subject only: if that is not on the bus any more, there
	 * is nothing left to undo. */
	bool is_of_function;
	bool is_minor; /* told only to who asks for more (-v) */
	/* May it be done now? Optional; run for every step before the first one is applied. */
	int (*check)(const struct kernel *kernel, const struct step *step, struct error *error);
	/* Is anybody in the way of what is done next? Run right before apply or undo, in the
	 * executor's child too, and not in the time of the write. 1: it is as the write would make
	 * it, so it is not done, and not told. NULL: there is nothing to look for. */
	int (*look)(const struct kernel *kernel, const struct step *step, enum direction direction,
		struct error *error);
	/* NULL: there is nothing to do but to undo it; that is told only to who asks for more. */
	int (*apply)(const struct kernel *kernel, const struct step *step, struct error *error);
	/* NULL: nothing to undo. */
	int (*undo)(const struct kernel *kernel, const struct step *step, struct error *error);
	/* For an operation that does not sleep in a driver: how long it may take, whatever the
	 * loan's deadline for writes is. After that, or when the executor is told to stop, its
	 * process is killed and the step has failed; undo must then repair it. NULL: it is a write
	 * into a driver. */
	unsigned int (*deadline_ms)(const struct step *step);
};

/* By its name, in a NULL-terminated list of tables; NULL when none has it. */
const struct operation *operation_find(const struct operation *const *tables, const char *name);

/* What doing @step, or undoing it, is called. */
void operation_describe(const struct operation *operation, const struct step *step,
	enum direction direction, char *buffer, size_t size);

/* How long @step may take: the operation's own deadline; for a write into a driver that of the
 * loan, or that of the function where it is longer. */
unsigned int operation_deadline_ms(
	const struct operation *operation, const struct step *step, const struct loan *loan);

/* Is it told only to who asks for more? */
bool operation_is_minor(const struct operation *operation, enum direction direction);
