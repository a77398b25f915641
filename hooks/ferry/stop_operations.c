/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The steps that make room on a card: what each one runs to stop something, and to start it again.
 */

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/loan/loan.h"
#include "outside.h"
#include "stop_step.h"
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SYSTEMCTL "/usr/bin/systemctl"
#define PCT "/usr/sbin/pct"
#define QM "/usr/sbin/qm"
#define TIMEOUT "/usr/bin/timeout"
#define TIMED_OUT 124
/* For --kill-after below; less than what the step has left when the container's status was slow. */
#define LIMIT_GRACE_MS 8000u

#define STATUS_MS 20000u
#define STATUS_AGAIN_MS 500
/* Beside the limit of the step: a VM with much memory takes its time. */
#define START_MS 120000u
/* A guest that was asked to shut down may take so long before it goes on for good. */
#define SHUTDOWN_MS 600000u
#define OUTPUT_MAX 4096

/* systemctl(1), exit status: systemd has no such unit (its translate_bus_error_to_exit_status). */
#define NO_SUCH_UNIT 5

/* Runs pct, qm or a program and reads the output. Returns the exit code; -ETIMEDOUT; or -errno. */
static int run_outside(
	const char *const *arguments, unsigned int deadline_ms, char *output, struct error *error)
{
	const struct process_options options = {
		.output = PROCESS_TEXT,
		.deadline_ms = deadline_ms,
		.text = output,
		.size = OUTPUT_MAX,
	};

	*output = '\0';
	return outside_run(arguments, &options, error);
}

/* In front of a program that may never end, and is run again and again: what run_outside kills at
 * its deadline may be systemd-run alone, and the program would be left. */
#define LIMITED_BY(seconds) TIMEOUT, "--kill-after=5", (seconds)

/* The same for @arguments that begin with LIMITED_BY(@seconds), which is filled in. */
static int run_limited(const char *const *arguments, char seconds[static 16],
	const struct step *step, char *output, struct error *error)
{
	int r;

	snprintf(seconds, 16, "%u", stop_step_ms(step) / 1000);
	r = run_outside(arguments, stop_step_ms(step) + LIMIT_GRACE_MS, output, error);
	return r == TIMED_OUT ? -ETIMEDOUT : r;
}

/* The same as run_outside; any exit code but 0 is -EIO with the last line of the output. */
static int run_well(
	const char *const *arguments, unsigned int deadline_ms, char *output, struct error *error)
{
	const char *slash = strrchr(arguments[0], '/');
	char ending[32];
	int r = run_outside(arguments, deadline_ms, output, error);

	if (r == -ETIMEDOUT)
		return error_set(error, r, "it did not finish within %u s", deadline_ms / 1000);
	if (r <= 0)
		return r;
	return error_set(error, -EIO, "%s %s%s%s ended with %s: %.400s", slash ? slash + 1 : "",
		arguments[1], arguments[2] ? " " : "", arguments[2] ? arguments[2] : "",
		process_end_format(r, ending, sizeof(ending)), stop_step_reason(output));
}

/* --- guests: containers by pct, VMs by qm, which take the same words */

struct guest {
	const char *tool;
	const char *noun;
	const char *number;
};

static struct guest guest_of(const struct step *step)
{
	return strcmp(step->operation, STOP_VM) == 0
		? (struct guest){QM, "VM", step->subject}
		: (struct guest){PCT, "container", step->subject};
}

enum guest_status {
	GUEST_ABSENT, /* it is not on this node any more: nothing runs, and nothing can be started
		       */
	GUEST_STOPPED,
	GUEST_RUNNING,
};

/* `pct status` and `qm status` (PVE::CLI::pct and qm, status): "status: stopped", or what QEMU says
 * of a VM: "running", "paused", … For a guest that is not there: "Configuration file '…' does not
 * exist". */
static int read_status(const struct guest *guest, enum guest_status *ret, struct error *error)
{
	const char *const arguments[] = {guest->tool, "status", guest->number, NULL};
	char output[OUTPUT_MAX];
	int r = run_well(arguments, STATUS_MS, output, error);

	if (r == -EIO && strstr(output, "does not exist")) {
		*ret = GUEST_ABSENT;
		return 0;
	}
	*ret = strstr(output, "status: stopped") ? GUEST_STOPPED : GUEST_RUNNING;
	return r;
}

/* Waits for the guest to end: of one that HA manages qm only asks for it. */
static int await_end(const struct guest *guest, unsigned int deadline_ms, enum guest_status *ret,
	struct error *error)
{
	unsigned long long end = clock_milliseconds() + deadline_ms;
	int r = read_status(guest, ret, error);

	while (r == 0 && *ret == GUEST_RUNNING && clock_milliseconds() < end) {
		poll(NULL, 0, STATUS_AGAIN_MS);
		r = read_status(guest, ret, error);
	}
	return r;
}

