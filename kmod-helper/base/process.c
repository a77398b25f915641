/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs programs and functions in child processes with a time limit. */

#include "process.h"

#include "cleanup.h"
#include "parse.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* How long a child that was sent SIGKILL may take before it is left to init. */
#define KILL_GRACE_MS 50u

/* proc(5): what follows the ")" of the name is the state, field 3, and so on. */
#define STAT_FIELD_STATE 3
#define STAT_FIELD_START_TIME 22

unsigned long long clock_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;
}

/* The time left as poll(2) wants it. */
static int milliseconds_until(unsigned long long deadline)
{
	unsigned long long now = clock_milliseconds();

	if (now >= deadline)
		return 0;
	return deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now);
}

/* The name may hold blanks and brackets: its end is the last ")" of the line. */
int process_stat_parse(char *line, char *ret_state, unsigned long long *ret_start_time)
{
	char *position = strrchr(line, ')');
	char *rest = NULL;
	char *field;
	char state;

	if (!position)
		return -EBADMSG;
	field = strtok_r(position + 1, " ", &rest);
	state = field ? field[0] : '\0';
	for (int number = STAT_FIELD_STATE; field && number < STAT_FIELD_START_TIME; number++)
		field = strtok_r(NULL, " ", &rest);
	if (!field || parse_unsigned(field, 10, ULLONG_MAX, ret_start_time) < 0)
		return -EBADMSG;
	*ret_state = state;
	return 0;
}

static int stat_read(
	const struct root *root, pid_t pid, char *ret_state, unsigned long long *ret_start_time)
{
	char path[32];
	char line[1024];
	ssize_t length;

	snprintf(path, sizeof(path), "proc/%ld/stat", (long)pid);
	length = file_read_attribute(root, path, line, sizeof(line));
	if (length == -ENOENT)
		return -ESRCH;
	if (length < 0)
		return (int)length;
	return process_stat_parse(line, ret_state, ret_start_time);
}

int process_start_time(const struct root *root, pid_t pid, unsigned long long *ret)
{
	char state;

	return stat_read(root, pid, &state, ret);
}

/* As process_start_time(), but -ESRCH for a zombie as well. */
static int running_start_time(const struct root *root, pid_t pid, unsigned long long *ret)
{
	char state;
	int r = stat_read(root, pid, &state, ret);

	return r == 0 && (state == 'Z' || state == 'X') ? -ESRCH : r;
}

bool process_is_running(const struct root *root, pid_t pid)
{
	unsigned long long start_time;

	return running_start_time(root, pid, &start_time) == 0;
}

bool process_is_alive(const struct root *root, pid_t pid, unsigned long long start_time)
{
	unsigned long long found;

	return running_start_time(root, pid, &found) == 0 && found == start_time;
}

int process_is_roots(const struct root *root, pid_t pid)
{
	char path[32], text[4096];
	const char *user, *numbers;
	ssize_t length;

	snprintf(path, sizeof(path), "proc/%ld/status", (long)pid);
	length = file_read_attribute(root, path, text, sizeof(text));
	if (length < 0 && length != -EFBIG)
		return (int)length;
	user = strstr(text, "\nUid:\t");
	if (!user)
		return -EBADMSG;
	/* its number in each PID namespace that it is in, ours first */
	numbers = strstr(text, "\nNSpid:\t");
	numbers = numbers ? numbers + strlen("\nNSpid:\t") : "";
	return strncmp(user, "\nUid:\t0\t", 8) == 0 &&
		numbers[strspn(numbers, "0123456789")] != '\t';
}

/* A parent that ignores SIGCHLD (some daemons leave it so, and exec inherits it) never learns how a
 * child ended, and the child's pid can be reused at once. So the default action is set while a
 * child of ours runs; a handler of the program stays. */
static void child_status_keep(struct sigaction *ret_saved)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	sigaction(SIGCHLD, NULL, ret_saved);
	if (ret_saved->sa_handler == SIG_IGN || ret_saved->sa_flags & SA_NOCLDWAIT)
		sigaction(SIGCHLD, &standard, NULL);
}

static void child_status_restore(struct sigaction *saved)
{
	sigaction(SIGCHLD, saved, NULL);
}

/* Waits for the end of @pid and reaps it. 0, -ETIMEDOUT or -errno. */
static int child_wait(pid_t pid, unsigned long long deadline, int *ret_status)
{
	auto_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd event = {.fd = fd, .events = POLLIN};
	int r;

	if (fd < 0)
		return -errno;
	do
		r = poll(&event, 1, milliseconds_until(deadline));
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	/* it has ended, but we cannot reap it as long as a tracer (strace) has it */
	do {
		pid_t reaped = waitpid(pid, ret_status, WNOHANG);

		if (reaped == pid)
			return 0;
		if (reaped < 0 && errno != EINTR)
			return -errno;
		poll(NULL, 0, 1);
	} while (milliseconds_until(deadline) > 0);
	return -ETIMEDOUT;
}

