/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "context.h"

/* Proxmox's own programs: run with fixed paths and no shell, and quoted in messages. */

#define QM_PATH "/usr/sbin/qm"
#define PCT_PATH "/usr/sbin/pct"
#define PVESM_PATH "/usr/sbin/pvesm"

/* Checks that the program is there. 0, or -ENOENT with a message that says what that means. */
int program_check(const struct context *context, const char *path, struct error *error);

/* Runs the program to its end. Returns 0, -EIO with the last line of its standard error when it
 * fails, or the errors of process_run. */
int program_run(const char *const *arguments, struct error *error);

/* The command as one could type it into a shell. Malloced; NULL when out of memory. */
char *program_format(const char *const *arguments);
