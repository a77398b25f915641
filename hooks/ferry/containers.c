/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The step `stop-container`: stops a container with pct, and starts it again. */

#include "containers.h"

#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "stop_step.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PCT "/usr/sbin/pct"
#define PCT_ARGUMENTS_MAX 5
#define STATUS_MS 20000u
#define STATUS_AGAIN_MS 500
#define OUTPUT_MAX 4096

/* In front of pct where systemd runs. pct mounts storages and starts programs that change users;
 * the watch, which may start a container again, is in a sandbox (gpu-ferry-watch.service) that
 * allows neither. systemd(1) starts it outside; its output and exit code come back to us. */
static const char *const by_systemd[] = {
	"/usr/bin/systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--"};

#define BY_SYSTEMD_COUNT (sizeof(by_systemd) / sizeof(by_systemd[0]))

/* Runs pct with @arguments (at most PCT_ARGUMENTS_MAX, NULL at the end) and reads its output. When
 * it fails: -EIO with its last line. */
static int run_pct(
	const char *const *arguments, unsigned int deadline_ms, char *output, struct error *error)
{
	const struct process_options options = {
		.output = PROCESS_TEXT,
		.deadline_ms = deadline_ms,
		.text = output,
		.size = OUTPUT_MAX,
	};
	const char *command[BY_SYSTEMD_COUNT + PCT_ARGUMENTS_MAX + 1] = {NULL};
	size_t count = 0;
	char ending[32];
	int r;

	if (access(PCT, X_OK) < 0)
		return error_set_errno(error, -errno, "run " PCT);
	if (access("/run/systemd/system", F_OK) == 0) {
		memcpy(command, by_systemd, sizeof(by_systemd));
		count = BY_SYSTEMD_COUNT;
	}
	for (size_t i = 0; i < PCT_ARGUMENTS_MAX && arguments[i]; i++)
		command[count++] = arguments[i];
	r = process_run(command, &options, error);
	if (r <= 0)
		return r;
	return error_set(error, -EIO, "pct %s %s ended with %s: %.400s", arguments[1], arguments[2],
		process_end_format(r, ending, sizeof(ending)), stop_step_reason(output));
}

/* "status: running" of `pct status` (PVE::CLI::pct, status). A container that is not there any more
 * (pct: "Configuration file '…' does not exist") is not running, and nothing can start it. */
static int read_status(const char *number, bool *ret_running, bool *ret_exists, struct error *error)
{
	const char *const arguments[] = {PCT, "status", number, NULL};
	char output[OUTPUT_MAX];
	int r = run_pct(arguments, STATUS_MS, output, error);

	*ret_exists = true;
	*ret_running = r == 0 && strstr(output, "status: running");
	if (r == -EIO && strstr(output, "does not exist")) {
		*ret_exists = false;
		return 0;
	}
	return r;
}

static int shut_down(const struct step *step, struct error *error)
{
	char seconds[16], output[OUTPUT_MAX];
	const char *const arguments[] = {
		PCT, "shutdown", step->subject, "--timeout", seconds, NULL};

	snprintf(seconds, sizeof(seconds), "%u", stop_step_ms(step) / 1000);
	return run_pct(arguments, stop_step_ms(step) + STOP_STEP_GRACE_MS / 2, output, error);
}

static int stop_container(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	bool running, exists;
	int r = read_status(step->subject, &running, &exists, &why);

	(void)kernel;
	if (r == 0 && running)
		r = shut_down(step, &why);
	return r < 0 ? error_set(error, r, "stop the container %s: %s", step->subject, why.message)
		     : 0;
}

/* Waits for the container to end. A shutdown that we began goes on in the container, even when the
 * step was stopped or gave up. */
static int await_end(
	const struct step *step, bool *ret_running, bool *ret_exists, struct error *error)
{
	unsigned long long end = clock_milliseconds() + stop_step_ms(step);
	int r = read_status(step->subject, ret_running, ret_exists, error);

	while (r == 0 && *ret_running && clock_milliseconds() < end) {
		poll(NULL, 0, STATUS_AGAIN_MS);
		r = read_status(step->subject, ret_running, ret_exists, error);
	}
	return r;
}

static int start_container(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	const char *const arguments[] = {PCT, "start", step->subject, NULL};
	char output[OUTPUT_MAX];
	struct error why = {0};
	bool running, exists;
	int r = step->state == STEP_DONE ? read_status(step->subject, &running, &exists, &why)
					 : await_end(step, &running, &exists, &why);

	(void)kernel;
	if (r == 0 && exists && !running)
		r = run_pct(arguments, stop_step_ms(step), output, &why);
	return r < 0 ? error_set(error, r, "start the container %s: %s", step->subject, why.message)
		     : 0;
}

/* Leaves time for an undo, which may first have to wait until the container has stopped. */
static unsigned int container_deadline_ms(const struct step *step)
{
	return stop_step_ms(step) + stop_step_deadline_ms(step);
}

const struct operation container_operations[] = {
	{.name = STOP_CONTAINER,
		.apply_text = "stop container {subject}",
		.undo_text = "start container {subject}",
		.apply = stop_container,
		.undo = start_container,
		.deadline_ms = container_deadline_ms},
	{.name = NULL},
};
