/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <syslog.h>

/* What a handover reports while it runs. The code below hooks/ only hands the entries on; the
 * program decides where they go (the task log, the journal with fields). */
struct log_entry {
	int priority;	    /* LOG_ERR … LOG_DEBUG */
	const char *device; /* address, or NULL */
	const char *step;   /* operation, or NULL */
	const char *text;   /* one line, clean (text_make_line), no newline */
};

struct log {
	void (*write)(void *context, const struct log_entry *entry);
	void *context;
};

/* @log may be NULL: then nothing is logged. */
void log_write(const struct log *log, int priority, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with the device and the step that it is about; both may be NULL. */
void log_step(const struct log *log, int priority, const char *device, const char *step,
	const char *format, ...) __attribute__((format(printf, 5, 6)));
