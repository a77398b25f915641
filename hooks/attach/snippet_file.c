/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Compares the hookscript that Proxmox VE would run with the installed one. */

#include "snippet_file.h"

#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define PROGRAM LIBEXECDIR "/hookscript"

/* -1 at the end of the file, or when it cannot be read. */
static ssize_t read_block(int fd, char *buffer, size_t size)
{
	ssize_t got;

	do {
		got = read(fd, buffer, size);
	} while (got < 0 && errno == EINTR);
	return got > 0 ? got : -1;
}

static bool is_same_content(int left, int right)
{
	char a[4096], b[4096];
	ssize_t a_length, b_length;

	do {
		a_length = read_block(left, a, sizeof(a));
		b_length = read_block(right, b, sizeof(b));
		if (a_length != b_length)
			return false;
	} while (a_length > 0 && memcmp(a, b, (size_t)a_length) == 0);
	return a_length < 0;
}

/* True when the file is a link to the installed hookscript, or a copy of it, as on a storage that
 * all nodes share. */
static bool is_this_version(const struct root *root, const char *path)
{
	auto_close int ours = file_open(root, &PROGRAM[1], O_RDONLY);
	auto_close int theirs = file_open(root, path, O_RDONLY | O_NONBLOCK);
	struct stat left, right;

	if (ours < 0 || theirs < 0 || fstat(ours, &left) < 0 || fstat(theirs, &right) < 0)
		return false;
	if (left.st_dev == right.st_dev && left.st_ino == right.st_ino)
		return true;
	return left.st_size == right.st_size && is_same_content(ours, theirs);
}

int snippet_check_ours(const struct context *context, const struct storages *storages,
	const char *volume, struct error *error)
{
	char path[PATH_MAX];
	int r = storages_find_snippet(storages, volume, path, sizeof(path), error);

	if (r == 0)
		r = snippet_check(&context->kernel.root, volume, path, error);
	if (r == -ENOENT)
		return error_wrap(error, r,
			"the hookscript (reinstall gpu-ferry, or link it there: ln -s " PROGRAM
			")");
	if (r < 0)
		return r;
	if (!is_this_version(&context->kernel.root, path))
		return error_set(error, -ESTALE,
			"the hookscript %s (/%s) does not belong to this gpu-ferry: ln -sf " PROGRAM
			" /%s",
			volume, path, path);
	return 0;
}