/* A child in the kernel's uninterruptible sleep outlives SIGKILL: init reaps it in the end. */
static void child_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	(void)child_wait(pid, clock_milliseconds() + KILL_GRACE_MS, &status);
}

static void signals_reset(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int number = 1; number < SIGRTMIN; number++)
		sigaction(number, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Locks, device nodes and pipes of the parent must not stay open in a child that nobody can kill:
 * Proxmox waits for the end of its hook's stderr. */
static int descriptors_close_but(int fd)
{
	unsigned int kept = (unsigned int)fd;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int standard = 0; standard <= STDERR_FILENO; standard++) {
		if (null != standard && dup2(null, standard) < 0)
			return -errno;
	}
	if (kept > STDERR_FILENO + 1 && close_range(STDERR_FILENO + 1, kept - 1, 0) < 0)
		return -errno;
	return close_range(kept + 1, UINT_MAX, 0) < 0 ? -errno : 0;
}

/* The exit code is the errno: all of Linux's are below 256. */
_Noreturn static void collect_child(int (*work)(void *context, int fd), void *context, int fd)
{
	int r;

	signals_reset();
	/* if the parent was started without 0, 1 or 2, the pipe may have one of these numbers */
	fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	r = fd < 0 ? -errno : descriptors_close_but(fd);
	if (r == 0)
		r = work(context, fd);
	_exit(r < 0 ? -r : 0);
}

struct collected {
	char *text;
	size_t length;
	size_t max;
};

static void collected_done(struct collected *collected)
{
	free(collected->text);
}

/* Reads what is there. Returns 1, 0 at the end, or -errno. Bytes beyond the limit are read too, and
 * dropped, so that the child does not sleep in its write. */
static int collected_read(struct collected *collected, int fd)
{
	char dropped[4096];
	size_t left = collected->max - collected->length;
	ssize_t got;

	if (left)
		got = read(fd, collected->text + collected->length, left);
	else
		got = read(fd, dropped, sizeof(dropped));
	if (got < 0)
		return errno == EINTR ? 1 : -errno;
	if (left)
		collected->length += (size_t)got;
	return got > 0;
}

