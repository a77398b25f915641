/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Stops what uses a card and the settings name. */

#include "make_room.h"

#include "conf/property.h"
#include "conf/pve/vm_process.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "loan_life.h"
#include "operations.h"
#include "stop_step.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

#define AWAIT_MS 500
#define AWAITED_MAX 16

static bool makes_room(const struct room_entry *entry, const struct holder *holder)
{
	switch (entry->kind) {
	case ROOM_UNIT:
		return holder->kind == HOLDER_PROCESS && strcmp(holder->unit, entry->name) == 0;
	case ROOM_CONTAINER_UNIT:
		return holder->kind == HOLDER_CONTAINER && holder->guest == entry->guest &&
			strcmp(holder->unit, entry->name) == 0;
	case ROOM_CONTAINER:
		return holder->kind == HOLDER_CONTAINER &&
			(!entry->guest || holder->guest == entry->guest);
	case ROOM_VM:
		return holder->kind == HOLDER_VM && holder->guest == entry->guest;
	case ROOM_PROGRAM: /* asked for whom no other entry names */
	default:
		return false;
	}
}

/* The first entry that makes the holder end, or else the first program; NULL when we may not stop
 * it. */
static const struct room_entry *find_entry(
	const struct settings *settings, const struct holder *holder)
{
	const struct room_entry *program = NULL;

	for (size_t i = 0; i < settings->make_room.count; i++) {
		const struct room_entry *entry = &settings->make_room.items[i];

		if (makes_room(entry, holder))
			return entry;
		if (entry->kind == ROOM_PROGRAM && !program)
			program = entry;
	}
	return program;
}

bool make_room_of_vm(const struct root *root, const struct settings *settings, unsigned int vmid)
{
	const struct holder holder = {.kind = HOLDER_VM, .guest = vmid};

	const struct room_entry *entry = find_entry(settings, &holder);

	return entry && entry->kind == ROOM_VM && vm_process_find(root, vmid) > 0;
}

static struct step make_step(const struct settings *settings, const struct room_entry *entry,
	const struct holder *holder)
{
	static const char *const operations[] = {
		[ROOM_UNIT] = STOP_UNIT,
		[ROOM_CONTAINER_UNIT] = STOP_CONTAINER_UNIT,
		[ROOM_CONTAINER] = STOP_CONTAINER,
		[ROOM_VM] = STOP_VM,
		[ROOM_PROGRAM] = STOP_PROGRAM,
	};
	char subject[STEP_TEXT_SIZE + 16];

	if (entry->kind == ROOM_CONTAINER_UNIT)
		snprintf(subject, sizeof(subject), "%u/%s", holder->guest, entry->name);
	else if (entry->kind == ROOM_CONTAINER || entry->kind == ROOM_VM)
		snprintf(subject, sizeof(subject), "%u", holder->guest);
	else
		snprintf(subject, sizeof(subject), "%s", entry->name);
	return stop_step_make(
		operations[entry->kind], subject, settings->busy_wait_seconds, holder->address);
}

/* The entry of make_room that would let the holder yield; "" none would. */
static void format_entry(const struct holder *holder, char *buffer, size_t size)
{
	/* a container gives its units any name; a backslash would mean another to libconfig */
	bool has_unit = pattern_matches("^[A-Za-z0-9:_.@-]+\\.service$", holder->unit) &&
		strncmp(holder->unit, "user@", 5) != 0;

	*buffer = '\0';
	if (holder->kind == HOLDER_VM)
		snprintf(buffer, size, "{ vm = %u; }", holder->guest);
	else if (holder->kind == HOLDER_CONTAINER && has_unit)
		snprintf(buffer, size, "{ container = %u; unit = \"%s\"; }", holder->guest,
			holder->unit);
	else if (holder->kind == HOLDER_CONTAINER)
		snprintf(buffer, size, "{ container = %u; }", holder->guest);
	else if (holder->kind == HOLDER_PROCESS && has_unit && !*holder->application)
		snprintf(buffer, size, "{ unit = \"%s\"; }", holder->unit);
	else if (holder->kind == HOLDER_PROCESS && *holder->application)
		snprintf(buffer, size, "{ program = \"/etc/gpu-ferry/make-room.d/%s\"; }",
			strncmp(holder->application, "Podman", 6) == 0 ? "podman" : "docker");
}

