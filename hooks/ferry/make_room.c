/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Stops the services and containers that use a card and that the settings name. */

#include "make_room.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "loan_life.h"
#include "operations.h"
#include "return.h"
#include "stop_step.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#define AWAIT_MS 500
#define AWAITED_MAX 16

/* Finds the step that makes the holder end; false when we may not stop it. */
static bool find_step(
	const struct settings *settings, const struct holder *holder, struct step *ret)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", holder->guest);
	if (holder->kind == HOLDER_PROCESS && names_have(&settings->stop_units, holder->unit)) {
		*ret = stop_step_make(STOP_UNIT, holder->unit, settings->busy_wait_seconds);
		return true;
	}
	if (holder->kind == HOLDER_CONTAINER && settings->busy == BUSY_STOP &&
		(settings->containers.any || names_have(&settings->containers.numbers, number))) {
		*ret = stop_step_make(STOP_CONTAINER, number, settings->busy_wait_seconds);
		return true;
	}
	return false;
}

static bool is_same(const struct step *left, const struct step *right)
{
	return strcmp(left->operation, right->operation) == 0 &&
		strcmp(left->subject, right->subject) == 0;
}

static size_t count_stop_steps(const struct steps *steps)
{
	size_t count = 0;

	while (count < steps->count && stop_step_is(&steps->items[count]))
		count++;
	return count;
}

/* Adds the step after the stop steps that are there, and each step only once. */
static int insert_step(struct steps *steps, const struct step *step)
{
	size_t count = count_stop_steps(steps);

	for (size_t i = 0; i < count; i++) {
		if (is_same(&steps->items[i], step)) {
			/* it was stopped before, and runs again */
			steps->items[i].state = STEP_PLANNED;
			return 0;
		}
	}
	return steps_insert(steps, count, step) ? 0 : -ENOMEM;
}

static int block(const struct settings *settings, const struct holders *others, struct plan *plan)
{
	char text[HOLDERS_TEXT_SIZE];

	holders_format(others, text, sizeof(text));
	plan->is_held = true;
	switch (settings->busy) {
	case BUSY_WAIT:
		return plan_block(plan, BLOCKER_HELD,
			"the card is in use by %s: a start waits %u s for that to end, then fails",
			text, settings->busy_wait_seconds);
	case BUSY_STOP:
		return plan_block(plan, BLOCKER_HELD,
			"the card is in use by %s: end that first; it is not named in stop_units or "
			"containers in /etc/gpu-ferry/gpu-ferry.conf, and nothing was stopped",
			text);
	case BUSY_FAIL:
	default:
		return plan_block(plan, BLOCKER_HELD,
			"the card is in use by %s: end that first, or see `busy` in "
			"gpu-ferry.conf(5)",
			text);
	}
}

int make_room_plan(const struct settings *settings, struct plan *plan)
{
	cleanup(holders_done) struct holders others = {0};
	struct step step;
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->holders.count; i++) {
		if (!find_step(settings, &plan->holders.items[i], &step))
			r = holders_add(&others, &plan->holders.items[i]);
	}
	if (r == 0 && others.count)
		return block(settings, &others, plan);
	if (r == 0 && *plan->holders.unknown)
		return plan_block(plan, BLOCKER_HELD, "gpu-ferry %s", plan->holders.unknown);
	for (size_t i = 0; r == 0 && i < plan->holders.count; i++) {
		if (find_step(settings, &plan->holders.items[i], &step))
			r = insert_step(&plan->steps, &step);
	}
	return r;
}

void make_room_sort(struct steps *steps)
{
	size_t front = 0;

	for (size_t i = 0; i < steps->count; i++) {
		struct step step = steps->items[i];

		if (!stop_step_is(&step))
			continue;
		memmove(&steps->items[front + 1], &steps->items[front], (i - front) * sizeof(step));
		steps->items[front++] = step;
	}
}

bool make_room_is_needed(const struct plan *plan)
{
	return count_stop_steps(&plan->steps) > 0;
}

/* Writes the loan, or removes it when it has neither steps nor functions any more. */
static int save(struct context *context, struct loan *loan, struct error *error)
{
	if (loan->steps.count == 0 && loan->function_count == 0)
		return loan_remove(&context->kernel.root, &loan->owner, error);
	return loan_write(&context->kernel.root, loan, error);
}

int make_room_undo(struct context *context, const struct loan_owner *owner, struct error *error)
{
	const struct executor executor = operations_executor(context);
	cleanup(names_done) struct names subjects = {0};
	cleanup(loan_done) struct loan loan = {0};
	int r = loan_read(&context->kernel.root, owner, &loan, error);
	int saved;

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = count_stop_steps(&loan.steps); i-- > 0;) {
		if (names_add(&subjects, loan.steps.items[i].subject) < 0)
			return error_set_errno(error, -ENOMEM, "start again what was stopped");
	}
	for (size_t i = 0; i < subjects.count; i++) {
		int one = executor_undo(&executor, &loan, subjects.names[i], r < 0 ? NULL : error);

		r = r < 0 ? r : one;
	}
	if (loan.function_count == 0 && loan.steps.count)
		loan.state = LOAN_OWED;
	saved = save(context, &loan, r < 0 ? NULL : error);
	return r < 0 ? r : saved;
}

/* Records that we work on the loan. Otherwise it would look abandoned between these steps and the
 * taking, and could be returned. */
static int mark_ours(struct context *context, struct loan *loan, struct error *error)
{
	loan->child = getpid();
	if (process_start_time(&context->kernel.root, loan->child, &loan->child_start_time) < 0)
		loan->child = 0;
	return loan_write(&context->kernel.root, loan, error);
}

int make_room_run(struct context *context, const struct loan_owner *owner,
	const struct settings *settings, const struct plan *plan, struct error *error)
{
	struct executor executor = operations_executor(context);
	cleanup(loan_done) struct loan loan = {0};
	struct error later = {0};
	int r = loan_life_begin(context, owner, settings, &loan, error);

	for (size_t i = 0; r == 0 && i < count_stop_steps(&plan->steps); i++) {
		if (insert_step(&loan.steps, &plan->steps.items[i]) < 0)
			r = error_set_errno(error, -ENOMEM, "record what is stopped");
	}
	if (r < 0)
		return r;
	executor.stop = &stop_requested;
	executor.limit = count_stop_steps(&loan.steps);
	r = executor_apply(&executor, &loan, error);
	if (r == 0)
		r = mark_ours(context, &loan, error);
	/* record how far the steps came, because the undo reads the file */
	else if (loan_write(&context->kernel.root, &loan, &later) < 0)
		log_write(&context->log, LOG_ERR, "%s", later.message);
	if (r < 0 && make_room_undo(context, owner, &later) < 0)
		log_write(&context->log, LOG_ERR, "still owed: %s", later.message);
	return r;
}

void make_room_wait(const struct holders *holders)
{
	struct pollfd polled[AWAITED_MAX];
	nfds_t count = 0;

	for (size_t i = 0; i < holders->count && count < AWAITED_MAX; i++) {
		int fd = holders->items[i].pid
			? (int)syscall(SYS_pidfd_open, holders->items[i].pid, 0)
			: -1;

		if (fd >= 0)
			polled[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	poll(polled, count, AWAIT_MS);
	for (nfds_t i = 0; i < count; i++)
		close(polled[i].fd);
}
