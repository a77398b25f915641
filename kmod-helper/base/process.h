/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Child processes with a time limit, and the clock that limits use. */

#include "error.h"
#include "file.h"
#include <stdbool.h>
#include <sys/types.h>

/* Milliseconds of CLOCK_MONOTONIC, for deadlines. */
unsigned long long clock_milliseconds(void);

/* The start time of a process in clock ticks since boot (proc(5), stat field 22): with the pid it
 * names one process for ever. 0 or -errno (-ESRCH when it is gone). */
int process_start_time(const struct root *root, pid_t pid, unsigned long long *ret);

/* True while a process with this pid lives and is no zombie. */
bool process_is_running(const struct root *root, pid_t pid);

/* True while the very process (@pid, @start_time) lives and is no zombie. */
bool process_is_alive(const struct root *root, pid_t pid, unsigned long long start_time);

/*
 * Runs @work in a child whose only inherited descriptor is its end of a pipe, and gives
 * back what the child wrote there (at most @max bytes), within @deadline_ms. For reads that may
 * never return (FUSE): the child is killed and left to init, never waited for without bound.
 * Returns the length, -ETIMEDOUT, or the negative errno that @work returned.
 */
ssize_t process_collect(int (*work)(void *context, int fd), void *context, size_t max,
	unsigned int deadline_ms, char **ret, struct error *error);

/* Runs a program (fixed path, execv, no shell; stdin /dev/null, stdout and stderr to @output_fd, or
 * /dev/null when negative) and waits at most @deadline_ms; past it the program is killed.
 * Returns 0 and its wait status, -ETIMEDOUT, or -errno when it cannot be started. */
int process_run(const char *const *arguments, int output_fd, unsigned int deadline_ms,
	int *ret_status, struct error *error);

/* The same, and gives back what the program wrote to both (the first @size - 1 bytes, without the
 * white space at its end) and its exit code, or 128 and the number of the signal that ended it. */
int process_run_text(const char *const *arguments, unsigned int deadline_ms, char *output,
	size_t size, int *ret_code, struct error *error);

/* As process_run, with its standard output at /dev/null and its standard error at @errors_fd. */
int process_run_errors(const char *const *arguments, int errors_fd, unsigned int deadline_ms,
	int *ret_status, struct error *error);

/* Runs a program in the caller's stead: with its standard descriptors, environment and process
 * group, and for as long as it likes (a signal that the caller catches does not end the wait). No
 * other descriptor is handed on, no signal is ignored or blocked. Returns 0 and its wait status, or
 * -errno when it cannot be started. */
int process_run_inherited(const char *const *arguments, int *ret_status, struct error *error);
