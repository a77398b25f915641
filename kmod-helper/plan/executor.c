/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs the steps of a loan in a child process, records each one, and undoes them. */

#include "executor.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/holder/holders.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define STOP_LOOK_MS 200u

/* From here on a person begins to wonder. */
#define SLOW_STEP_MS 1000u

/* A step that is told to run still is told so again when it has run so many times as long. */
#define SLOW_STEP_FACTOR 5u

/* Proxmox's Stop sends KILL 5 s after TERM. A write that is not back after this time is left to its
 * child, and the other functions go home in the time that remains. */
#define STOP_WRITE_MS 3000u

/* Of the last look for holders: one pass over /proc has a bound of its own, far below this, and
 * udev is given five seconds. */
#define LOOK_DEADLINE_MS 30000u

struct request {
	bool is_look; /* no more than the look that comes before it */
	enum direction direction;
	struct step step;
};

/* The child while it lives; fd -1: not started yet. */
struct worker {
	pid_t pid;
	int fd;
	bool is_unrecorded; /* an undo could not write the loan, and has said so */
};

/* For which answer of the child, and for how long. */
struct wait {
	const char *what; /* the step in words */
	const char *doing;
	const struct step *step;
	unsigned int deadline_ms;
	unsigned int stop_ms; /* once a stop is asked for */
};

static void serve_one(
	const struct executor *executor, const struct request *request, struct error *reply)
{
	const struct step *step = &request->step;
	const struct operation *operation = operation_find(executor->tables, step->operation);
	int (*run)(const struct kernel *, const struct step *, struct error *) =
		request->direction == APPLY ? operation->apply : operation->undo;

	*reply = (struct error){0};
	if (request->is_look)
		reply->status = operation->look(executor->kernel, step, request->direction, reply);
	else if (run)
		reply->status = run(executor->kernel, step, reply);
}

/* Gives up all that it has from the caller: nothing of it may be held while a driver sleeps. */
static int detach(const struct executor *executor, int fd)
{
	int root = executor->kernel->root.fd;
	unsigned int low = (unsigned int)(fd < root ? fd : root);
	unsigned int high = (unsigned int)(fd < root ? root : fd);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int standard = 0; null >= 0 && standard < 3; standard++) {
		if (dup2(null, standard) < 0)
			return -errno;
	}
	if (low > 3 && close_range(3, low - 1, 0) < 0)
		return -errno;
	if (high > low + 1 && close_range(low + 1, high - 1, 0) < 0)
		return -errno;
	if (close_range(high + 1, ~0U, 0) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	/* Proxmox's Stop kills the whole process group, but the current write must be finished */
	return setsid() < 0 ? -errno : 0;
}

static void serve(const struct executor *executor, int fd)
{
	struct request request;
	struct error reply;

	if (detach(executor, fd) < 0)
		_exit(1);
	while (recv(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request)) {
		serve_one(executor, &request, &reply);
		if (send(fd, &reply, sizeof(reply), 0) != (ssize_t)sizeof(reply))
			break;
	}
	_exit(0);
}

static void worker_end(struct worker *worker)
{
	if (worker->fd < 0)
		return;
	close(worker->fd);
	worker->fd = -1;
	waitpid(worker->pid, NULL, 0);
}

static int worker_start(const struct executor *executor, struct worker *worker, struct loan *loan,
	struct error *error)
{
	int pair[2];
	pid_t pid;