static int shut_down(const struct guest *guest, unsigned int deadline_ms, struct error *error)
{
	char seconds[16], output[OUTPUT_MAX];
	const char *const arguments[] = {
		guest->tool, "shutdown", guest->number, "--timeout", seconds, NULL};
	enum guest_status status;
	int r;

	snprintf(seconds, sizeof(seconds), "%u", deadline_ms / 1000);
	/* where the guest does not end in time, pct waits as long again before it says so */
	r = run_well(arguments, 2 * deadline_ms + STOP_STEP_GRACE_MS, output, error);
	if (r == 0)
		r = await_end(guest, deadline_ms, &status, error);
	if (r == 0 && status == GUEST_RUNNING)
		return error_set(error, -ETIMEDOUT, "it still runs after %u s", deadline_ms / 1000);
	return r;
}

static int stop_guest(const struct kernel *kernel, const struct step *step, struct error *error)
{
	const struct guest guest = guest_of(step);
	enum guest_status status;
	struct error why = {0};
	int r = read_status(&guest, &status, &why);

	(void)kernel;
	if (r == 0 && status == GUEST_RUNNING)
		r = shut_down(&guest, stop_step_ms(step), &why);
	/* somebody else was faster */
	if (r == -EIO && read_status(&guest, &status, NULL) == 0 && status != GUEST_RUNNING)
		return 0;
	return r < 0
		? error_set(error, r, "stop the %s %s: %s", guest.noun, guest.number, why.message)
		: 0;
}

/* Does the guest that runs still have our shutdown before it? That cannot be taken back: the start
 * stays owed until it has ended, but not for ever. */
static bool is_shutting_down(const struct step *step)
{
	unsigned long long asked_ms = stop_step_asked_ms(step);

	return step->state != STEP_DONE && asked_ms &&
		clock_milliseconds() - asked_ms < SHUTDOWN_MS;
}

static int run_start(const struct guest *guest, const struct step *step, struct error *error)
{
	const char *const arguments[] = {guest->tool, "start", guest->number, NULL};
	char output[OUTPUT_MAX];
	enum guest_status status;
	int r = run_well(arguments, stop_step_ms(step) + START_MS, output, error);

	/* somebody else was faster */
	if (r == -EIO && read_status(guest, &status, NULL) == 0 && status == GUEST_RUNNING)
		return 0;
	return r;
}

static int start_guest(const struct kernel *kernel, const struct step *step, struct error *error)
{
	const struct guest guest = guest_of(step);
	enum guest_status status;
	struct error why = {0};
	int r = read_status(&guest, &status, &why);

	(void)kernel;
	if (r == 0 && status == GUEST_RUNNING && is_shutting_down(step))
		r = error_set(&why, -EBUSY,
			"it was asked to shut down and still runs: it is "
			"started again when it has stopped");
	else if (r == 0 && status == GUEST_STOPPED)
		r = run_start(&guest, step, &why);
	return r < 0
		? error_set(error, r, "start the %s %s: %s", guest.noun, guest.number, why.message)
		: 0;
}

/* For a shutdown that pct gives up, and for a start. */
static unsigned int guest_deadline_ms(const struct step *step)
{
	return 3 * stop_step_ms(step) + START_MS + 2 * STOP_STEP_GRACE_MS;
}

/* --- services, of the host and in containers */

static unsigned int unit_deadline_ms(const struct step *step)
{
	return stop_step_ms(step) + STOP_STEP_GRACE_MS;
}

/* What systemctl's exit code says. A unit that systemd does not know: nothing of it runs, and
 * nothing can be started. */
static int error_of_systemctl(int r, const char *verb, const struct step *step, char *output,
	const struct error *why, struct error *error)
{
	const char *slash = strchr(step->subject, '/');
	char inside[48] = "";

	if (r == 0 || r == NO_SUCH_UNIT)
		return 0;
	if (slash)
		snprintf(inside, sizeof(inside), "pct exec %.*s -- ", (int)(slash - step->subject),
			step->subject);
	if (r == -ETIMEDOUT)
		return error_set(error, r, "%s the unit %s: it did not finish within %u s", verb,
			step->subject, stop_step_ms(step) / 1000);
	if (r < 0)
		return error_set(error, r, "%s the unit %s: %s", verb, step->subject, why->message);
	return error_set(error, -EIO, "%s the unit %s: %.400s (%ssystemctl status %s)", verb,
		step->subject, stop_step_reason(output), inside, slash ? slash + 1 : step->subject);
}

static int run_systemctl(const char *verb, const struct step *step, struct error *error)
{
	const char *const arguments[] = {SYSTEMCTL, verb, "--", step->subject, NULL};
	char output[OUTPUT_MAX];
	const struct process_options options = {
		.output = PROCESS_TEXT,
		.deadline_ms = stop_step_ms(step),
		.text = output,
		.size = sizeof(output),
	};
	struct error why = {0};
	int r = process_run(arguments, &options, &why);

	return error_of_systemctl(r, verb, step, output, &why, error);
}

