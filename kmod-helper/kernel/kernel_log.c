/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds what the kernel's log says of a device. */

#include "kernel_log.h"

#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/types.h>
#include <syslog.h>
#include <unistd.h>

/* the longest that the kernel gives, in kernel/printk/internal.h */
#define RECORD_SIZE 8192
#define LEVEL_MASK 7
#define NVIDIA "NVRM:"

/* The message of "4,1234,98765,-;NVRM: …" (Documentation/ABI/testing/dev-kmsg); NULL when it is
 * less than a warning. */
static char *find_message(char *record)
{
	const char *start = record;
	char *message = strchr(record, ';');
	unsigned long long prefix;

	if (!message || parse_leading(&start, 10, UINT_MAX, &prefix) < 0 ||
		(prefix & LEVEL_MASK) > LOG_WARNING)
		return NULL;
	message++;
	/* the lines that follow name the device once more */
	message[strcspn(message, "\n")] = '\0';
	return message;
}

/* The end of a line within a message is written as "\x0a"; NVIDIA's driver begins each with its
 * name. */
static void join_lines(const char *message, char *ret, size_t size)
{
	size_t length = 0;

	while (*message && length + 1 < size) {
		bool is_end = strncmp(message, "\\x0a", 4) == 0;

		message += is_end ? 4 : 0;
		if (is_end && strncmp(message, NVIDIA, strlen(NVIDIA)) == 0)
			message += strlen(NVIDIA);
		if (is_end || *message == ' ') {
			message += strspn(message, " ");
			ret[length++] = ' ';
		} else {
			ret[length++] = *message++;
		}
	}
	while (length && ret[length - 1] == ' ')
		length--;
	ret[length] = '\0';
}

bool kernel_log_find(int log, const char *address, char *ret, size_t size)
{
	char record[RECORD_SIZE];

	for (;;) {
		ssize_t length = read(log, record, sizeof(record) - 1);
		const char *message;

		/* the oldest records were overwritten before we came to them */
		if (length < 0 && errno == EPIPE)
			continue;
		if (length <= 0)
			return false;
		record[length] = '\0';
		message = find_message(record);
		if (!message ||
			(!strstr(message, address) &&
				strncmp(message, NVIDIA, strlen(NVIDIA)) != 0))
			continue;
		join_lines(message, ret, size);
		return true;
	}
}