/* ", or let a start stop it: make_room = ( { unit = …; } ); in …" */
static void format_advice(const struct holders *others, char *buffer, size_t size)
{
	char entries[1024] = "", one[sizeof(others->items->unit) + 64];
	struct holders_text text = {.buffer = entries, .size = sizeof(entries)};

	for (size_t i = 0; i < others->count; i++) {
		format_entry(&others->items[i], one, sizeof(one));
		if (*one && !strstr(entries, one))
			holders_text_add(&text, one);
	}
	if (*entries)
		snprintf(buffer, size,
			", or let a start stop it: make_room = ( %s ); in /" SETTINGS_PATH,
			entries);
	else
		snprintf(buffer, size, ", or see make_room in gpu-ferry.conf(5)");
}

static int block(const struct settings *settings, const struct holders *others, struct plan *plan)
{
	char text[HOLDERS_TEXT_SIZE], advice[1200];

	holders_format(others, text, sizeof(text));
	format_advice(others, advice, sizeof(advice));
	plan->is_held = true;
	if (settings->busy == BUSY_WAIT)
		return plan_block(plan, BLOCKER_HELD,
			"the card is in use by %s: a start waits %u s for that to end, then fails",
			text, settings->busy_wait_seconds);
	return plan_block(
		plan, BLOCKER_HELD, "the card is in use by %s: end that first%s", text, advice);
}

/* Adds the steps in the order of the settings. */
static int add_steps(const struct settings *settings, struct plan *plan)
{
	int r = 0;

	for (size_t k = 0; r == 0 && k < settings->make_room.count; k++) {
		const struct room_entry *entry = &settings->make_room.items[k];

		for (size_t i = 0; r == 0 && i < plan->holders.count; i++) {
			const struct holder *holder = &plan->holders.items[i];
			struct step step;

			if (find_entry(settings, holder) != entry)
				continue;
			step = make_step(settings, entry, holder);
			r = stop_steps_add(&plan->steps, &step);
		}
	}
	return r;
}

int make_room_plan(const struct settings *settings, struct plan *plan)
{
	cleanup(holders_done) struct holders others = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->holders.count; i++) {
		if (!find_entry(settings, &plan->holders.items[i]))
			r = holders_add(&others, &plan->holders.items[i]);
	}
	if (r == 0 && others.count)
		return block(settings, &others, plan);
	if (r == 0 && *plan->holders.unknown)
		return plan_block(plan, BLOCKER_HELD, "gpu-ferry %s", plan->holders.unknown);
	return r < 0 ? r : add_steps(settings, plan);
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
	return stop_steps_count(&plan->steps) > 0;
}

/* Writes the loan, or removes it when it has no steps any more. */
static int save(struct context *context, struct loan *loan, struct error *error)
{
	if (loan->steps.count == 0)
		return loan_remove(&context->kernel.root, &loan->owner, error);
	return loan_write(&context->kernel.root, loan, error);
}

/* The loan of another owner that has the function by now; NULL: none. */
static const struct loan *find_next(
	const struct loans *loans, const struct loan_owner *owner, const char *address)
{
	for (size_t i = 0; i < loans->count; i++) {
		const struct loan *loan = &loans->items[i];
		const struct loan_function *function = loan_find(loan, address);

		if (function && function->use != LOAN_ALTERNATIVE &&
			!loan_owner_equal(&loan->owner, owner))
			return loan;
	}
	return NULL;
}

static bool is_of_vm(const struct step *step, const struct loan_owner *owner)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", owner->vmid);
	return owner->kind == LOAN_OWNER_VM && strcmp(step->operation, STOP_VM) == 0 &&
		strcmp(step->subject, number) == 0;
}

