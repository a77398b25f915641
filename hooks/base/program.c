/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs Proxmox's own programs, and quotes their commands for messages. */

#include "program.h"

#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

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

/* True for a usage line, "qm set <vmid> [OPTIONS]": Proxmox's programs print it after the message
 * about a wrong parameter. */
static bool is_usage(const char *line, const char *const *arguments)
{
	const char *slash = strrchr(arguments[0], '/');
	char start[64];

	snprintf(start, sizeof(start), "%s %s <", slash ? slash + 1 : arguments[0], arguments[1]);
	return strncmp(line, start, strlen(start)) == 0;
}

/* The last line that is neither blank nor the usage. */
static const char *last_line(char *text, const char *const *arguments)
{
	const char *last = "it printed nothing";
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (line[strspn(line, " \t\r")] && !is_usage(line, arguments))
			last = line;
	}
	return last;
}

int program_run(const char *const *arguments, struct error *error)
{
	char text[ERRORS_MAX];
	const struct process_options options = {
		.output = PROCESS_ERRORS_TEXT,
		.deadline_ms = PROGRAM_DEADLINE_MS,
		.text = text,
		.size = sizeof(text),
	};
	int r = process_run(arguments, &options, error);

	if (r <= 0)
		return r;
	if (r >= PROCESS_KILLED)
		return error_set(error, -EIO, "%s %s was killed by signal %d", arguments[0],
			arguments[1], r - PROCESS_KILLED);
	return error_set(error, -EIO, "%s %s failed: %.400s", arguments[0], arguments[1],
		last_line(text, arguments));
}

static void quote(FILE *stream, const char *word)
{
	static const char plain[] = TEXT_LETTERS TEXT_DIGITS "_@%+=:,./-";

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