/* Reads until the child's end is closed. 0, -ETIMEDOUT or -errno. */
static int collected_fill(struct collected *collected, int fd, unsigned long long deadline)
{
	struct pollfd event = {.fd = fd, .events = POLLIN};
	int more = 1;

	while (more > 0) {
		int left = milliseconds_until(deadline);
		int r = poll(&event, 1, left);

		/* a child that never stops writing is late as well */
		if (r == 0 || left == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			more = collected_read(collected, fd);
	}
	return more;
}

/* The negative errno that the child ended with; -EIO when it did not end by itself. */
static int child_result(pid_t pid, unsigned long long deadline)
{
	int status;
	int r = child_wait(pid, deadline, &status);

	if (r < 0)
		return r;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static int collect_from(pid_t pid, int fd, unsigned int deadline_ms, struct collected *collected,
	struct error *error)
{
	unsigned long long deadline = clock_milliseconds() + deadline_ms;
	int r = collected_fill(collected, fd, deadline);
	bool ended = r == 0;

	if (ended)
		r = child_result(pid, deadline);
	if (!ended || r == -ETIMEDOUT)
		child_kill(pid);
	if (r == -ETIMEDOUT)
		return error_set(error, r, "no answer within %u ms", deadline_ms);
	return r < 0 ? error_set_errno(error, r, "read through a child process") : 0;
}

ssize_t process_collect(int (*work)(void *context, int fd), void *context, size_t max,
	unsigned int deadline_ms, char **ret, struct error *error)
{
	cleanup(collected_done) struct collected collected = {.max = max};
	cleanup(child_status_restore) struct sigaction saved;
	auto_close int reading = -1;
	auto_close int writing = -1;
	int pipe_ends[2];
	pid_t pid;
	int r;

	child_status_keep(&saved);
	/* one byte more, for the NUL that makes it a string */
	collected.text = malloc(max + 1);
	if (!collected.text)
		return error_set_errno(error, -ENOMEM, "start a child process");
	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		return error_set_errno(error, -errno, "start a child process");
	reading = pipe_ends[0];
	writing = pipe_ends[1];
	pid = fork();
	if (pid < 0)
		return error_set_errno(error, -errno, "start a child process");
	if (pid == 0)
		collect_child(work, context, writing);
	close(TAKE_FD(writing));
	r = collect_from(pid, reading, deadline_ms, &collected, error);
	if (r < 0)
		return r;
	collected.text[collected.length] = '\0';
	*ret = TAKE_PTR(collected.text);
	return (ssize_t)collected.length;
}

/* Where a program writes; -1: to /dev/null. */
struct outputs {
	bool inherited; /* the caller's three, nothing else counts */
	int standard, errors;
	int input; /* -1: /dev/null */
};

static int spawn_output(posix_spawn_file_actions_t *files, int fd, int standard)
{
	if (fd >= 0)
		return posix_spawn_file_actions_adddup2(files, fd, standard);
	return posix_spawn_file_actions_addopen(files, standard, "/dev/null", O_WRONLY, 0);
}

/* Standard input comes last: a descriptor for the output may be 0 itself. */
static int spawn_files(posix_spawn_file_actions_t *files, const struct outputs *outputs)
{
	int r = 0;

	if (!outputs->inherited) {
		r = spawn_output(files, outputs->errors, STDERR_FILENO);
		if (r == 0)
			r = spawn_output(files, outputs->standard, STDOUT_FILENO);
		if (r == 0 && outputs->input >= 0)
			r = posix_spawn_file_actions_adddup2(files, outputs->input, STDIN_FILENO);
		else if (r == 0)
			r = posix_spawn_file_actions_addopen(
				files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	}
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
	return r;
}

/* A program starts with no signal ignored or blocked, whatever was inherited. */
static int spawn_signals(posix_spawnattr_t *attributes)
{
	sigset_t all, none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setflags(
			attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	return r;
}

static void spawn_files_done(posix_spawn_file_actions_t *files)
{
	posix_spawn_file_actions_destroy(files);
}

static void spawn_attributes_done(posix_spawnattr_t *attributes)
{
	posix_spawnattr_destroy(attributes);
}

static int spawn(const char *const *arguments, const struct outputs *outputs, pid_t *ret)
{
	/* execv's prototype lacks a const, but it does not change the arguments (POSIX, exec,
	 * rationale) */
	union {
		const char *const *given;
		char *const *wanted;
	} vector = {.given = arguments};
	cleanup(spawn_files_done) posix_spawn_file_actions_t files;
	cleanup(spawn_attributes_done) posix_spawnattr_t attributes;
	int r;

	/* glibc's two init functions only clear memory: they cannot fail */
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	r = spawn_files(&files, outputs);
	if (r == 0)
		r = spawn_signals(&attributes);
	if (r == 0)
		r = posix_spawn(ret, arguments[0], &files, &attributes, vector.wanted, environ);
	return -r;
}

/* The end of what the program wrote, without white space at its own end. */
static void read_text(int fd, char *text, size_t size)
{
	off_t length = lseek(fd, 0, SEEK_END);
	off_t from = length > (off_t)size - 1 ? length - (off_t)size + 1 : 0;
	ssize_t got = pread(fd, text, size - 1, from);

	text[got > 0 ? got : 0] = '\0';
	text_trim(text);
}

static int run(const char *const *arguments, const struct outputs *outputs,
	unsigned int deadline_ms, struct error *error)
{
	unsigned long long deadline = deadline_ms ? clock_milliseconds() + deadline_ms : ULLONG_MAX;
	cleanup(child_status_restore) struct sigaction saved;
	int status;
	pid_t pid;
	int r;

	child_status_keep(&saved);
	r = spawn(arguments, outputs, &pid);
	if (r < 0)
		return error_set_errno(error, r, "start %s", arguments[0]);
	r = child_wait(pid, deadline, &status);
	/* one without a deadline is not ours to kill */
	if (r < 0 && deadline_ms)
		child_kill(pid);
	if (r == -ETIMEDOUT)
		return error_set(
			error, r, "%s did not end within %u ms: killed", arguments[0], deadline_ms);
	if (r < 0)
		return error_set_errno(error, r, "wait for %s", arguments[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : PROCESS_KILLED + WTERMSIG(status);
}

int process_run(
	const char *const *arguments, const struct process_options *options, struct error *error)
{
	auto_close int memory = -1, input = -1;
	struct outputs outputs = {.standard = -1, .errors = -1, .input = -1};
	int r;

	if (options->text)
		memory = memfd_create("output", MFD_CLOEXEC);
	if (options->text && memory < 0)
		return error_set_errno(error, -errno, "run %s", arguments[0]);
	if (options->input) {
		ssize_t length = (ssize_t)strlen(options->input);

		outputs.input = input = memfd_create("input", MFD_CLOEXEC);
		if (input < 0 || pwrite(input, options->input, (size_t)length, 0) != length)
			return error_set_errno(error, -errno, "run %s", arguments[0]);
	}
	switch (options->output) {
	case PROCESS_QUIET:
		break;
	case PROCESS_INHERITED:
		outputs.inherited = true;
		break;
	case PROCESS_TO_FD:
		outputs.standard = outputs.errors = options->fd;
		break;
	case PROCESS_TEXT:
		outputs.standard = outputs.errors = memory;
		break;
	case PROCESS_ERRORS_TEXT:
		outputs.errors = memory;
		break;
	}
	r = run(arguments, &outputs, options->deadline_ms, error);
	if (r >= 0 && options->text)
		read_text(memory, options->text, options->size);
	return r;
}

const char *process_end_format(int code, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s %d", code < PROCESS_KILLED ? "exit code" : "signal",
		code < PROCESS_KILLED ? code : code - PROCESS_KILLED);
	return buffer;
}
