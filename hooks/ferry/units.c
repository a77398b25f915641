/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The step `stop-unit`: stops a systemd service, and starts it again. */

#include "units.h"

#include "kmod-helper/base/process.h"
#include "stop_step.h"
#include <errno.h>
#include <unistd.h>

#define SYSTEMCTL "/usr/bin/systemctl"
#define OUTPUT_MAX 4096

/* systemctl(1), exit status: systemd has no such unit (its translate_bus_error_to_exit_status). */
#define NO_SUCH_UNIT 5

/* A unit that systemd does not know: nothing of it runs, and nothing can be started. */
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

	if (r == -ETIMEDOUT)
		return error_set(error, r, "%s the unit %s: it did not finish within %u s", verb,
			step->subject, options.deadline_ms / 1000);
	if (r < 0)
		return error_set(error, r, "%s the unit %s: %s", verb, step->subject, why.message);
	if (r == 0 || r == NO_SUCH_UNIT)
		return 0;
	return error_set(error, -EIO, "%s the unit %s: %.400s (systemctl status %s)", verb,
		step->subject, stop_step_reason(output), step->subject);
}

/* Before it is recorded as begun: what was never stopped is not to be started. The folder is what
 * sd_booted(3) asks for. */
static int check_systemd(const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)kernel;
	if (access("/run/systemd/system", F_OK) == 0)
		return 0;
	return error_set(
		error, -errno, "stop the unit %s: systemd does not run here", step->subject);
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

const struct operation unit_operations[] = {
	{.name = STOP_UNIT,
		.apply_text = "stop unit {subject}",
		.undo_text = "start unit {subject}",
		.check = check_systemd,
		.apply = stop_unit,
		.undo = start_unit,
		.deadline_ms = stop_step_deadline_ms},
	{.name = NULL},
};
