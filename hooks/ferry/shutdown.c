/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds out whether the host is shutting down. */

#include "shutdown.h"

#include "kmod-helper/base/process.h"
#include "outside.h"
#include <string.h>
#include <unistd.h>

#define ANSWER_MS 1000

/* systemctl exits with 1 for every state but "running". */
bool host_is_shutting_down(void)
{
	const char *const arguments[] = {"/usr/bin/systemctl", "is-system-running", NULL};
	char state[64] = "";
	const struct process_options options = {
		.output = PROCESS_TEXT,
		.deadline_ms = ANSWER_MS,
		.text = state,
		.size = sizeof(state),
	};

	return has_systemd() && process_run(arguments, &options, NULL) >= 0 &&
		strcmp(state, "stopping") == 0;
}
