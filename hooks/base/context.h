/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The host that a command works on, and where its messages go. */

#include "journal.h"
#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include "kmod-helper/base/log.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/operation/operation.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>

/* The status of an error for wrong usage. No system call that we use returns this errno. */
#define USAGE (-EBADRQC)

/* What every command is given: the host that it works on, and the options. */

enum output_format {
	OUTPUT_TEXT,
	OUTPUT_JSON,
	OUTPUT_JSON_PRETTY,
	OUTPUT_PROMETHEUS, /* of commands with has_metrics */
};

struct context {
	struct kernel kernel; /* includes the root of all paths */
	struct log log;
	struct journal journal;
	int log_level; /* the least urgent priority that is shown: LOG_WARNING with -q, LOG_DEBUG
			  with -v */
	unsigned int vmid; /* for the journal; 0: none */
	enum output_format output;
	bool no_color;
	const char *command; /* its name, for messages */
};

/* Set by SIGTERM, SIGINT, SIGHUP and SIGQUIT: finish the current write, undo what was done, and
 * end. */
extern volatile sig_atomic_t stop_requested;

/* Sends a log entry with its fields to the journal, on the live root. */
void context_journal(struct context *context, const struct log_entry *entry);

int context_open(struct context *context, const char *root, struct error *error);
void context_close(struct context *context);
/* Installs the handlers that set stop_requested, and resets the other signals, whose dispositions
 * may be inherited from the caller. */
void context_catch_signals(void);

/* Refuses a command that changes the host, when the root is not the live one or we are not root.
 * Returns 0, -EROFS or -EPERM. */
int context_require_live(const struct context *context, struct error *error);