	if (worker->fd >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_set_errno(error, -errno, "start the process that moves the devices");
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		serve(executor, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return error_set_errno(error, -errno, "start the process that moves the devices");
	}
	worker->pid = pid;
	worker->fd = pair[0];
	loan->child = pid;
	if (process_start_time(&executor->kernel->root, pid, &loan->child_start_time) < 0)
		loan->child_start_time = 0;
	return 0;
}

static bool is_stopped(const volatile sig_atomic_t *stop)
{
	return stop && *stop;
}

static unsigned long long earlier(unsigned long long a, unsigned long long b)
{
	return a < b ? a : b;
}

/* When it is told next. */
static unsigned long long tell_running(const struct executor *executor, const struct wait *wait,
	unsigned long long begin, unsigned long long now)
{
	log_step(executor->log, LOG_INFO, wait->step->subject, wait->step->operation,
		"%s: still %s after %llu s, deadline %u s", wait->what, wait->doing,
		(now - begin) / 1000, wait->deadline_ms / 1000);
	return begin + (now - begin) * SLOW_STEP_FACTOR;
}

/* Waits for the child's answer. -ETIMEDOUT past the deadline, -EPIPE when the child died. Once the
 * executor's stop is set the child has stop_ms more, then it is -EINTR. The stop is checked at
 * short intervals, because a signal may come just before the sleep. */
static int worker_await(const struct executor *executor, const struct worker *worker,
	const struct wait *wait, struct error *reply)
{
	unsigned long long begin = clock_milliseconds(), end = begin + wait->deadline_ms;
	unsigned long long tell = begin + SLOW_STEP_MS;
	struct pollfd polled = {.fd = worker->fd, .events = POLLIN};
	int late = -ETIMEDOUT;

	for (;;) {
		unsigned long long now = clock_milliseconds();
		unsigned long long next;
		int ready;

		if (late != -EINTR && is_stopped(executor->stop) && now + wait->stop_ms < end) {
			end = now + wait->stop_ms;
			late = -EINTR;
		}
		if (now >= tell && now < end)
			tell = tell_running(executor, wait, begin, now);
		next = earlier(end, tell);
		if (executor->stop)
			next = earlier(next, now + STOP_LOOK_MS);
		ready = poll(&polled, 1, next > now ? (int)(next - now) : 0);
		if (ready == 0 && now >= end)
			return late;
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready <= 0)
			continue;
		return recv(worker->fd, reply, sizeof(*reply), 0) == (ssize_t)sizeof(*reply)
			? 0
			: -EPIPE;
	}
}

/* "sleep (PID 470, controlC1) still holds it", as far as it can be known. */
static void name_holders(const struct executor *executor, const struct loan *loan,
	const char *address, char *buffer, size_t size)
{
	cleanup(holders_done) struct holders holders = {0};
	char text[HOLDERS_TEXT_SIZE];

	snprintf(buffer, size, "it is unknown who still uses it");
	if (holders_of_stuck(executor->kernel, loan, address, &holders, NULL) < 0 ||
		holders.count == 0)
		return;
	holders_format(&holders, text, sizeof(text));
	snprintf(buffer, size, "%s still %s it", text, holders.count > 1 ? "hold" : "holds");
}

static int overdue(const struct executor *executor, struct worker *worker, struct loan *loan,
	struct step *step, const char *what, unsigned long long waited_ms, struct error *error)
{
	const struct loan_function *function = loan_find(loan, step->subject);
	char held[HOLDERS_TEXT_SIZE + 32];

	loan_set_overdue(loan, step);
	/* the child keeps its end of the socket; ours closes, so that it ends after the write */
	close(worker->fd);
	worker->fd = -1;
	name_holders(executor, loan, step->subject, held, sizeof(held));
	return error_set(error, -ETIMEDOUT,
		"%s: the driver did not release it within %llu s: %s (process %d waits in the "
		"kernel); %s an ordinary reboot may hang, `sync; echo b > /proc/sysrq-trigger` "
		"does not",
		what, waited_ms / 1000, held, (int)worker->pid, loan_overdue_text(function));
}

/* Ends an operation that does not sleep in a driver. */
static int give_up(struct worker *worker, const char *what, unsigned int deadline_ms, int why,
	struct error *error)
{
	kill(worker->pid, SIGKILL);
	/* the next step starts a new child */
	worker_end(worker);
	if (why == -EINTR)
		return error_set(error, why, "%s: stopped by a signal", what);
	return error_set(error, why, "%s: it did not end within %u s", what, deadline_ms / 1000);
}

static int ask(const struct executor *executor, const struct worker *worker,
	const struct request *request, const struct wait *wait, struct error *reply)
{
	if (send(worker->fd, request, sizeof(*request), MSG_NOSIGNAL) < 0)
		return -errno;
	return worker_await(executor, worker, wait, reply);
}

/* Nothing is written yet: it is not the driver who is late. */
static int look_first(const struct executor *executor, struct worker *worker,
	struct request request, const char *what, struct error *reply, struct error *error)
{
	const struct wait wait = {.what = what,
		.doing = "looking for its users",
		.step = &request.step,
		.deadline_ms = LOOK_DEADLINE_MS};
	int r;

