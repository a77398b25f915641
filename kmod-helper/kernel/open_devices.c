/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Walks /proc once and reports each device that a process has open or mapped. */

#include "open_devices.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define SEEN_COUNT 8192u /* a power of two */
#define MAPS_SIZE 16384u
#define MAPPED_MAX (1u << 20)

/* The kernel waits for a process's memory lock to show its mappings, and that may be held for ever
 * by a thread that sleeps in a driver. */
#define MAPPINGS_DEADLINE_MS 2000u

/* Links of /proc/PID/task: its folders "." and "..", and one for each thread. */
#define TASK_LINKS_OF_ONE 3u

/* Mapped files that are no devices: libraries, of which every process has the same. */
struct seen {
	uint64_t hashes[SEEN_COUNT];
};

struct visit {
	int proc;
	device_visitor visitor;
	void *data;
	pid_t self;
	struct seen *seen;
	/* fills one process: by descriptors, or by mappings */
	int (*look)(struct visit *visit, const char *task, pid_t pid);
};

/* Each entry of a folder. Stops at what is not 0. A folder that is gone has none. */
static int each_entry(struct visit *visit, int at, const char *path,
	int (*each)(struct visit *visit, int folder, const char *name, pid_t pid), pid_t pid)
{
	_Alignas(struct dirent64) char buffer[8192];
	auto_close int folder = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t length;
	int r = 0;

	while (r == 0 && folder >= 0 && (length = getdents64(folder, buffer, sizeof(buffer))) > 0) {
		const struct dirent64 *entry;

		for (ssize_t at_byte = 0; r == 0 && at_byte < length; at_byte += entry->d_reclen) {
			entry = (const void *)(buffer + at_byte);
			if (isdigit((unsigned char)entry->d_name[0]))
				r = each(visit, folder, entry->d_name, pid);
		}
	}
	return r;
}

/* 1 and the number when it is a device's node. Not synced: a dead NFS or FUSE server behind
 * somebody's file must not be asked. */
static int device_behind(int folder, const char *path, dev_t *ret)
{
	struct statx status;

	if (statx(folder, path, AT_STATX_DONT_SYNC, STATX_TYPE, &status) < 0)
		return -errno;
	if (!S_ISCHR(status.stx_mode) && !S_ISBLK(status.stx_mode))
		return 0;
	*ret = makedev(status.stx_rdev_major, status.stx_rdev_minor);
	return 1;
}

static int visit_descriptor(struct visit *visit, int folder, const char *name, pid_t pid)
{
	dev_t device;

	return device_behind(folder, name, &device) > 0 ? visit->visitor(visit->data, pid, device)
							: 0;
}

static int visit_descriptors(struct visit *visit, const char *task, pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/fd", task);
	return each_entry(visit, visit->proc, path, visit_descriptor, pid);
}

/* FNV-1a; 0 marks a free place */
static uint64_t hash_of(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
	return hash ? hash : 1;
}

/* The place of the hash: it stands there, or may be put there. NULL: neither, too many. */
static uint64_t *seen_place(struct seen *seen, uint64_t hash)
{
	for (unsigned int i = 0; i < 32; i++) {
		uint64_t *place = &seen->hashes[(hash + i) & (SEEN_COUNT - 1)];

		if (*place == hash || !*place)
			return place;
	}
	return NULL;
}

/* "7f1c-7f1d rw-s 00000000 00:05 412   /dev/nvidia0". What tells a file from others is all from the
 * third blank on; the same file is looked at once, whoever has mapped it. The name is no guide: in
 * a container a node may stand anywhere. */
static int visit_mapping(struct visit *visit, const char *task, pid_t pid, char *line)
{
	const char *start = line;
	char *file = line, *inode, *end;
	uint64_t *place;
	uint64_t hash;
	char path[128];
	dev_t device;
	int r;

	for (unsigned int i = 0; file && i < 3; i++) {
		file = strchr(file, ' ');
		file = file ? file + 1 : NULL;
	}
	inode = file ? strchr(file, ' ') : NULL;
	/* memory that no file is behind */
	if (!inode || strtoull(inode, &end, 10) == 0)
		return 0;
	hash = hash_of(file);
	place = seen_place(visit->seen, hash);
	if (place && *place == hash)
		return 0;
	/* the folder's names have no zeros in front */
	start += strspn(start, "0");
	end = strchr(line, '-') + 1;
	inode = end + strspn(end, "0");
	snprintf(path, sizeof(path), "%s/map_files/%.*s%.*s", task, (int)(end - start), start,
		(int)strcspn(inode, " "), inode);
	r = device_behind(visit->proc, path, &device);
	if (r == 0 && place)
		*place = hash;
	return r > 0 ? visit->visitor(visit->data, pid, device) : 0;
}

/* The whole lines of the @length bytes. Returns how many bytes are left over, or what the visitor
 * said, negative, to stop. */
static ssize_t visit_lines(
	struct visit *visit, const char *task, pid_t pid, char *text, size_t length)
{
	char *line = text;
	char *end;

