/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Opens the host that a command works on, and sends what it logs to the task log and the
 * journal.
 */

#include "context.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

volatile sig_atomic_t stop_requested;

void context_journal(struct context *context, const struct log_entry *entry)
{
	char vmid[32] = "", priority[16];

	if (!context->kernel.root.live || (entry->priority > LOG_INFO && !entry->step))
		return;
	if (context->vmid)
		snprintf(vmid, sizeof(vmid), "%u", context->vmid);
	snprintf(priority, sizeof(priority), "%d", entry->priority);
	journal_send(&context->journal,
		(const struct journal_field[]){
			{"MESSAGE", entry->text},
			{"PRIORITY", priority},
			{"SYSLOG_IDENTIFIER", "gpu-ferry"},
			{"VMID", vmid},
			{"DEVICE", entry->device ? entry->device : ""},
			{"STEP", entry->step ? entry->step : ""},
			{NULL, NULL},
		});
}

/* Prints to the task log or the terminal at once. */
static void write_entry(void *data, const struct log_entry *entry)
{
	struct context *context = data;

	if (entry->priority <= context->log_level)
		dprintf(entry->priority <= LOG_WARNING || context->output != OUTPUT_TEXT
				? STDERR_FILENO
				: STDOUT_FILENO,
			"gpu-ferry: %s\n", entry->text);
	context_journal(context, entry);
}

int context_open(struct context *context, const char *root, struct error *error)
{
	context->journal = (struct journal){.path = JOURNAL_SOCKET, .fd = -1};
	context->log = (struct log){.write = write_entry, .context = context};
	return kernel_open(root, &context->kernel, error);
}

void context_close(struct context *context)
{
	journal_close(&context->journal);
	kernel_close(&context->kernel);
}

static void request_stop(int number)
{
	(void)number;
	stop_requested = 1;
}

void context_catch_signals(void)
{
	static const int defaults[] = {SIGCHLD, SIGTTOU, SIGTTIN, SIGALRM, SIGUSR1, SIGUSR2};
	static const int stops[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		sigaction(defaults[i], &action, NULL);
	action.sa_handler = request_stop;
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
		sigaction(stops[i], &action, NULL);
	/* a task log whose reader went away must not kill a handover half-way */
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int context_require_live(const struct context *context, struct error *error)
{
	if (!context->kernel.root.live)
		return error_set(error, -EROFS,
			"%s changes the host: under --root it only works with --dry-run",
			context->command);
	if (geteuid() != 0)
		return error_set(
			error, -EPERM, "%s changes the host: run it as root", context->command);
	return 0;
}