	request.is_look = true;
	r = ask(executor, worker, &request, &wait, reply);
	if (r != -ETIMEDOUT && r != -EINTR)
		return r;
	/* not waited for: what it reads may be a file of a driver that does not answer */
	kill(worker->pid, SIGKILL);
	close(worker->fd);
	worker->fd = -1;
	if (r == -EINTR)
		return error_set(error, r, "%s: stopped by a signal", what);
	return error_set(error, r,
		"%s: the search for its users took more than %u s; nothing was changed: try again",
		what, LOOK_DEADLINE_MS / 1000);
}

/* Writes the loan before the next step writes: after its look, where it has one. Without that no
 * step is applied, but one is undone: the record as it was names each step that was begun, and an
 * undo may be done twice. */
static int record(const struct executor *executor, struct worker *worker, const struct loan *loan,
	enum direction direction, struct error *error)
{
	struct error why = {0};
	int r = loan_write(&executor->kernel->root, loan, &why);

	if (r == 0)
		return 0;
	if (direction == APPLY) {
		if (error)
			*error = why;
		return r;
	}
	if (!worker->is_unrecorded)
		log_write(executor->log, LOG_WARNING, "%s; the devices are returned all the same",
			why.message);
	worker->is_unrecorded = true;
	return 0;
}

/* A function has a handful of steps, and a card up to eight functions: only the slow ones are told
 * at once. */
static void tell_step(const struct executor *executor, const struct step *step,
	enum direction direction, const char *what, unsigned long long took_ms)
{
	const struct operation *operation = operation_find(executor->tables, step->operation);
	bool is_minor = operation_is_minor(operation, direction) ||
		(operation->is_of_function && took_ms < SLOW_STEP_MS);

	log_step(executor->log, is_minor ? LOG_DEBUG : LOG_INFO, step->subject, step->operation,
		"%s (%llu ms)", what, took_ms);
}

/* @was: the step's state before it was begun. */
static int run_step(const struct executor *executor, struct worker *worker, struct loan *loan,
	struct step *step, enum step_state was, enum direction direction, struct error *error)
{
	struct request request = {.direction = direction, .step = *step};
	const struct operation *operation = operation_find(executor->tables, step->operation);
	bool may_end = operation->deadline_ms;
	unsigned int deadline_ms = operation_deadline_ms(operation, step, loan);
	unsigned long long begin = clock_milliseconds();
	struct error reply = {0};
	char what[3 * STEP_TEXT_SIZE];
	const struct wait wait = {.what = what,
		.doing = "running",
		.step = step,
		.deadline_ms = deadline_ms,
		.stop_ms = may_end ? 0 : STOP_WRITE_MS};
	int r = 0;

	operation_describe(operation, step, direction, what, sizeof(what));
	request.step.record = NULL;
	request.step.state = was;
	if (operation->look) {
		r = look_first(executor, worker, request, what, &reply, error);
		if (worker->fd < 0)
			return r;
		if (r == 0 && reply.status > 0)
			return 0;
		begin = clock_milliseconds();
		step->write_deadline_ms = deadline_ms;
		if (r == 0 && reply.status == 0)
			(void)record(executor, worker, loan, direction, &reply);
	}
	if (r == 0 && reply.status == 0)
		r = ask(executor, worker, &request, &wait, &reply);
	if (may_end && (r == -ETIMEDOUT || r == -EINTR))
		return give_up(worker, what, deadline_ms, r, error);
	if (r == -ETIMEDOUT || r == -EINTR)
		return overdue(executor, worker, loan, step, what,
			r == -EINTR ? clock_milliseconds() - begin : deadline_ms, error);
	if (r < 0) {
		/* the next function's steps start a new child */
		worker_end(worker);
		return error_set(error, r, "%s: the process that does it ended unexpectedly", what);
	}
	if (reply.status < 0) {
		if (error)
			*error = reply;
		return reply.status;
	}
	tell_step(executor, step, direction, what, clock_milliseconds() - begin);
	if (*reply.message)
		log_step(executor->log, LOG_NOTICE, step->subject, step->operation, "%s",
			reply.message);
	return 0;
}