/* Before it is recorded as begun: what was never stopped is not to be started. */
static int check_systemd(const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)kernel;
	return has_systemd()
		? 0
		: error_set(error, -ENOENT, "stop the unit %s: systemd does not run here",
			  step->subject);
}

static int stop_unit(const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)kernel;
	return run_systemctl("stop", step, error);
}

static int start_unit(const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)kernel;
	return run_systemctl("start", step, error);
}

/* In a container that does not run there is nothing to stop; and what it starts itself when it
 * starts is its own business. */
static int run_in_container(const char *verb, const struct step *step, struct error *error)
{
	char number[16], seconds[16], output[OUTPUT_MAX];
	const char *unit = strchr(step->subject, '/');
	const struct guest guest = {PCT, "container", number};
	const char *const arguments[] = {LIMITED_BY(seconds), PCT, "exec", number, "--",
		"systemctl", verb, "--", unit ? unit + 1 : "", NULL};
	enum guest_status status = GUEST_STOPPED;
	struct error why = {0};
	int r;

	snprintf(number, sizeof(number), "%.*s", (int)strcspn(step->subject, "/"), step->subject);
	r = read_status(&guest, &status, &why);
	if (r == 0 && status == GUEST_RUNNING)
		r = run_limited(arguments, seconds, step, output, &why);
	/* a holder says that it is of a service which is none: there is no room yet */
	if (r == NO_SUCH_UNIT && strcmp(verb, "stop") == 0)
		return error_set(error, -ENOENT, "stop the unit %s: its container has no such unit",
			step->subject);
	return error_of_systemctl(r, verb, step, output, &why, error);
}

static int stop_container_unit(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)kernel;
	return run_in_container("stop", step, error);
}

static int start_container_unit(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)kernel;
	return run_in_container("start", step, error);
}

/* --- programs */

static int check_program(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	int r = file_check_program(&kernel->root, step->subject, &why);

	return r < 0 ? error_set(error, r, "make room by %s: %s", step->subject, why.message) : 0;
}

/* The last line of what it says goes to the person. */
static int run_program(
	const struct kernel *kernel, const char *verb, const struct step *step, struct error *error)
{
	char seconds[16], output[OUTPUT_MAX];
	const char *const arguments[] = {LIMITED_BY(seconds), step->subject, verb, NULL};
	struct error why = {0};
	int r = check_program(kernel, step, error);

	if (r < 0)
		return r;
	r = run_limited(arguments, seconds, step, output, &why);
	if (r == -ETIMEDOUT)
		r = error_set(&why, r, "it did not finish within %s s", seconds);
	else if (r > 0)
		r = error_set(
			&why, -EIO, "%s: exit code %d: %.400s", verb, r, text_last_line(output));
	if (r < 0)
		return error_set(error, r, "make room by %s: %s", step->subject, why.message);
	if (*output)
		error_set(error, 0, "%s %s: %.400s", step->subject, verb, text_last_line(output));
	return 0;
}

static int stop_program(const struct kernel *kernel, const struct step *step, struct error *error)
{
	return run_program(kernel, "stop", step, error);
}

/* A program that is gone cannot take anything back: it is told once, and not owed for ever. */
static int start_program(const struct kernel *kernel, const struct step *step, struct error *error)
{
	int r = run_program(kernel, "start", step, error);

	if (r != -ENOENT)
		return r;
	error->status = 0;
	return 0;
}

const struct operation stop_operations[] = {
	{.name = STOP_UNIT,
		.apply_text = "stop unit {subject}",
		.undo_text = "start unit {subject}",
		.check = check_systemd,
		.apply = stop_unit,
		.undo = start_unit,
		.deadline_ms = unit_deadline_ms},
	{.name = STOP_CONTAINER_UNIT,
		.apply_text = "stop unit {subject} in its container",
		.undo_text = "start unit {subject} in its container",
		.apply = stop_container_unit,
		.undo = start_container_unit,
		.deadline_ms = unit_deadline_ms},
	{.name = STOP_CONTAINER,
		.apply_text = "stop container {subject}",
		.undo_text = "start container {subject}",
		.apply = stop_guest,
		.undo = start_guest,
		.deadline_ms = guest_deadline_ms},
	{.name = STOP_VM,
		.apply_text = "stop VM {subject}",
		.undo_text = "start VM {subject}",
		.apply = stop_guest,
		.undo = start_guest,
		.deadline_ms = guest_deadline_ms},
	{.name = STOP_PROGRAM,
		.apply_text = "make room by {subject}",
		.undo_text = "take room back by {subject}",
		.check = check_program,
		.apply = stop_program,
		.undo = start_program,
		.deadline_ms = unit_deadline_ms},
	{.name = NULL},
};
