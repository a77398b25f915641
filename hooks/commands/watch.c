/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry watch`: waits for VMs to end and returns their cards. */

#include "commands.h"

#include "conf/pve/vm_process.h"
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/notice.h"
#include "hooks/ferry/return.h"
#include "hooks/ferry/shutdown.h"
#include "hooks/ferry/vm_state.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/loan/lock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The safety net. Nobody calls post-stop after a start that failed, and on Proxmox VE 8 it can be
 * missing after a normal stop. gpu-ferry-watch.path runs this command as long as there is a loan.
 * It sleeps until a QEMU ends or a loan changes, gives post-stop time to work first, and then
 * returns what a gone VM still has. It ends when there is no loan any more. */

#define POST_STOP_MS 5000 /* the time that post-stop has before we step in */
#define STARTING_MS 1000  /* we cannot wait for a VM's lock: look again after this time */
#define RETRY_MIN_MS 1000 /* a failed return is tried again, after longer and longer pauses */
#define RETRY_MAX_MS 60000

/* What the watch knows about one loan, as long as the loan exists. */
struct watched {
	struct loan_owner owner;
	unsigned long long due_at; /* 0: the VM is not gone */
	unsigned int retry_ms;
	pid_t worker;	      /* the child that returns it now; 0: none */
	int result;	      /* from there: why that failed */
	char told[512];	      /* why its return failed, as it was told last */
	unsigned int noticed; /* the troubles that root had a notice of */
	bool seen;
};

struct watch {
	struct context *context;
	struct watched *items;
	size_t count;
	int notify, lock;
	bool has_complained;
};

static struct watched *find_watched(struct watch *watch, const struct loan_owner *owner)
{
	struct watched *watched;

	for (size_t i = 0; i < watch->count; i++) {
		if (loan_owner_equal(&watch->items[i].owner, owner))
			return &watch->items[i];
	}
	watched = LIST_ADD(watch->items, watch->count);
	if (watched)
		*watched = (struct watched){.owner = *owner, .retry_ms = RETRY_MIN_MS};
	return watched;
}

/* Waits for the child. Why it failed; "" it did not. */
static void end_return(struct watched *watched, struct error *ret)
{
	ssize_t length = read(watched->result, ret->message, sizeof(ret->message) - 1);

	ret->message[length > 0 ? length : 0] = '\0';
	waitpid(watched->worker, NULL, 0);
	close(watched->result);
	watched->worker = 0;
}

static void forget_unseen(struct watch *watch)
{
	struct error ignored;
	size_t kept = 0;

	for (size_t i = 0; i < watch->count; i++) {
		if (!watch->items[i].seen && watch->items[i].worker)
			end_return(&watch->items[i], &ignored);
		if (!watch->items[i].seen)
			continue;
		watch->items[kept] = watch->items[i];
		watch->items[kept++].seen = false;
	}
	watch->count = kept;
}

/* How many ms to sleep (-1: until the descriptor in @polled says that the process has ended). */
static int sleep_until_end(pid_t pid, struct pollfd *polled)
{
	polled->fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return polled->fd < 0 ? STARTING_MS : -1;
}

/* For a loan that is not due: how many ms to sleep (-1: until the descriptor in @polled says that a
 * process has ended). */
static int sleep_of_living(struct watch *watch, const struct loan *loan, struct pollfd *polled)
{
	const struct context *context = watch->context;
	const struct step *stuck = loan_find_stuck(loan, NULL);
	pid_t pid = stuck ? stuck->child : loan->child;

	if (!stuck && loan->owner.kind == LOAN_OWNER_VM &&
		!loan_is_busy(&context->kernel.root, loan))
		pid = vm_process_find(&context->kernel.root, loan->owner.vmid);
	if (!pid)
		return loan->owner.kind == LOAN_OWNER_HAND ? -1 : STARTING_MS;
	return sleep_until_end(pid, polled);
}

/* What fails for the same reason again is told once. */
static void tell_failure(
	const struct watch *watch, struct watched *watched, const struct error *error)
{
	bool is_known = strncmp(watched->told, error->message, sizeof(watched->told) - 1) == 0;

	snprintf(watched->told, sizeof(watched->told), "%.511s", error->message);
	log_write(&watch->context->log, is_known ? LOG_DEBUG : LOG_WARNING, "%s", error->message);
}

/* The first function that does not answer; else the first one that was taken; NULL: none. */
static const char *find_troubled(
	const struct kernel *kernel, const struct loan *loan, bool *ret_is_dead)
{
	const char *first = NULL;

	*ret_is_dead = false;
	for (size_t i = 0; i < loan->function_count && !*ret_is_dead; i++) {
		const struct loan_function *function = &loan->functions[i];

		if (function->use != LOAN_TAKEN)
			continue;
		*ret_is_dead = pci_is_dead(kernel, function->address);
		if (*ret_is_dead || !first)
			first = function->address;
	}
	return first;
}

static void send_notice(
	const struct watch *watch, const struct loan *loan, const char *address, const char *what)
{
	char owner[32], text[256];

	loan_owner_format(&loan->owner, owner, sizeof(owner));
	if (address)
		snprintf(text, sizeof(text), "card %.*s (%s): %s", (int)strcspn(address, "."),
			address, owner, what);
	else
		snprintf(text, sizeof(text),
			"what made room (%s) is not running again: gpu-ferry status", owner);
	notice_send(watch->context, text);
}

/* Sends a notice of each trouble of a loan once, as long as it lasts. */
static void notice_troubles(
	const struct watch *watch, struct watched *watched, const struct loan *loan)
{
	static const char *const texts[] = {"its return failed: gpu-ferry reconcile",
		"the driver does not let it go: gpu-ferry status",
		"it does not answer: gpu-ferry doctor"};
	unsigned int troubles = 0;
	bool is_dead;
	const char *address = find_troubled(&watch->context->kernel, loan, &is_dead);

	/* only what a try of ours has not brought home */
	if (loan->state == LOAN_OWED && *watched->told)
		troubles |= 1;
	if (loan->state == LOAN_OVERDUE)
		troubles |= 2;
	if (is_dead)
		troubles |= 4;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (troubles & ~watched->noticed & 1u << i)
			send_notice(watch, loan, address, texts[i]);
	}
	/* a return that is tried again goes from one trouble to another and back */
	watched->noticed = troubles || loan->state != LOAN_LENT ? watched->noticed | troubles : 0;
}

/* Returns the loan in a child: to start again what made room for it may take minutes, in which the
 * cards of other VMs are not to wait. */
static int begin_return(struct watch *watch, struct watched *watched)
{
	struct error error = {0};
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	watched->worker = fork();
	if (watched->worker == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* it says that the watch runs, which this is not */
		cleanup_close(&watch->lock);
		if (return_if_due(watch->context, &watched->owner, &error) < 0)
			(void)!write(pair[1], error.message, strlen(error.message));
		_exit(0);
	}
	close(pair[1]);
	watched->result = pair[0];
	if (watched->worker > 0)
		return 0;
	close(pair[0]);
	watched->worker = 0;
	return -EAGAIN;
}

/* How many ms to sleep until a failed return is tried again. */
static int sleep_after_failure(struct watched *watched)
{
	unsigned int now = watched->retry_ms;

	watched->due_at = clock_milliseconds() + now;
	watched->retry_ms = now * 2 < RETRY_MAX_MS ? now * 2 : RETRY_MAX_MS;
	return (int)now;
}

/* Returns the devices of a loan that is due. The result is how many ms to sleep at most for this
 * loan (-1: until woken). */
static int return_or_wait(struct watch *watch, struct watched *watched, const struct loan *loan,
	struct pollfd *polled)
{
	unsigned long long now = clock_milliseconds();
	struct error error = {0};
	siginfo_t ended = {0};

	if (watched->worker) {
		if (waitid(P_PID, (id_t)watched->worker, &ended, WEXITED | WNOHANG | WNOWAIT) ==
				0 &&
			!ended.si_pid)
			return sleep_until_end(watched->worker, polled);
		end_return(watched, &error);
		if (*error.message)
			tell_failure(watch, watched, &error);
		/* a start that another VM's is in the way of is tried again, too */
		return sleep_after_failure(watched);
	}
	if (!loan_life_is_due(watch->context, loan)) {
		watched->due_at = 0;
		watched->retry_ms = RETRY_MIN_MS;
		return sleep_of_living(watch, loan, polled);
	}
	if (!watched->due_at)
		watched->due_at = now + POST_STOP_MS;
	if (now < watched->due_at)
		return (int)(watched->due_at - now);
	/* we must not delay a shutdown; systemd ends us soon */
	if (host_is_shutting_down()) {
		watched->due_at = now + POST_STOP_MS;
		return POST_STOP_MS;
	}
	return begin_return(watch, watched) < 0 ? sleep_after_failure(watched)
						: sleep_until_end(watched->worker, polled);
}

static int shorter(int left, int right)
{
	if (left < 0 || right < 0)
		return left < 0 ? right : left;
	return left < right ? left : right;
}

/* Looks at every loan once, then sleeps. 1 while there are loans, else 0, or -errno. */
static int watch_once(struct watch *watch, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	auto_free struct pollfd *polled = NULL;
	int sleep_ms = -1;
	int r = loans_read(&watch->context->kernel.root, &loans, error);

	if (r < 0)
		return r;
	if (loans.count == 0 && loans.unreadable.status == 0)
		return 0;
	/* a loan that cannot be read keeps the folder non-empty: if we ended, the path unit would
	 * start us again and again */
	if (loans.unreadable.status < 0 && !watch->has_complained)
		log_write(&watch->context->log, LOG_WARNING, "%s", loans.unreadable.message);
	watch->has_complained = loans.unreadable.status < 0;
	polled = calloc(loans.count + 1, sizeof(*polled));
	if (!polled)
		return error_set_errno(error, -ENOMEM, "watch the loans");
	polled[loans.count] = (struct pollfd){.fd = watch->notify, .events = POLLIN};
	for (size_t i = 0; i < loans.count; i++) {
		struct watched *watched = find_watched(watch, &loans.items[i].owner);

		polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
		if (!watched)
			return error_set_errno(error, -ENOMEM, "watch the loans");
		watched->seen = true;
		notice_troubles(watch, watched, &loans.items[i]);
		sleep_ms = shorter(
			sleep_ms, return_or_wait(watch, watched, &loans.items[i], &polled[i]));
	}
	forget_unseen(watch);
	if (!stop_requested)
		poll(polled, loans.count + 1, sleep_ms);
	file_drain(watch->notify);
	for (size_t i = 0; i < loans.count; i++)
		cleanup_close(&polled[i].fd);
	return 1;
}

static int run_watch(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	struct watch watch = {.context = context, .notify = -1};
	auto_close int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	auto_close int lock = -1;
	int r;

	(void)data;
	if (arguments[0])
		return error_set(error, USAGE, "watch takes no argument '%s'", arguments[0]);
	r = context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	watch.lock = lock = lock_take(&context->kernel.root, WATCH_LOCK, 0, error);
	/* systemd runs one watch only; the lock says to others that it runs */
	if (lock < 0 && !lock_cannot_be_made(lock))
		return lock;
	if (lock < 0)
		log_write(&context->log, LOG_WARNING, "%s; the watch runs without it",
			error->message);
	r = folder_make(&context->kernel.root, LOAN_FOLDER, 0755, error);
	if (r < 0)
		return r;
	r = notify < 0 ? -errno : loans_notify(&context->kernel.root, notify);
	if (r < 0)
		return error_set_errno(error, r, "watch /" LOAN_FOLDER);
	watch.notify = notify;
	do {
		r = watch_once(&watch, error);
	} while (r == 1 && !stop_requested);
	/* when that takes too long, systemd ends us, and so them */
	for (size_t i = 0; i < watch.count; i++)
		watch.items[i].seen = false;
	forget_unseen(&watch);
	free(watch.items);
	return r < 0 ? r : 0;
}

const struct command command_watch = {
	.name = "watch",
	.arguments = "",
	.example = "systemctl start gpu-ferry-watch.service",
	.logs_its_error = true,
	.run = run_watch,
};
