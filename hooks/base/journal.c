/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Lines for systemd's journal: one datagram each, and never a wait. */

#include "journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DATAGRAM_MAX 8192

/* "NAME=value" and a newline after @length bytes of @text. The new length; a field that does not
 * fit is cut. */
static size_t add_field(char *text, size_t length, const struct journal_field *field)
{
	size_t left = DATAGRAM_MAX - length;
	int wanted = snprintf(text + length, left, "%s=%s", field->name, field->value);
	size_t end;

	if (wanted < 0 || left < 2)
		return length;
	end = length + ((size_t)wanted < left ? (size_t)wanted : left - 1);
	for (; length < end; length++) {
		if (text[length] == '\n')
			text[length] = ' ';
	}
	text[end] = '\n';
	return end + 1;
}

void journal_send(struct journal *journal, const struct journal_field *fields)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char text[DATAGRAM_MAX];
	size_t length = 0;

	if (journal->fd < 0)
		journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (journal->fd < 0)
		return;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", journal->path);
	for (; fields->name; fields++)
		length = add_field(text, length, fields);
	(void)sendto(journal->fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL,
		(const struct sockaddr *)&address, sizeof(address));
}

void journal_close(struct journal *journal)
{
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = -1;
}
