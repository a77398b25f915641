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

/* The state letter and the start time of a line of /proc/PID/stat, which is taken apart. 0 or
 * -EBADMSG. */
int process_stat_parse(char *line, char *ret_state, unsigned long long *ret_start_time);

/* True while a process with this pid lives and is no zombie. */
bool process_is_running(const struct root *root, pid_t pid);

/* True while exactly this process (@pid, @start_time) lives and is no zombie. */
bool process_is_alive(const struct root *root, pid_t pid, unsigned long long start_time);

/* Is the process root's? It is by its real user, which a program with the set-user-ID bit does not
 * change, and when it has no PID namespace of its own, as a container's root has. 1, 0, or -errno
 * when it cannot be known (-ENOENT: it has ended). */
int process_is_roots(const struct root *root, pid_t pid);

/* Runs @work in a child whose only inherited descriptor is its end of a pipe, and returns what the
 * child wrote there (at most @max bytes) within @deadline_ms. For reads that may never return
 * (FUSE): past the deadline the child is killed and left to init, so that the wait always has an
 * end. Returns the length, -ETIMEDOUT, or the negative errno that @work returned. */
ssize_t process_collect(int (*work)(void *context, int fd), void *context, size_t max,
	unsigned int deadline_ms, char **ret, struct error *error);

/* Where a program's standard output and error go; its standard input is ->input. */
enum process_output {
	PROCESS_QUIET,	     /* to /dev/null */
	PROCESS_INHERITED,   /* all three are the caller's, as its environment and process group */
	PROCESS_TO_FD,	     /* both to ->fd; /dev/null when it is negative */
	PROCESS_TEXT,	     /* both come back in ->text */
	PROCESS_ERRORS_TEXT, /* the error comes back in ->text, the output goes to /dev/null */
};

struct process_options {
	enum process_output output;
	unsigned int deadline_ms; /* past it the program is killed; 0: as long as it likes */
	int fd;
	const char *input; /* what it reads from its standard input; NULL: nothing */
	char *text;	   /* the last ->size - 1 bytes, without the white space at their end */
	size_t size;
};

/* Added to the number of the signal that ended the program. */
#define PROCESS_KILLED 256

/* Runs a program (fixed path, execv, no shell) to its end. No other descriptor is handed on, no
 * signal is ignored or blocked; a signal that the caller catches does not end the wait. Returns its
 * exit code, or PROCESS_KILLED and the signal; -ETIMEDOUT, or -errno when it cannot be started. */
int process_run(
	const char *const *arguments, const struct process_options *options, struct error *error);

/* "exit code 7", "signal 9"; returns @buffer. */
const char *process_end_format(int code, char *buffer, size_t size);
