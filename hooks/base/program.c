/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs Proxmox's own programs, and quotes their commands for messages. */

#include "program.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* qm waits 10 s for the VM's lock, and pmxcfs may be slow. */
#define PROGRAM_DEADLINE_MS 120000

#define ERRORS_MAX 8192

int program_check(const struct context *context, const char *path, struct error *error)
{
	auto_close int fd = file_open(&context->kernel.root, path + 1, O_PATH);

	return fd < 0
		? error_set(error, -ENOENT, "%s is not there: is this a Proxmox VE host?", path)
		: 0;
}

/* What the program wrote to its standard error, the end of it if it is long. */
static void read_errors(int fd, char *text, size_t size)
{
	off_t length = lseek(fd, 0, SEEK_END);
	off_t from = length > (off_t)size - 1 ? length - (off_t)size + 1 : 0;
	ssize_t got = pread(fd, text, size - 1, from);

	text[got > 0 ? got : 0] = '\0';
}

/* "qm set <vmid> [OPTIONS]": Proxmox's programs say it below what was wrong with a parameter. */
static bool is_usage(const char *line, const char *const *arguments)
{
	const char *slash = strrchr(arguments[0], '/');
	char start[64];

	snprintf(start, sizeof(start), "%s %s <", slash ? slash + 1 : arguments[0], arguments[1]);
	return strncmp(line, start, strlen(start)) == 0;
}

/* The last line that says something. */
static const char *last_line(char *text, const char *const *arguments)
{
	const char *last = "it wrote nothing";
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (line[strspn(line, " \t\r")] && !is_usage(line, arguments))
			last = line;
	}
	return last;
}

static int judge(const char *const *arguments, int status, int fd, struct error *error)
{
	char text[ERRORS_MAX];

	read_errors(fd, text, sizeof(text));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		return error_set(error, -EIO, "%s %s was killed by signal %d", arguments[0],
			arguments[1], WTERMSIG(status));
	return error_set(error, -EIO, "%s %s failed: %.400s", arguments[0], arguments[1],
		last_line(text, arguments));
}

int program_run(const char *const *arguments, struct error *error)
{
	auto_close int fd = memfd_create("errors", MFD_CLOEXEC);
	int status = 0;
	int r;

	if (fd < 0)
		return error_set_errno(error, -errno, "run %s", arguments[0]);
	r = process_run_errors(arguments, fd, PROGRAM_DEADLINE_MS, &status, error);
	return r < 0 ? r : judge(arguments, status, fd, error);
}

static void quote(FILE *stream, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_@%+=:,./-";

	if (*word && !word[strspn(word, plain)]) {
		fputs(word, stream);
		return;
	}
	fputc('\'', stream);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", stream);
		else
			fputc(*word, stream);
	}
	fputc('\'', stream);
}

char *program_format(const char *const *arguments)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	if (!stream)
		return NULL;
	for (size_t i = 0; arguments[i]; i++) {
		if (i)
			fputc(' ', stream);
		quote(stream, arguments[i]);
	}
	if (fclose(stream) == 0)
		return text;
	free(text);
	return NULL;
}
