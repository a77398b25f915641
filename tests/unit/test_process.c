/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define MEMORY_MAX 65536u

static int write_text(void *context, int fd)
{
	return write(fd, context, strlen(context)) < 0 ? -errno : 0;
}

static int fail_with(void *context, int fd)
{
	(void)fd;
	return *(const int *)context;
}

static int sleep_long(void *context, int fd)
{
	(void)context;
	(void)fd;
	sleep(60);
	return 0;
}

static int write_for_ever(void *context, int fd)
{
	(void)context;
	while (write(fd, "xxxxxxxx", 8) > 0)
		;
	return 0;
}

static int die(void *context, int fd)
{
	(void)context;
	(void)fd;
	raise(SIGKILL);
	return 0;
}

static int write_much(void *context, int fd)
{
	static char block[4096];

	(void)context;
	for (int i = 0; i < 64; i++) {
		if (write(fd, block, sizeof(block)) < 0)
			return -errno;
	}
	return 0;
}

static int list_descriptors(void *context, int fd)
{
	(void)context;
	for (int number = 0; number < 1024; number++) {
		if (number != fd && fcntl(number, F_GETFD) >= 0)
			dprintf(fd, "%d ", number);
	}
	return 0;
}

static int tell_signals(void *context, int fd)
{
	struct sigaction action;
	sigset_t blocked;

	(void)context;
	sigaction(SIGTERM, NULL, &action);
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	dprintf(fd, "%s %s", action.sa_handler == SIG_DFL ? "default" : "changed",
		sigismember(&blocked, SIGTERM) ? "blocked" : "open");
	return 0;
}

static int close_early(void *context, int fd)
{
	(void)context;
	close(fd);
	sleep(60);
	return 0;
}

static int count_descriptors(void)
{
	int count = 0;

	for (int number = 0; number < 1024; number++)
		count += fcntl(number, F_GETFD) >= 0;
	return count;
}

static void assert_no_children(void)
{
	int status;

	/* on a busy machine one that was killed may need longer than it is waited for */
	while (waitpid(-1, &status, 0) > 0)
		cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_assert_eq(errno, ECHILD);
}

Test(process, collect_gives_back_what_the_child_wrote)
{
	char text[] = "hostpci0: 01:00";
	auto_free char *answer = NULL;
	struct error error = {0};
	int before = count_descriptors();

	cr_assert_eq(process_collect(write_text, text, MEMORY_MAX, 5000, &answer, &error), 15, "%s",
		error.message);
	cr_assert_str_eq(answer, text);
	cr_assert_eq(count_descriptors(), before);
	assert_no_children();
}

Test(process, collect_gives_back_nothing_as_an_empty_text)
{
	char text[] = "";
	auto_free char *answer = NULL;

	cr_assert_eq(process_collect(write_text, text, MEMORY_MAX, 5000, &answer, NULL), 0);
	cr_assert_str_eq(answer, "");
}

Test(process, collect_reports_the_errno_of_the_work)
{
	static const int statuses[] = {-1, -ENOENT, -EACCES, -EHWPOISON};
	char *answer = NULL;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		int status = statuses[i];
		struct error error = {0};

		cr_assert_eq(
			process_collect(fail_with, &status, 16, 5000, &answer, &error), status);
		cr_assert_eq(error.status, status);
		cr_assert_null(answer);
	}
}

Test(process, collect_gives_up_on_a_child_that_never_answers)
{
	unsigned long long before = clock_milliseconds();
	struct error error = {0};
	char *answer = NULL;

	cr_assert_eq(process_collect(sleep_long, NULL, 16, 200, &answer, &error), -ETIMEDOUT);
	cr_assert_lt(clock_milliseconds() - before, 5000);
	cr_assert_str_eq(error.message, "no answer within 200 ms");
	cr_assert_null(answer);
	assert_no_children();
}

Test(process, collect_gives_up_on_a_child_that_writes_for_ever)
{
	char *answer = NULL;

	cr_assert_eq(process_collect(write_for_ever, NULL, 16, 200, &answer, NULL), -ETIMEDOUT);
	assert_no_children();
}

Test(process, collect_gives_up_on_a_child_that_closes_its_end_and_stays)
{
	char *answer = NULL;

	cr_assert_eq(process_collect(close_early, NULL, 16, 200, &answer, NULL), -ETIMEDOUT);
	assert_no_children();
}

Test(process, collect_does_not_take_a_killed_child_for_an_answer)
{
	char *answer = NULL;

	cr_assert_eq(process_collect(die, NULL, 16, 5000, &answer, NULL), -EIO);
	cr_assert_null(answer);
	assert_no_children();
}

Test(process, collect_keeps_no_more_than_asked_and_lets_the_child_end)
{
	auto_free char *answer = NULL;

	cr_assert_eq(process_collect(write_much, NULL, 5000, 5000, &answer, NULL), 5000);
}

