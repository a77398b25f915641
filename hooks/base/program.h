/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "context.h"

/* Proxmox's own programs: run with fixed paths and no shell, and quoted in messages. */

#define QM_PATH "/usr/sbin/qm"
#define PVESM_PATH "/usr/sbin/pvesm"

/* Is the program there? 0 or -ENOENT with what that means. */
int program_check(const struct context *context, const char *path, struct error *error);

/* Runs it to its end. When it fails: -EIO with the last line of its standard error; else the errors
 * of process_run. */
int program_run(const char *const *arguments, struct error *error);

/* The command as one could type it into a shell; malloced, or NULL without memory. */
char *program_format(const char *const *arguments);
