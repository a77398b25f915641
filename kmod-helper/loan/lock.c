/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Takes gpu-ferry's own locks in /run/gpu-ferry/locks. */

#include "lock.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define LOCK_FOLDER "run/gpu-ferry/locks"
#define LOCK_RETRY_MS 20

static int open_lock(const struct root *root, const char *name, struct error *error)
{
	auto_close int folder = -1;
	int fd;
	int r = folder_make(root, LOCK_FOLDER, 0755, error);

	if (r < 0)
		return r;
	folder = file_open(root, LOCK_FOLDER, O_RDONLY | O_DIRECTORY);
	if (folder < 0)
		return error_set_errno(error, folder, "open /" LOCK_FOLDER);
	fd = openat(folder, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = -errno;
	/* a lock that is there locks on a read-only file system, too */
	if (fd < 0 && r == -EROFS)
		fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? error_set_errno(error, r, "open the lock /" LOCK_FOLDER "/%s", name) : fd;
}

bool lock_cannot_be_made(int status)
{
	return status == -ENOSPC || status == -EDQUOT || status == -EROFS;
}

int lock_take(
	const struct root *root, const char *name, unsigned int deadline_ms, struct error *error)
{
	auto_close int fd = open_lock(root, name, error);
	unsigned long long end = clock_milliseconds() + deadline_ms;

	if (fd < 0)
		return fd;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_set_errno(error, -errno, "take the lock '%s'", name);
		if (clock_milliseconds() >= end)
			return error_set(error, -EBUSY,
				"take the lock '%s': another gpu-ferry has held it for %u ms", name,
				deadline_ms);
		poll(NULL, 0, LOCK_RETRY_MS);
	}
	return TAKE_FD(fd);
}

bool lock_is_held(const struct root *root, const char *name)
{
	char path[PATH_MAX];
	auto_close int fd = -1;

	snprintf(path, sizeof(path), LOCK_FOLDER "/%s", name);
	fd = file_open(root, path, O_RDONLY | O_NOFOLLOW);
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
}

void lock_mark(int fd)
{
	(void)futimens(fd, NULL);
}

void lock_unmark(int fd)
{
	static const struct timespec never[2];

	(void)futimens(fd, never);
}

bool lock_is_marked(const struct root *root, const char *name)
{
	char path[PATH_MAX];
	auto_close int fd = -1;
	struct stat status;

	snprintf(path, sizeof(path), LOCK_FOLDER "/%s", name);
	fd = file_open(root, path, O_PATH | O_NOFOLLOW);
	return fd >= 0 && fstat(fd, &status) == 0 && status.st_mtime != 0;
}

long long lock_age_seconds(const struct root *root, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), LOCK_FOLDER "/%s", name);
	return file_age_seconds(root, path);
}

static int compare_longs(const void *left, const void *right)
{
	long a = *(const long *)left, b = *(const long *)right;

	return (a > b) - (a < b);
}

int locks_take_groups(const struct root *root, const long *groups, size_t count,
	unsigned int deadline_ms, struct locks *ret, struct error *error)
{
	cleanup(locks_done) struct locks locks = {.fds = calloc(count + 1, sizeof(int))};
	auto_free long *sorted = calloc(count + 1, sizeof(long));

	if (!locks.fds || !sorted)
		return error_set_errno(error, -ENOMEM, "take the groups' locks");
	memcpy(sorted, groups, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_longs);
	for (size_t i = 0; i < count; i++) {
		char name[32];
		int fd;

		if (i > 0 && sorted[i] == sorted[i - 1])
			continue;
		snprintf(name, sizeof(name), "group-%ld", sorted[i]);
		fd = lock_take(root, name, deadline_ms, error);
		if (fd < 0)
			return fd;
		locks.fds[locks.count++] = fd;
	}
	*ret = locks;
	locks = (struct locks){0};
	return 0;
}

void locks_done(struct locks *locks)
{
	for (size_t i = 0; i < locks->count; i++)
		close(locks->fds[i]);
	free(locks->fds);
	*locks = (struct locks){0};
}