Test(process, collect_works_where_sigchld_is_ignored)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction after;
	char text[] = "x";
	auto_free char *answer = NULL;
	char *none = NULL;
	int status = -ENOENT;

	sigaction(SIGCHLD, &ignore, NULL);
	cr_assert_eq(process_collect(write_text, text, 16, 5000, &answer, NULL), 1);
	cr_assert_eq(process_collect(fail_with, &status, 16, 5000, &none, NULL), -ENOENT);
	sigaction(SIGCHLD, NULL, &after);
	cr_assert_eq(after.sa_handler, SIG_IGN);
}

Test(process, collect_child_holds_none_of_the_parents_descriptors)
{
	auto_close int lock = open("/dev/null", O_RDONLY | O_CLOEXEC);
	auto_free char *answer = NULL;

	cr_assert_geq(lock, 0);
	cr_assert_gt(process_collect(list_descriptors, NULL, MEMORY_MAX, 5000, &answer, NULL), 0);
	cr_assert_str_eq(answer, "0 1 2 ");
}

Test(process, collect_works_without_standard_descriptors)
{
	char text[] = "x";
	auto_free char *answer = NULL;
	ssize_t length;
	int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);

	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	length = process_collect(write_text, text, 16, 5000, &answer, NULL);
	dup2(saved, STDOUT_FILENO);
	cr_assert_eq(length, 1);
}

Test(process, collect_child_has_no_inherited_signals)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	auto_free char *answer = NULL;
	sigset_t set;

	sigaction(SIGTERM, &ignore, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	cr_assert_gt(process_collect(tell_signals, NULL, MEMORY_MAX, 5000, &answer, NULL), 0);
	cr_assert_str_eq(answer, "default open");
}

static int run(const char *const *arguments, int output_fd)
{
	const struct process_options options = {
		.output = PROCESS_TO_FD, .fd = output_fd, .deadline_ms = 5000};

	return process_run(arguments, &options, NULL);
}

Test(process, run_tells_how_the_program_ended)
{
	const char *const good[] = {"/bin/true", NULL};
	const char *const bad[] = {"/bin/sh", "-c", "exit 7", NULL};
	const char *const killed[] = {"/bin/sh", "-c", "kill -9 $$", NULL};
	char text[32];

	cr_assert_eq(run(good, -1), 0);
	cr_assert_eq(run(bad, -1), 7);
	cr_assert_eq(run(killed, -1), PROCESS_KILLED + SIGKILL);
	cr_assert_str_eq(process_end_format(7, text, sizeof(text)), "exit code 7");
	cr_assert_str_eq(process_end_format(PROCESS_KILLED + 9, text, sizeof(text)), "signal 9");
}

Test(process, run_that_cannot_start_says_why)
{
	const char *const none[] = {"/no/such/program", NULL};
	struct error error = {0};
	const struct process_options options = {.deadline_ms = 5000};

	cr_assert_eq(process_run(none, &options, &error), -ENOENT);
	cr_assert_str_eq(error.message, "start /no/such/program: No such file or directory");
}

Test(process, run_takes_both_outputs_and_gives_no_input)
{
	const char *const program[] = {
		"/bin/sh", "-c", "cat; echo out; echo err >&2; ls /proc/self/fd | wc -l", NULL};
	char text[64] = {0};
	int pipe_ends[2];

	cr_assert_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
	cr_assert_eq(run(program, pipe_ends[1]), 0);
	cr_assert_gt(read(pipe_ends[0], text, sizeof(text) - 1), 0);
	/* 0, 1, 2 and the folder that ls reads */
	cr_assert_str_eq(text, "out\nerr\n4\n");
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

Test(process, program_reads_its_input_and_nothing_without_one)
{
	const char *const program[] = {"/bin/cat", NULL};
	char text[64];
	struct process_options options = {.output = PROCESS_TEXT,
		.deadline_ms = 5000,
		.input = "two\nlines\n",
		.text = text,
		.size = sizeof(text)};

	cr_assert_eq(process_run(program, &options, NULL), 0);
	cr_assert_str_eq(text, "two\nlines");
	options.input = NULL;
	cr_assert_eq(process_run(program, &options, NULL), 0);
	cr_assert_str_eq(text, "");
}

Test(process, text_of_a_program_comes_with_its_exit_code)
{
	const char *const program[] = {
		"/bin/sh", "-c", "echo out; echo err >&2; echo; exit 5", NULL};
	const char *const killed[] = {"/bin/sh", "-c", "kill -9 $$", NULL};
	const char *const none[] = {"/no/such/program", NULL};
	struct error error = {0};
	char text[64], cut[6];
	const struct process_options whole = {
		.output = PROCESS_TEXT, .deadline_ms = 5000, .text = text, .size = sizeof(text)};
	const struct process_options end = {
		.output = PROCESS_TEXT, .deadline_ms = 5000, .text = cut, .size = sizeof(cut)};

	cr_assert_eq(process_run(program, &whole, NULL), 5);
	cr_assert_str_eq(text, "out\nerr");
	cr_assert_str_eq(text_last_line(text), "err");
	cr_assert_eq(process_run(program, &end, NULL), 5);
	cr_assert_str_eq(cut, "err");
	cr_assert_eq(process_run(killed, &whole, NULL), PROCESS_KILLED + SIGKILL);
	cr_assert_str_eq(text, "");
	cr_assert_eq(process_run(none, &whole, &error), -ENOENT);
	cr_assert_str_eq(error.message, "start /no/such/program: No such file or directory");
}

Test(process, run_past_its_deadline_is_killed)
{
	const char *const program[] = {"/bin/sleep", "60", NULL};
	unsigned long long before = clock_milliseconds();
	struct error error = {0};
	const struct process_options options = {.deadline_ms = 200};

	cr_assert_eq(process_run(program, &options, &error), -ETIMEDOUT);
	cr_assert_lt(clock_milliseconds() - before, 5000);
	cr_assert_str_eq(error.message, "/bin/sleep did not end within 200 ms: killed");
	assert_no_children();
}

Test(process, run_works_where_sigchld_is_ignored)
{
	const char *const bad[] = {"/bin/sh", "-c", "exit 7", NULL};
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGCHLD, &ignore, NULL);
	cr_assert_eq(run(bad, -1), 7);
}

