/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads files below /etc/pve with a time limit, because pmxcfs may not answer. */

#include "cluster.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <string.h>

static int write_full(int fd, const void *bytes, size_t length)
{
	const char *position = bytes;

	while (length) {
		ssize_t written = write(fd, position, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		position += written;
		length -= (size_t)written;
	}
	return 0;
}

/* The answer: what the reader returned, then its text or its message. */
static int answer(int fd, int status, const char *text, size_t length)
{
	int r = write_full(fd, &status, sizeof(status));

	return r < 0 ? r : write_full(fd, text, length);
}

/* In the child, where every descriptor but @fd is closed, the root's too. */
static int read_in_child(void *context, int fd)
{
	const struct cluster_request *request = context;
	cleanup(root_close) struct root root = ROOT_NONE;
	struct error error = {0};
	auto_free char *text = NULL;
	size_t length = 0;
	int r = root_open("/", &root, &error);

	if (r == 0)
		r = request->read(&root, request->context, &text, &length, &error);
	if (r < 0)
		return answer(fd, r, error.message, strlen(error.message));
	return answer(fd, r, text, length);
}

static int answer_take(
	char *bytes, size_t length, char **ret_text, size_t *ret_length, struct error *error)
{
	auto_free char *text = NULL;
	int status;

	if (length < sizeof(status))
		return error_set(error, -EIO, "the child that reads /etc/pve died");
	memcpy(&status, bytes, sizeof(status));
	length -= sizeof(status);
	text = strndup(bytes + sizeof(status), length);
	if (!text)
		return error_set_errno(error, -ENOMEM, "read /etc/pve");
	if (status < 0)
		return error_set(error, status, "%s", text);
	*ret_length = length;
	*ret_text = TAKE_PTR(text);
	return 0;
}

static int read_with_deadline(const struct cluster_request *request, char **ret_text,
	size_t *ret_length, struct error *error)
{
	unsigned int deadline = request->deadline_ms ? request->deadline_ms : CLUSTER_DEADLINE_MS;
	size_t max = request->max > ERROR_MESSAGE_SIZE ? request->max : ERROR_MESSAGE_SIZE;
	struct cluster_request child = *request;
	auto_free char *bytes = NULL;
	ssize_t length =
		process_collect(read_in_child, &child, max + sizeof(int), deadline, &bytes, error);

	if (length == -ETIMEDOUT)
		return error_set(error, -ETIMEDOUT,
			"/etc/pve does not answer within %u s (is pve-cluster running? "
			"`systemctl status pve-cluster`)",
			(deadline + 999) / 1000);
	if (length < 0)
		return error_wrap(error, (int)length, "read /etc/pve");
	return answer_take(bytes, (size_t)length, ret_text, ret_length, error);
}

int cluster_read(const struct root *root, const struct cluster_request *request, char **ret_text,
	size_t *ret_length, struct error *error)
{
	if (root->live)
		return read_with_deadline(request, ret_text, ret_length, error);
	return request->read(root, request->context, ret_text, ret_length, error);
}
