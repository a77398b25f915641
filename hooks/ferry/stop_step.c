/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What all steps that make room have in common: names, time limits, their place in a loan. */

#include "stop_step.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

unsigned int stop_step_ms(const struct step *step)
{
	unsigned long long seconds;

	/* only wrong when somebody has edited the loan */
	if (parse_unsigned(step->argument, 10, 3600, &seconds) < 0)
		return STOP_STEP_GRACE_MS;
	return (unsigned int)seconds * 1000;
}

struct step stop_step_make(
	const char *operation, const char *subject, unsigned int seconds, const char *address)
{
	struct step step = {.why = "it uses the card; started again when the card is home"};

	snprintf(step.operation, sizeof(step.operation), "%s", operation);
	snprintf(step.subject, sizeof(step.subject), "%s", subject);
	snprintf(step.argument, sizeof(step.argument), "%u", seconds);
	snprintf(step.original, sizeof(step.original), "%llu %s", clock_milliseconds(), address);
	return step;
}

unsigned long long stop_step_asked_ms(const struct step *step)
{
	return strtoull(step->original, NULL, 10);
}

const char *stop_step_address(const struct step *step)
{
	const char *space = strchr(step->original, ' ');

	return space ? space + 1 : "";
}

/* It has stopped: what runs from now on, somebody has started. */
static void forget_asked(struct step *step)
{
	memset(step->original, '0', strspn(step->original, "0123456789"));
}

const char *stop_step_reason(char *output)
{
	char *hint = strstr(output, "\nSee ");

	if (hint)
		*hint = '\0';
	return text_last_line(output);
}

bool stop_step_is(const struct step *step)
{
	const struct operation *const tables[] = {stop_operations, NULL};

	return operation_find(tables, step->operation) != NULL;
}

size_t stop_steps_count(const struct steps *steps)
{
	size_t count = 0;

	while (count < steps->count && stop_step_is(&steps->items[count]))
		count++;
	return count;
}

static bool is_same(const struct step *left, const struct step *right)
{
	return strcmp(left->operation, right->operation) == 0 &&
		strcmp(left->subject, right->subject) == 0;
}

int stop_steps_add(struct steps *steps, const struct step *step)
{
	size_t count = stop_steps_count(steps);

	for (size_t i = 0; i < count; i++) {
		struct step *old = &steps->items[i];

		if (is_same(old, step)) {
			/* it was stopped before, and runs again */
			struct json_object *record = old->record;

			*old = *step;
			old->record = record;
			return 0;
		}
	}
	return steps_insert(steps, count, step) ? 0 : -ENOMEM;
}

void stop_steps_settle(struct steps *steps)
{
	for (size_t i = stop_steps_count(steps); i-- > 0;) {
		if (steps->items[i].state == STEP_PLANNED)
			steps_remove(steps, i);
		else
			steps->items[i].state = STEP_DONE;
	}
}

void stop_steps_forget_vm(struct steps *steps, unsigned int vmid)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", vmid);
	for (size_t i = steps->count; i-- > 0;) {
		if (strcmp(steps->items[i].operation, STOP_VM) == 0 &&
			strcmp(steps->items[i].subject, number) == 0)
			steps_remove(steps, i);
	}
}

int stop_steps_undo(const struct executor *executor, struct loan *loan, const struct names *later,
	struct error *error)
{
	cleanup(names_done) struct names subjects = {0};
	int r = 0;

	/* the names first: the undo takes the steps out of the loan */
	for (size_t i = stop_steps_count(&loan->steps); i-- > 0;) {
		struct step *step = &loan->steps.items[i];

		if (names_have(later, step->subject))
			continue;
		if (names_add(&subjects, step->subject) < 0)
			return error_set_errno(error, -ENOMEM, "start again what was stopped");
		if (step->state == STEP_DONE)
			forget_asked(step);
	}
	for (size_t i = 0; i < subjects.count; i++) {
		struct error why = {0};
		int one = executor_undo(executor, loan, subjects.names[i], &why);

		if (one < 0 && r < 0)
			log_write(executor->log, LOG_ERR, "%s", why.message);
		else if (one < 0)
			*error = why;
		r = r < 0 ? r : one;
	}
	return r;
}