/* How many of the loan's steps executor_apply looks at. */
static size_t step_count(const struct executor *executor, const struct loan *loan)
{
	return executor->limit && executor->limit < loan->steps.count ? executor->limit
								      : loan->steps.count;
}

static int check_steps(
	const struct executor *executor, const struct loan *loan, struct error *error)
{
	for (size_t i = 0; i < step_count(executor, loan); i++) {
		const struct step *step = &loan->steps.items[i];
		const struct operation *operation =
			operation_find(executor->tables, step->operation);
		int r = 0;

		if (!operation)
			return error_set(
				error, -ENOSYS, "the step '%s' is unknown", step->operation);
		if (step->state != STEP_DONE && operation->check)
			r = operation->check(executor->kernel, step, error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Who reads the loan later knows no operation, and yet is to tell a write that is overdue. */
static void mark_begun(const struct executor *executor, const struct loan *loan, struct step *step)
{
	const struct operation *operation = operation_find(executor->tables, step->operation);

	step->state = STEP_STARTED;
	step->write_deadline_ms = operation->deadline_ms || operation->look
		? 0
		: operation_deadline_ms(operation, step, loan);
}

/* Marks the first step that is not done as begun; NULL when all are done. */
static struct step *begin_next(const struct executor *executor, struct loan *loan)
{
	for (size_t i = 0; i < step_count(executor, loan); i++) {
		if (loan->steps.items[i].state != STEP_DONE) {
			mark_begun(executor, loan, &loan->steps.items[i]);
			return &loan->steps.items[i];
		}
	}
	return NULL;
}

/* Where the device of a function's step is now. */
static enum loan_presence find_presence(
	const struct executor *executor, const struct loan *loan, const struct step *step)
{
	const struct operation *operation = operation_find(executor->tables, step->operation);
	const struct loan_function *function = loan_find(loan, step->subject);

	return operation && operation->is_of_function && function
		? loan_function_presence(executor->kernel, function)
		: LOAN_PRESENT;
}

/* What begins with a look changes nothing yet: run_step records it. */
static int record_begun(const struct executor *executor, struct worker *worker,
	const struct loan *loan, const struct step *step, enum direction direction,
	struct error *error)
{
	return step && operation_find(executor->tables, step->operation)->look
		? 0
		: record(executor, worker, loan, direction, error);
}

static int apply_all(const struct executor *executor, struct worker *worker, struct loan *loan,
	struct error *error)
{
	struct step *step = begin_next(executor, loan);
	int r = record(executor, worker, loan, APPLY, error);

	while (r == 0 && step) {
		if (is_stopped(executor->stop))
			return error_set(error, -EINTR, "stopped by a signal");
		r = run_step(executor, worker, loan, step, STEP_STARTED, APPLY, error);
		if (r < 0 && find_presence(executor, loan, step) != LOAN_PRESENT)
			return error_set(error, -ENODEV, "%s left the bus during the handover",
				step->subject);
		if (r < 0)
			return r;
		step->state = STEP_DONE;
		step = begin_next(executor, loan);
		r = record_begun(executor, worker, loan, step, APPLY, error);
	}
	return r;
}

int executor_apply(const struct executor *executor, struct loan *loan, struct error *error)
{
	struct worker worker = {.fd = -1};
	int r = check_steps(executor, loan, error);

	if (r < 0 || !begin_next(executor, loan))
		return r;
	r = worker_start(executor, &worker, loan, error);
	if (r == 0)
		r = apply_all(executor, &worker, loan, error);
	worker_end(&worker);
	loan->child = 0;
	return r;
}

static int undo_step(const struct executor *executor, struct worker *worker, struct loan *loan,
	size_t index, struct error *error)
{
	struct step *step = &loan->steps.items[index];
	enum step_state was = step->state;
	const struct operation *operation = operation_find(executor->tables, step->operation);
	int r;

	if (was != STEP_PLANNED && !operation)
		return error_set(error, -ENOSYS,
			"the step '%s' of this loan is unknown to this version of gpu-ferry",
			step->operation);
	/* what was only planned, or has nothing to undo, needs no child */
	if (was != STEP_PLANNED && operation->undo) {
		mark_begun(executor, loan, step);
		r = worker_start(executor, worker, loan, error);
		if (r == 0)
			r = record_begun(executor, worker, loan, step, UNDO, error);
		if (r == 0)
			r = run_step(executor, worker, loan, step, was, UNDO, error);
		if (r < 0)
			return r;
	}
	steps_remove(&loan->steps, index);
	return 0;
}

static int stuck_error(const struct step *step, struct error *error)
{
	return error_set(error, -EBUSY, "%s is owed: process %d still waits in its driver",
		step->subject, (int)step->child);
}

/* One line for a card. @told: the last function that was told. */
static void tell_left(const struct executor *executor, const struct loan *loan,
	const struct loan_function *function, enum loan_presence presence, const char **told)
{
	const char *address = function->address;
	char owner[32], other[PCI_IDENTITY_SIZE];
	const char *to = loan->owner.kind == LOAN_OWNER_VM ? "to " : "";

	if (*told && pci_same_card(*told, address))
		return;
	*told = address;
	loan_owner_format(&loan->owner, owner, sizeof(owner));
	pci_read_identity(executor->kernel, address, other);
	if (presence == LOAN_LEFT)
		log_step(executor->log, LOG_NOTICE, address, NULL,
			"%s left the bus while it was lent %s%s: nothing to return", address, to,
			owner);
	else
		log_step(executor->log, LOG_NOTICE, address, NULL,
			"%s left the bus while it was lent %s%s, and another device (%s) is there "
			"now, which stays as it is: nothing to return",
			address, to, owner, other);
}

/* What an undo has seen on its way: addresses of the loan's functions. */
struct seen {
	const char *present; /* the last one that was on the bus */
	const char *left;    /* the last one that was said to have left it */
};

/* What is not there owes nothing: a step of a function that has left the bus, maybe while it was
 * being undone, ends without a write. The steps of a function follow one another: the first one
 * looks, and any that fails. */
static int undo_or_drop(const struct executor *executor, struct worker *worker, struct loan *loan,
	size_t index, struct seen *seen, struct error *error)
{
	const struct step *step = &loan->steps.items[index];
	const struct loan_function *function = loan_find(loan, step->subject);
	enum loan_presence presence = function && function->address == seen->present
		? LOAN_PRESENT
		: find_presence(executor, loan, step);

	if (presence == LOAN_PRESENT) {
		int r = undo_step(executor, worker, loan, index, error);

		seen->present = function ? function->address : NULL;
		if (r == 0 || step->state == STEP_STUCK)
			return r;
		presence = find_presence(executor, loan, step);
		if (presence == LOAN_PRESENT)
			return r;
	}
	seen->present = NULL;
	tell_left(executor, loan, function, presence, &seen->left);
	steps_remove(&loan->steps, index);
	return 0;
}

static int undo_all(const struct executor *executor, struct worker *worker, struct loan *loan,
	const char *address, struct error *error)
{
	struct seen seen = {0};
	cleanup(names_done) struct names failed = {0};
	int first = 0;

	for (size_t i = loan->steps.count; i-- > executor->limit;) {
		struct error why = {0};
		const char *subject = loan->steps.items[i].subject;
		const struct step *stuck = loan_find_stuck(loan, subject);
		int r;

		if ((address && strcmp(subject, address) != 0) || names_have(&failed, subject))
			continue;
		/* another write would only queue up behind the one that sleeps in the kernel */
		if (stuck)
			r = stuck_error(stuck, &why);
		else
			r = undo_or_drop(executor, worker, loan, i, &seen, &why);
		if (r == 0)
			continue;
		/* the first error is for the caller to report */
		if (first)
			log_step(executor->log, LOG_ERR, subject, loan->steps.items[i].operation,
				"%s", why.message);
		if (names_add(&failed, subject) < 0)
			return error_set_errno(error, -ENOMEM, "return the devices");
		if (first == 0 && error)
			*error = why;
		first = first ? first : r;
	}
	return first;
}

int executor_undo(const struct executor *executor, struct loan *loan, const char *address,
	struct error *error)
{
	struct worker worker = {.fd = -1};
	int r = undo_all(executor, &worker, loan, address, error);

	worker_end(&worker);
	loan->child = 0;
	return r;
}
