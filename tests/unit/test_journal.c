/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/base/journal.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A journal's socket. */
static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* What came in one datagram; "" when there is none. */
static const char *received(int fd)
{
	static char text[16384];
	ssize_t length = recv(fd, text, sizeof(text) - 1, 0);

	text[length > 0 ? length : 0] = '\0';
	return text;
}

#define LINE(text)                                                                                 \
	(const struct journal_field[])                                                             \
	{                                                                                          \
		{"MESSAGE", text}, {"PRIORITY", "6"}, {"VMID", "104"}, {"STEP", ""}, {NULL, NULL}, \
	}

Test(journal, line_is_one_datagram_of_its_fields)
{
	cleanup(scratch_done) struct scratch scratch;
	char path[64];
	auto_close int fd = -1;
	struct journal journal = {.path = path, .fd = -1};

	scratch_init(&scratch);
	snprintf(path, sizeof(path), "%s/socket", scratch.path);
	fd = listen_at(path);
	journal_send(&journal, LINE("unbind 0000:2b:00.0 (12 ms)"));
	cr_expect_str_eq(
		received(fd), "MESSAGE=unbind 0000:2b:00.0 (12 ms)\nPRIORITY=6\nVMID=104\nSTEP=\n");
	cr_expect_eq(fcntl(journal.fd, F_GETFD), FD_CLOEXEC);
	journal_send(&journal, LINE("one\nPRIORITY=0\ntwo"));
	cr_expect_str_eq(received(fd), "MESSAGE=one PRIORITY=0 two\nPRIORITY=6\nVMID=104\nSTEP=\n");
	cr_expect_str_eq(received(fd), "");
	journal_close(&journal);
	cr_expect_eq(journal.fd, -1);
}

Test(journal, long_line_is_cut_and_ends_as_one)
{
	cleanup(scratch_done) struct scratch scratch;
	char path[64], text[10000];
	auto_close int fd = -1;
	struct journal journal = {.path = path, .fd = -1};
	const char *got;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	scratch_init(&scratch);
	snprintf(path, sizeof(path), "%s/socket", scratch.path);
	fd = listen_at(path);
	journal_send(&journal, LINE(text));
	got = received(fd);
	cr_assert_eq(strlen(got), 8192u);
	cr_expect_eq(strncmp(got, "MESSAGE=xxx", 11), 0);
	cr_expect_str_eq(got + 8190, "x\n");
	journal_close(&journal);
}

Test(journal, nobody_waits_for_a_full_journal_and_an_absent_one)
{
	cleanup(scratch_done) struct scratch scratch;
	char path[64];
	auto_close int fd = -1;
	struct journal journal = {.path = path, .fd = -1};
	unsigned long long begin;

	scratch_init(&scratch);
	snprintf(path, sizeof(path), "%s/socket", scratch.path);
	journal_send(&journal, LINE("lost"));
	fd = listen_at(path);
	begin = clock_milliseconds();
	for (int i = 0; i < 2000; i++)
		journal_send(&journal, LINE("some"));
	cr_expect_lt(clock_milliseconds() - begin, 5000u);
	cr_expect_str_eq(received(fd), "MESSAGE=some\nPRIORITY=6\nVMID=104\nSTEP=\n");
	journal_close(&journal);
}