	while ((end = memchr(line, '\n', (size_t)(text + length - line)))) {
		int r;

		*end = '\0';
		r = visit_mapping(visit, task, pid, line);
		if (r < 0)
			return r;
		line = end + 1;
	}
	length -= (size_t)(line - text);
	memmove(text, line, length);
	return (ssize_t)length;
}

static int visit_mappings(struct visit *visit, const char *task, pid_t pid)
{
	char text[MAPS_SIZE];
	auto_close int fd = -1;
	ssize_t kept = 0;
	ssize_t got;

	snprintf(text, sizeof(text), "%s/maps", task);
	fd = openat(visit->proc, text, O_RDONLY | O_CLOEXEC);
	/* a line is shorter than this: PATH_MAX and its numbers */
	while (fd >= 0 && kept >= 0 && (size_t)kept < sizeof(text) &&
		(got = read(fd, text + kept, sizeof(text) - (size_t)kept)) > 0)
		kept = visit_lines(visit, task, pid, text, (size_t)(kept + got));
	return kept < 0 ? (int)kept : 0;
}

/* A thread that still has memory and files, of a process whose first thread has ended. 1: done. */
static int visit_thread(struct visit *visit, int folder, const char *name, pid_t pid)
{
	char path[64], byte;
	int r;

	(void)folder;
	snprintf(path, sizeof(path), "%s/exe", name);
	if (readlinkat(visit->proc, path, &byte, 1) < 0)
		return 0;
	/* /proc/TID has all that /proc/PID has, though it is not listed */
	r = visit->look(visit, name, pid);
	return r ? r : 1;
}

static int visit_process(struct visit *visit, int folder, const char *name, pid_t unused)
{
	unsigned long long pid;
	char path[64], byte;
	struct stat status;
	int r;

	(void)unused;
	if (parse_unsigned(name, 10, INT32_MAX, &pid) < 0 || (pid_t)pid == visit->self)
		return 0;
	/* kernel threads, mostly: they have no program */
	snprintf(path, sizeof(path), "%s/exe", name);
	if (readlinkat(folder, path, &byte, 1) < 0 && errno == ENOENT) {
		snprintf(path, sizeof(path), "%s/task", name);
		if (fstatat(folder, path, &status, 0) < 0 || status.st_nlink <= TASK_LINKS_OF_ONE)
			return 0;
		r = each_entry(visit, folder, path, visit_thread, (pid_t)pid);
	} else {
		r = visit->look(visit, name, (pid_t)pid);
	}
	return r < 0 ? r : 0;
}

static int visit_all(struct visit *visit)
{
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (proc < 0)
		return -errno;
	visit->proc = proc;
	return each_entry(visit, proc, ".", visit_process, 0);
}

/* What the child that looks at mappings reports. */
struct mapped {
	pid_t pid;
	dev_t device;
};

struct report {
	int fd;
	pid_t parent;
};

static int report_mapped(void *data, pid_t pid, dev_t device)
{
	const struct report *report = data;
	struct mapped mapped;

	/* bytes between the fields go through the pipe, too */
	memset(&mapped, 0, sizeof(mapped));
	mapped.pid = pid;
	mapped.device = device;
	return write(report->fd, &mapped, sizeof(mapped)) == (ssize_t)sizeof(mapped) ? 0 : -EIO;
}

static int report_mappings(void *context, int fd)
{
	struct report report = {.fd = fd, .parent = *(const pid_t *)context};
	struct visit visit = {.visitor = report_mapped,
		.data = &report,
		.self = report.parent,
		.look = visit_mappings};
	int r;

	visit.seen = calloc(1, sizeof(*visit.seen));
	r = visit.seen ? visit_all(&visit) : -ENOMEM;
	free(visit.seen);
	return r;
}

/* In a child that can be killed. Past the deadline there is no more to be known: who has a mapping
 * nearly always has a descriptor, too. */
static int visit_all_mappings(pid_t self, device_visitor visitor, void *data)
{
	auto_free char *text = NULL;
	ssize_t length = process_collect(
		report_mappings, &self, MAPPED_MAX, MAPPINGS_DEADLINE_MS, &text, NULL);
	int r = length < 0 && length != -ETIMEDOUT ? (int)length : 0;

	for (ssize_t at = 0; r >= 0 && at + (ssize_t)sizeof(struct mapped) <= length;
		at += (ssize_t)sizeof(struct mapped)) {
		struct mapped mapped;

		memcpy(&mapped, text + at, sizeof(mapped));
		r = visitor(data, mapped.pid, mapped.device);
	}
	return r < 0 ? r : 0;
}

int open_devices_visit(device_visitor visitor, void *data)
{
	struct visit visit = {
		.visitor = visitor, .data = data, .self = getpid(), .look = visit_descriptors};
	int r = visit_all(&visit);

	return r < 0 ? r : visit_all_mappings(visit.self, visitor, data);
}
