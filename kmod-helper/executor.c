/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "executor.h"

#include "base/cleanup.h"
#include "base/process.h"
#include "binding.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum direction {
	APPLY,
	UNDO,
};

struct request {
	enum direction direction;
	struct step step;
};

/* The child while it lives; fd -1: not started yet. */
struct worker {
	pid_t pid;
	int fd;
};

static const struct operation *find_operation(const struct executor *executor, const char *name)
{
	for (size_t table = 0; executor->tables[table]; table++) {
		for (const struct operation *operation = executor->tables[table]; operation->name;
			operation++) {
			if (strcmp(operation->name, name) == 0)
				return operation;
		}
	}
	return NULL;
}

static void serve_one(
	const struct executor *executor, const struct request *request, struct error *reply)
{
	const struct step *step = &request->step;
	const struct operation *operation = find_operation(executor, step->operation);
	int (*run)(const struct kernel *, const struct step *, struct error *);

	*reply = (struct error){0};
	if (!operation) {
		error_set(reply, -ENOSYS,
			"the step '%s' of this loan is unknown to this version of gpu-ferry",
			step->operation);
		return;
	}
	run = request->direction == APPLY ? operation->apply : operation->undo;
	if (run)
		reply->status = run(executor->kernel, step, reply);
}

/* Leaves the caller's world: nothing of it may be held while a driver sleeps. */
static int detach(const struct executor *executor, int fd)
{
	unsigned int low = (unsigned int)(fd < executor->root->fd ? fd : executor->root->fd);
	unsigned int high = (unsigned int)(fd < executor->root->fd ? executor->root->fd : fd);
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
	/* Proxmox's Stop kills the whole process group: the write in hand must be seen through */
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
	*worker = (struct worker){.pid = pid, .fd = pair[0]};
	loan->child = pid;
	if (process_start_time(executor->root, pid, &loan->child_start_time) < 0)
		loan->child_start_time = 0;
	return 0;
}

/* The child's answer, or -ETIMEDOUT past @deadline_ms, or -EPIPE when it died. */
static int worker_await(const struct worker *worker, unsigned int deadline_ms, struct error *reply)
{
	unsigned long long end = clock_milliseconds() + deadline_ms;
	struct pollfd polled = {.fd = worker->fd, .events = POLLIN};

	for (;;) {
		unsigned long long now = clock_milliseconds();
		int ready = poll(&polled, 1, now < end ? (int)(end - now) : 0);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return -errno;
		if (ready == 0)
			return -ETIMEDOUT;
		return recv(worker->fd, reply, sizeof(*reply), 0) == (ssize_t)sizeof(*reply)
			? 0
			: -EPIPE;
	}
}

/* As a person would say it: undoing an unbind is a bind. */
static void describe(const struct step *step, enum direction direction, char *buffer, size_t size)
{
	bool applies = direction == APPLY;
	const char *value = applies ? step->argument : step->original;

	if (strcmp(step->operation, "override") == 0)
		snprintf(buffer, size, "override %s: %s", step->subject, *value ? value : "none");
	else if (strcmp(step->operation, applies ? "unbind" : "bind") == 0)
		snprintf(buffer, size, "unbind %s from %s", step->subject, step->argument);
	else if (strcmp(step->operation, applies ? "bind" : "unbind") == 0)
		snprintf(buffer, size, "bind %s to %s", step->subject, step->argument);
	else if (strcmp(step->operation, "framebuffer") == 0)
		snprintf(buffer, size, "%s %.64s %s %s", applies ? "unbind" : "bind",
			step->original, applies ? "from" : "to", step->argument);
	else if (strcmp(step->operation, "set") == 0)
		snprintf(buffer, size, "set %s: %s", step->subject, step->argument);
	else if (strcmp(step->operation, "keep") == 0)
		snprintf(buffer, size, "set %s: %.64s=%s", step->subject, step->argument, value);
	else
		snprintf(buffer, size, "%s%s %s", applies ? "" : "undo ", step->operation,
			step->subject);
}

static int overdue(struct worker *worker, struct loan *loan, struct step *step, const char *what,
	unsigned int deadline_ms, struct error *error)
{
	loan->state = LOAN_OVERDUE;
	step->state = STEP_STUCK;
	step->child = loan->child;
	step->child_start_time = loan->child_start_time;
	loan->child = 0;
	/* it stays behind with its end of the socket; ours closes, so that it ends after the write
	 */
	close(worker->fd);
	worker->fd = -1;
	return error_set(error, -ETIMEDOUT,
		"%s: the driver did not let go within %u s (process %d waits in the kernel)", what,
		deadline_ms / 1000, (int)worker->pid);
}

static int run_step(const struct executor *executor, struct worker *worker, struct loan *loan,
	struct step *step, enum direction direction, struct error *error)
{
	struct request request = {.direction = direction, .step = *step};
	unsigned int deadline_ms = binding_deadline_ms(step, loan);
	unsigned long long begin = clock_milliseconds();
	struct error reply = {0};
	char what[3 * STEP_TEXT_SIZE];
	int r;

