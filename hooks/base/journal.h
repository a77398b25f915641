/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/*
 * Lines for systemd's journal, each as one datagram in its native protocol
 * (systemd.io/JOURNAL_NATIVE_PROTOCOL). A journal that is full, stopped or absent loses the line:
 * nothing ever waits for it, for a VM may be starting.
 */

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

struct journal {
	const char *path;
	int fd; /* -1 before the first line */
};

struct journal_field {
	const char *name; /* NULL ends the list */
	const char *value;
};

/* A newline inside of a value becomes a blank; what makes more than 8 KiB is cut. */
void journal_send(struct journal *journal, const struct journal_field *fields);
void journal_close(struct journal *journal);
