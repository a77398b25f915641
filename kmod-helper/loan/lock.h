/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>

/* gpu-ferry's own locks in /run/gpu-ferry/locks: flock(2), which the kernel releases when the
 * holder ends. They are taken in this order: the loan's VM ("vm-104"), groups by number
 * ("group-15"). No lock is held while waiting for holders, units or containers. */

/* Held by the watch while it runs. */
#define WATCH_LOCK "watch"

/* Waits at most @deadline_ms. Returns a descriptor to close, -EBUSY past the deadline, or -errno.
 */
int lock_take(
	const struct root *root, const char *name, unsigned int deadline_ms, struct error *error);

/* True for lock_take's errors that say that there is no such lock and the file system, full or
 * read-only, takes none: nobody else has it. */
bool lock_cannot_be_made(int status);

/* True when somebody holds the lock. Never makes the folder or waits. */
bool lock_is_held(const struct root *root, const char *name);

/* lock_mark marks the lock held as @fd with the present time, if it can. lock_age_seconds says how
 * many seconds ago that was; -ENOENT when there is no such lock. For a lock that was never marked,
 * the time when it was made counts. */
void lock_mark(int fd);
/* Takes the mark off again: its devices have not been returned since. */
void lock_unmark(int fd);
/* False also when there is no such lock. */
bool lock_is_marked(const struct root *root, const char *name);
long long lock_age_seconds(const struct root *root, const char *name);

struct locks {
	int *fds;
	size_t count;
};

/* Takes "group-N" for each of @groups, sorted and each once. All or none. */
int locks_take_groups(const struct root *root, const long *groups, size_t count,
	unsigned int deadline_ms, struct locks *ret, struct error *error);
void locks_done(struct locks *locks);