Test(process, run_program_has_no_inherited_signals)
{
	const char *const program[] = {"/bin/sh", "-c", "kill -TERM $$; exit 0", NULL};
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGTERM, &ignore, NULL);
	cr_assert_eq(run(program, -1), PROCESS_KILLED + SIGTERM);
}

Test(process, program_in_our_stead_keeps_streams_and_environment_and_nothing_else)
{
	const char *const arguments[] = {"/bin/sh", "-c",
		"[ \"$GREETING\" = hello ] || exit 4; [ ! -e /proc/self/fd/77 ] || exit 5;"
		" echo told; exit 3",
		NULL};
	char text[32] = "";
	const struct process_options options = {.output = PROCESS_INHERITED};
	int ends[2], code, saved = dup(STDOUT_FILENO);

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(dup2(ends[1], 77), 77);
	cr_assert_eq(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
	setenv("GREETING", "hello", 1);
	code = process_run(arguments, &options, NULL);
	dup2(saved, STDOUT_FILENO);
	cr_assert_gt(read(ends[0], text, sizeof(text) - 1), 0);
	cr_expect_str_eq(text, "told\n");
	cr_expect_eq(code, 3);
	cr_expect_eq(process_run((const char *[]){"/nowhere", NULL}, &options, NULL), -ENOENT);
}

Test(process, errors_of_a_program_are_told_from_its_output)
{
	const char *const arguments[] = {
		"/bin/sh", "-c", "echo output; echo error >&2; exit 1", NULL};
	char text[32] = "";
	const struct process_options options = {.output = PROCESS_ERRORS_TEXT,
		.deadline_ms = 10000,
		.text = text,
		.size = sizeof(text)};

	cr_assert_eq(process_run(arguments, &options, NULL), 1);
	cr_expect_str_eq(text, "error");
}

static void write_stat(const struct scratch *scratch, const char *start)
{
	char text[256];

	snprintf(text, sizeof(text), "%s1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0\n",
		start);
	scratch_write(scratch, "proc/7/stat", text);
}

Test(process, start_time_is_read_past_a_name_with_brackets)
{
	struct scratch scratch;
	unsigned long long start = 0;

	scratch_init(&scratch);
	write_stat(&scratch, "7 (a) Z 1 (b) S ");
	cr_assert_eq(process_start_time(&scratch.root, 7, &start), 0);
	cr_assert_eq(start, 4711);
	cr_assert(process_is_alive(&scratch.root, 7, 4711));
	cr_assert(process_is_running(&scratch.root, 7));
	cr_assert_not(process_is_alive(&scratch.root, 7, 4712), "another process by that pid");
	scratch_done(&scratch);
}

Test(process, zombie_is_not_alive)
{
	struct scratch scratch;

	scratch_init(&scratch);
	write_stat(&scratch, "7 (qemu) Z ");
	cr_assert_not(process_is_alive(&scratch.root, 7, 4711));
	cr_assert_not(process_is_running(&scratch.root, 7));
	scratch_done(&scratch);
}

Test(process, start_time_of_nobody_is_none)
{
	struct scratch scratch;
	unsigned long long start = 42;

	scratch_init(&scratch);
	cr_assert_eq(process_start_time(&scratch.root, 7, &start), -ESRCH);
	cr_assert_not(process_is_running(&scratch.root, 7));
	scratch_write(&scratch, "proc/7/stat", "7 (qemu) S 1 7\n");
	cr_assert_eq(process_start_time(&scratch.root, 7, &start), -EBADMSG);
	scratch_write(&scratch, "proc/7/stat", "");
	cr_assert_eq(process_start_time(&scratch.root, 7, &start), -EBADMSG);
	cr_assert_eq(start, 42);
	scratch_done(&scratch);
}

Test(process, this_process_is_alive)
{
	struct root root;
	unsigned long long start = 0;

	cr_assert_eq(root_open("/", &root, NULL), 0);
	cr_assert_eq(process_start_time(&root, getpid(), &start), 0);
	cr_assert(process_is_alive(&root, getpid(), start));
	root_close(&root);
}