	describe(step, direction, what, sizeof(what));
	request.step.record = NULL;
	r = send(worker->fd, &request, sizeof(request), MSG_NOSIGNAL) < 0 ? -errno : 0;
	if (r == 0)
		r = worker_await(worker, deadline_ms, &reply);
	if (r == -ETIMEDOUT)
		return overdue(worker, loan, step, what, deadline_ms, error);
	if (r < 0) {
		/* the next function's steps get a new one */
		worker_end(worker);
		return error_set(error, r, "%s: the process that does it ended unexpectedly", what);
	}
	if (reply.status < 0) {
		if (error)
			*error = reply;
		return reply.status;
	}
	/* an override is half a bind: told in full only to who asks */
	log_step(executor->log, strcmp(step->operation, "override") == 0 ? LOG_DEBUG : LOG_INFO,
		step->subject, step->operation, "%s (%llu ms)", what, clock_milliseconds() - begin);
	return 0;
}

static int check_steps(
	const struct executor *executor, const struct loan *loan, struct error *error)
{
	for (size_t i = 0; i < loan->steps.count; i++) {
		const struct step *step = &loan->steps.items[i];
		const struct operation *operation = find_operation(executor, step->operation);
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

/* Marks the first step that is not done as begun; NULL when all are done. */
static struct step *begin_next(struct loan *loan)
{
	for (size_t i = 0; i < loan->steps.count; i++) {
		if (loan->steps.items[i].state != STEP_DONE) {
			loan->steps.items[i].state = STEP_STARTED;
			return &loan->steps.items[i];
		}
	}
	return NULL;
}

static int apply_all(const struct executor *executor, struct worker *worker, struct loan *loan,
	struct error *error)
{
	struct step *step = begin_next(loan);
	int r = loan_write(executor->root, loan, error);

	while (r == 0 && step) {
		if (executor->stop && *executor->stop)
			return error_set(error, -EINTR, "stopped by a signal");
		r = run_step(executor, worker, loan, step, APPLY, error);
		if (r < 0)
			return r;
		step->state = STEP_DONE;
		step = begin_next(loan);
		r = loan_write(executor->root, loan, error);
	}
	return r;
}

int executor_apply(const struct executor *executor, struct loan *loan, struct error *error)
{
	struct worker worker = {.fd = -1};
	int r = check_steps(executor, loan, error);

	if (r < 0 || !begin_next(loan))
		return r;
	r = worker_start(executor, &worker, loan, error);
	if (r == 0)
		r = apply_all(executor, &worker, loan, error);
	worker_end(&worker);
	loan->child = 0;
	return r;
}

static bool is_listed(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->names[i], name) == 0)
			return true;
	}
	return false;
}

static int undo_step(const struct executor *executor, struct worker *worker, struct loan *loan,
	size_t index, struct error *error)
{
	struct step *step = &loan->steps.items[index];
	const struct operation *operation = find_operation(executor, step->operation);
	int r;

	/* what was only planned, or has nothing to undo, needs no child */
	if (step->state != STEP_PLANNED && (!operation || operation->undo)) {
		step->state = STEP_STARTED;
		r = worker_start(executor, worker, loan, error);
		if (r == 0)
			r = loan_write(executor->root, loan, error);
		if (r == 0)
			r = run_step(executor, worker, loan, step, UNDO, error);
		if (r < 0)
			return r;
	}
	steps_remove(&loan->steps, index);
	return 0;
}

static int stuck_error(const struct step *step, struct error *error)
{
	return error_set(error, -EBUSY,
		"%s is owed: process %d still waits in its driver (gpu-ferry status %s)",
		step->subject, (int)step->child, step->subject);
}

static int undo_all(const struct executor *executor, struct worker *worker, struct loan *loan,
	const char *address, struct error *error)
{
	cleanup(names_done) struct names failed = {0};
	int first = 0;

	for (size_t i = loan->steps.count; i-- > 0;) {
		struct error why = {0};
		const char *subject = loan->steps.items[i].subject;
		const struct step *stuck = loan_find_stuck(loan, subject);
		int r;

		if ((address && strcmp(subject, address) != 0) || is_listed(&failed, subject))
			continue;
		/* behind a write that sleeps in the kernel another one would only queue up */
		if (stuck)
			r = stuck_error(stuck, &why);
		else
			r = undo_step(executor, worker, loan, i, &why);
		if (r == 0)
			continue;
		/* the first is the caller's to report */
		if (first)
			log_step(executor->log, LOG_ERR, subject, loan->steps.items[i].operation,
				"%s", why.message);
		if (names_add(&failed, subject) < 0)
			return error_set_errno(error, -ENOMEM, "give the devices back");
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
