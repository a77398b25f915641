/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The step `stop-unit`: stops a systemd service, and starts it again. */

#include "units.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "stop_step.h"
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define SYSTEMD "org.freedesktop.systemd1"
#define MANAGER "/org/freedesktop/systemd1", SYSTEMD ".Manager"
#define CALL_MICROSECONDS 10000000u /* systemd's answer to a call, not the job */

/* What systemd does about a unit; its end comes as a signal. */
struct unit_job {
	char path[128];
	char result[32]; /* "done", "failed", "timeout", …; "" while it runs */
	bool is_missing; /* systemd has no such unit: nothing of it runs, nothing can be started */
};

static int see_removed(sd_bus_message *message, void *data, sd_bus_error *unused)
{
	struct unit_job *job = data;
	const char *path, *unit, *result;
	uint32_t id;

	(void)unused;
	if (sd_bus_message_read(message, "uoss", &id, &path, &unit, &result) >= 0 &&
		strcmp(path, job->path) == 0)
		snprintf(job->result, sizeof(job->result), "%s", result);
	return 0;
}

static void bus_done(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}

static void message_done(sd_bus_message **message)
{
	sd_bus_message_unref(*message);
}

static int open_bus(const char *unit, sd_bus **ret, struct error *error)
{
	int r = sd_bus_open_system(ret);

	if (r < 0)
		return error_set_errno(error, r, "%s: reach systemd over D-Bus", unit);
	sd_bus_set_method_call_timeout(*ret, CALL_MICROSECONDS);
	return 0;
}

static int begin_job(sd_bus *bus, const char *method, const char *unit, struct unit_job *job,
	struct error *error)
{
	cleanup(message_done) sd_bus_message *reply = NULL;
	cleanup(sd_bus_error_free) sd_bus_error why = SD_BUS_ERROR_NULL;
	const char *path;
	int r = sd_bus_match_signal(bus, NULL, SYSTEMD, MANAGER, "JobRemoved", see_removed, job);

	/* without a subscriber systemd sends no signals */
	if (r >= 0)
		r = sd_bus_call_method(bus, SYSTEMD, MANAGER, "Subscribe", &why, NULL, "");
	if (r >= 0)
		r = sd_bus_call_method(
			bus, SYSTEMD, MANAGER, method, &why, &reply, "ss", unit, "replace");
	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	job->is_missing = sd_bus_error_has_name(&why, SYSTEMD ".NoSuchUnit");
	if (job->is_missing)
		return 0;
	if (r < 0)
		return error_set(
			error, r, "%s: %s", unit, why.message ? why.message : strerror(-r));
	snprintf(job->path, sizeof(job->path), "%s", path);
	return 0;
}

static int await_job(sd_bus *bus, const struct unit_job *job, unsigned int deadline_ms)
{
	unsigned long long end = clock_milliseconds() + deadline_ms;

	while (!*job->result) {
		unsigned long long now = clock_milliseconds();
		int r = sd_bus_process(bus, NULL);

		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (now >= end)
			return -ETIMEDOUT;
		r = sd_bus_wait(bus, (end - now) * 1000);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

static int run_job(const char *method, const struct step *step, struct error *error)
{
	cleanup(bus_done) sd_bus *bus = NULL;
	unsigned int deadline_ms = stop_step_ms(step);
	struct unit_job job = {0};
	int r = open_bus(step->subject, &bus, error);

	if (r == 0)
		r = begin_job(bus, method, step->subject, &job, error);
	if (r < 0 || job.is_missing)
		return r;
	r = await_job(bus, &job, deadline_ms);
	if (r == -ETIMEDOUT)
		return error_set(error, r, "%s did not do so within %u s", step->subject,
			deadline_ms / 1000);
	if (r < 0)
		return error_set_errno(error, r, "wait for %s", step->subject);
	if (strcmp(job.result, "done") != 0)
		return error_set(error, -EIO, "%s: systemd says '%s' (systemctl status %s)",
			step->subject, job.result, step->subject);
	return 0;
}

/* Before it is recorded as begun: what was never stopped is not to be started. */
static int check_bus(const struct kernel *kernel, const struct step *step, struct error *error)
{
	cleanup(bus_done) sd_bus *bus = NULL;
	struct error why = {0};
	int r = open_bus(step->subject, &bus, &why);

	(void)kernel;
	return r < 0 ? error_set(error, r, "stop the unit %s", why.message) : 0;
}

static int stop_unit(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	int r = run_job("StopUnit", step, &why);

	(void)kernel;
	return r < 0 ? error_set(error, r, "stop the unit %s", why.message) : 0;
}

static int start_unit(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	int r = run_job("StartUnit", step, &why);

	(void)kernel;
	return r < 0 ? error_set(error, r, "start the unit %s", why.message) : 0;
}

const struct operation unit_operations[] = {
	{.name = "stop-unit",
		.check = check_bus,
		.apply = stop_unit,
		.undo = start_unit,
		.deadline_ms = stop_step_deadline_ms},
	{.name = NULL},
};