/* What was stopped for a card is not started while another VM has it: without the card it would do
 * half its work. That VM's loan gets the step. 1 it has it; 0 nobody has the card; -EBUSY another
 * start is under way, or another process works on that loan: to be tried again. */
static int pass_on(struct context *context, const struct loans *loans,
	const struct loan_owner *owner, const struct step *step)
{
	const struct root *root = &context->kernel.root;
	const char *address = stop_step_address(step);
	const struct loan *next = find_next(loans, owner, address);
	cleanup(loan_done) struct loan to = {0};
	auto_close int lock = -1;
	struct step copy = *step;
	const struct operation *const tables[] = {stop_operations, NULL};
	char name[32], what[STEP_TEXT_SIZE + 64];

	if (!next)
		return loan_life_is_claimed(context, address) ? -EBUSY : 0;
	/* never waited for: a start that has it may wait for ours */
	lock = loan_life_try_lock(context, &next->owner);
	if (lock < 0 || loan_read(root, &next->owner, &to, NULL) < 0 || !loan_find(&to, address))
		return -EBUSY;
	/* it made room for us, and has its card back */
	if (is_of_vm(step, &next->owner))
		return 1;
	copy.record = NULL;
	if (stop_steps_add(&to.steps, &copy) < 0 || loan_write(root, &to, NULL) < 0)
		return -EBUSY;
	loan_owner_format(&next->owner, name, sizeof(name));
	operation_describe(operation_find(tables, step->operation), step, UNDO, what, sizeof(what));
	log_step(&context->log, LOG_NOTICE, address, NULL,
		"%s: when %s is home, which has been lent again (%s)", what, address, name);
	return 1;
}

/* Takes the steps that are passed on out of the loan, and puts the subjects of those that have to
 * wait into @later. */
static int pass_on_all(
	struct context *context, struct loan *loan, struct names *later, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	int r = loans_read(&context->kernel.root, &loans, error);

	for (size_t i = 0; r == 0 && i < stop_steps_count(&loan->steps);) {
		const struct step *step = &loan->steps.items[i];
		int passed = pass_on(context, &loans, &loan->owner, step);

		if (passed < 0 && names_add(later, step->subject) < 0)
			r = error_set_errno(error, -ENOMEM, "start again what was stopped");
		if (passed > 0)
			steps_remove(&loan->steps, i);
		else
			i++;
	}
	return r;
}

int make_room_undo(struct context *context, const struct loan_owner *owner, struct error *error)
{
	const struct executor executor = operations_executor(context);
	cleanup(loan_done) struct loan loan = {0};
	cleanup(names_done) struct names later = {0};
	int r = loan_read(&context->kernel.root, owner, &loan, error);
	int saved;

	if (r < 0 || loan.function_count || !stop_steps_count(&loan.steps))
		return r == -ENOENT ? 0 : r;
	r = pass_on_all(context, &loan, &later, error);
	if (r < 0)
		return r;
	/* who starts the VM meanwhile waits, and is not refused */
	loan.state = LOAN_RETURNING;
	r = stop_steps_undo(&executor, &loan, &later, error);
	/* what does not start may lack its card, because a VM has taken it meanwhile */
	if (r < 0 && pass_on_all(context, &loan, &later, NULL) == 0 &&
		!stop_steps_count(&loan.steps))
		r = 0;
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

	loan.state = LOAN_TAKING;
	stop_steps_settle(&loan.steps);
	for (size_t i = 0; r == 0 && i < stop_steps_count(&plan->steps); i++) {
		if (stop_steps_add(&loan.steps, &plan->steps.items[i]) < 0)
			r = error_set_errno(error, -ENOMEM, "record what is stopped");
	}
	if (r < 0)
		return r;
	executor.stop = &stop_requested;
	executor.limit = stop_steps_count(&loan.steps);
	r = executor_apply(&executor, &loan, error);
	if (r == 0)
		r = mark_ours(context, &loan, error);
	/* record how far the steps came, because the undo reads the file */
	else if (loan_write(&context->kernel.root, &loan, &later) < 0)
		log_write(&context->log, LOG_ERR, "%s", later.message);
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
