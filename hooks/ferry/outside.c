/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs programs outside the sandbox of the watch. */

#include "outside.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* In front of the program where systemd runs: systemd(1) starts it; input, output and exit code are
 * those of the program. */
static const char *const by_systemd[] = {
	"/usr/bin/systemd-run", "--quiet", "--collect", "--wait", "--pipe", "--"};

#define BY_SYSTEMD_COUNT (sizeof(by_systemd) / sizeof(by_systemd[0]))

bool has_systemd(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

int outside_run(
	const char *const *arguments, const struct process_options *options, struct error *error)
{
	const char *command[BY_SYSTEMD_COUNT + OUTSIDE_ARGUMENTS_MAX + 1] = {NULL};
	size_t count = 0;

	if (access(arguments[0], X_OK) < 0)
		return error_set_errno(error, -errno, "run %s", arguments[0]);
	if (has_systemd()) {
		memcpy(command, by_systemd, sizeof(by_systemd));
		count = BY_SYSTEMD_COUNT;
	}
	for (size_t i = 0; i < OUTSIDE_ARGUMENTS_MAX && arguments[i]; i++)
		command[count++] = arguments[i];
	return process_run(command, options, error);
}
