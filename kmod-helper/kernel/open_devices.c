/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Walks /proc once, in a child, and reports each device asked for that a process has open or
 * mapped.
 */

#include "open_devices.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SEEN_COUNT 8192u /* a power of two */
#define MAPS_SIZE 16384u
#define FOUND_MAX 65536u

/* A host with hundreds of processes takes some ten milliseconds, a very busy one a few seconds.
 * Past this time a start would seem to hang, and past two million descriptors and mappings, twenty
 * times what such a host has, somebody makes them on purpose. */
#define DEADLINE_MS 15000u
#define ITEMS_MAX 2000000u

/* How often the clock is read, in items. */
#define CLOCK_EVERY 64u

/* The kernel waits for a process's memory lock to show its mappings, and that may be held for ever
 * by a thread that sleeps in a driver. Who is that late sleeps: the pass goes on behind that
 * process, so often. Its descriptors were seen, and who has a mapping nearly always has one. */
#define STALL_MS 500u
#define STALLS_MAX 2u

/* Links of /proc/PID/task: its folders "." and "..", and one for each thread. */
#define TASK_LINKS_OF_ONE 3u

/* Mapped files that are none of the devices: libraries, of which every process has the same. */
struct seen {
	uint64_t hashes[SEEN_COUNT];
};

/* What the child has seen so far, in memory that it shares with us: it may be killed. */
struct report {
	struct open_devices_extent extent;
	size_t items;
	pid_t pid; /* being looked at */
	bool is_at_mappings;
	atomic_size_t count;
	struct {
		pid_t pid;
		dev_t device;
	} found[FOUND_MAX];
};

struct visit {
	const dev_t *wanted;
	size_t count;
	const struct open_devices_limits *limits;
	struct report *report;
	pid_t self;
	pid_t after; /* those up to here have been looked at */
	/* of the child alone: */
	int proc;
	unsigned long long end;
	size_t items;	/* of this process */
	pid_t thread;	/* whose descriptors were looked at */
	bool *is_found; /* of the wanted, in this process */
	struct seen *seen;
};

/* Counts a descriptor, a mapping, a thread or a process. 0, or -ETIME when it is one too many. */
static int spend(struct visit *visit)
{
	struct report *report = visit->report;

	if (++visit->items > report->extent.most) {
		report->extent.most = visit->items;
		report->extent.pid = report->pid;
	}
	if (++report->items > visit->limits->items)
		return -ETIME;
	return report->items % CLOCK_EVERY == 0 && clock_milliseconds() >= visit->end ? -ETIME : 0;
}

/* Each pair of process and device once. */
static int add_found(struct visit *visit, dev_t device)
{
	struct report *report = visit->report;
	size_t i = 0;

	while (i < visit->count && visit->wanted[i] != device)
		i++;
	if (i == visit->count || visit->is_found[i])
		return 0;
	if (report->count == FOUND_MAX)
		return -ETIME;
	visit->is_found[i] = true;
	report->found[report->count].pid = report->pid;
	report->found[report->count].device = device;
	report->count++;
	return 0;
}

/* Each entry of a folder whose name is a number. Stops at what is not 0. A folder that is gone has
 * none. */
static int each_entry(struct visit *visit, int at, const char *path,
	int (*each)(struct visit *visit, int folder, const char *name))
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
				r = each(visit, folder, entry->d_name);
		}
	}
	return r;
}

/* Returns 1 and the number when it is a device's node. Nothing is synced: a dead NFS or FUSE server
 * behind somebody's file must not be asked. */
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

static int visit_descriptor(struct visit *visit, int folder, const char *name)
{
	dev_t device;
	int r = spend(visit);

	return r == 0 && device_behind(folder, name, &device) > 0 ? add_found(visit, device) : r;
}

static int visit_descriptors(struct visit *visit, const char *task)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/fd", task);
	return each_entry(visit, visit->proc, path, visit_descriptor);
}

/* A thread may have left the descriptors of the others: unshare(CLONE_FILES). */
static int visit_thread(struct visit *visit, int folder, const char *name)
{
	unsigned long long thread;
	int r = spend(visit);

	(void)folder;
	if (r < 0 || parse_unsigned(name, 10, INT32_MAX, &thread) < 0 ||
		syscall(SYS_kcmp, visit->thread, (pid_t)thread, KCMP_FILES, 0, 0) <= 0)
		return r;
	/* /proc/TID has all that /proc/PID has, though it is not listed */
	return visit_descriptors(visit, name);
}

/* FNV-1a; 0 marks a free place */
static uint64_t hash_of(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
	return hash ? hash : 1;
}

/* The place of the hash, or a free one for it. NULL when there is neither: too many. */
static uint64_t *seen_place(struct seen *seen, uint64_t hash)
{
	for (unsigned int i = 0; i < 32; i++) {
		uint64_t *place = &seen->hashes[(hash + i) & (SEEN_COUNT - 1)];

		if (*place == hash || !*place)
			return place;
	}
	return NULL;
}

bool memory_mapping_parse(const char *line, struct memory_mapping *ret)
{
	struct memory_mapping mapping = {.file = line};
	const char *inode;

	if (parse_leading(&line, 16, ULLONG_MAX, &mapping.start) < 0 || *line++ != '-' ||
		parse_leading(&line, 16, ULLONG_MAX, &mapping.end) < 0)
		return false;
	for (unsigned int i = 0; mapping.file && i < 3; i++) {
		mapping.file = strchr(mapping.file, ' ');
		mapping.file = mapping.file ? mapping.file + 1 : NULL;
	}
	inode = mapping.file ? strchr(mapping.file, ' ') : NULL;
	if (!inode || strtoull(inode, NULL, 10) == 0)
		return false;
	*ret = mapping;
	return true;
}

/* The same file is looked at only once, whoever has mapped it. */
static int visit_mapping(struct visit *visit, const char *task, const char *line)
{
	struct memory_mapping mapping;
	uint64_t *place;
	uint64_t hash;
	char path[128];
	dev_t device;
	int r = spend(visit);

	if (r < 0 || !memory_mapping_parse(line, &mapping))
		return r;
	hash = hash_of(mapping.file);
	place = seen_place(visit->seen, hash);
	if (place && *place == hash)
		return 0;
	snprintf(path, sizeof(path), "%s/map_files/%llx-%llx", task, mapping.start, mapping.end);
	r = device_behind(visit->proc, path, &device);
	if (r == 0 && place)
		*place = hash;
	return r > 0 ? add_found(visit, device) : 0;
}

/* The whole lines of the @length bytes. Returns how many bytes are left over, or -ETIME. */
static ssize_t visit_lines(struct visit *visit, const char *task, char *text, size_t length)
{
	char *line = text;
	char *end;

	while ((end = memchr(line, '\n', (size_t)(text + length - line)))) {
		int r;

		*end = '\0';
		r = visit_mapping(visit, task, line);
		if (r < 0)
			return r;
		line = end + 1;
	}
	length -= (size_t)(line - text);
	memmove(text, line, length);
	return (ssize_t)length;
}

static int visit_mappings(struct visit *visit, const char *task)
{
	char text[MAPS_SIZE];
	auto_close int fd = -1;
	ssize_t kept = 0;
	ssize_t got;

	visit->report->is_at_mappings = true;
	snprintf(text, sizeof(text), "%s/maps", task);
	fd = openat(visit->proc, text, O_RDONLY | O_CLOEXEC);
	/* a line is shorter than this: PATH_MAX and its numbers */
	while (fd >= 0 && kept >= 0 && (size_t)kept < sizeof(text) &&
		(got = read(fd, text + kept, sizeof(text) - (size_t)kept)) > 0)
		kept = visit_lines(visit, task, text, (size_t)(kept + got));
	return kept < 0 ? (int)kept : 0;
}

static bool has_program(const struct visit *visit, const char *task)
{
	char path[64], byte;

	snprintf(path, sizeof(path), "%s/exe", task);
	return readlinkat(visit->proc, path, &byte, 1) >= 0 || errno != ENOENT;
}

static int visit_threads(struct visit *visit, const char *task,
	int (*each)(struct visit *visit, int folder, const char *name))
{
	struct stat status;
	char path[64];

	snprintf(path, sizeof(path), "%s/task", task);
	if (fstatat(visit->proc, path, &status, 0) < 0 || status.st_nlink <= TASK_LINKS_OF_ONE)
		return 0;
	return each_entry(visit, visit->proc, path, each);
}

/* A thread that has memory and files, mostly the first of its process. 1: done. */
static int visit_task(struct visit *visit, int folder, const char *task)
{
	unsigned long long thread;
	int r;

	(void)folder;
	if (!has_program(visit, task) || parse_unsigned(task, 10, INT32_MAX, &thread) < 0)
		return 0;
	visit->thread = (pid_t)thread;
	r = visit_descriptors(visit, task);
	if (r == 0)
		r = visit_threads(visit, task, visit_thread);
	if (r == 0)
		r = visit_mappings(visit, task);
	return r < 0 ? r : 1;
}

static int visit_process(struct visit *visit, int folder, const char *name)
{
	struct report *report = visit->report;
	unsigned long long pid;
	int r;

	if (parse_unsigned(name, 10, INT32_MAX, &pid) < 0 || (pid_t)pid == visit->self ||
		(pid_t)pid <= visit->after)
		return 0;
	report->is_at_mappings = false;
	report->pid = (pid_t)pid;
	visit->items = 0;
	memset(visit->is_found, 0, visit->count * sizeof(*visit->is_found));
	r = spend(visit);
	if (r == 0)
		r = visit_task(visit, folder, name);
	/* kernel threads, mostly, have no program; or the first thread has ended before others */
	if (r == 0)
		r = visit_threads(visit, name, visit_task);
	if (r >= 0)
		report->extent.processes++;
	return r < 0 ? r : 0;
}

/* In the child. */
static int visit_all(void *context, int fd)
{
	struct visit *visit = context;
	auto_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)fd;
	if (proc < 0)
		return -errno;
	visit->proc = proc;
	visit->end = clock_milliseconds() + visit->limits->deadline_ms;
	visit->seen = calloc(1, sizeof(*visit->seen));
	visit->is_found = calloc(visit->count + 1, sizeof(*visit->is_found));
	if (!visit->seen || !visit->is_found)
		return -ENOMEM;
	return each_entry(visit, proc, ".", visit_process);
}

/* 0, -ETIME when it did not come to the end, or -errno. */
static int run_child(struct visit *visit)
{
	struct report *report = visit->report;

	for (unsigned int stalls = 0;; stalls++) {
		auto_free char *nothing = NULL;
		ssize_t r = process_collect(
			visit_all, visit, 0, visit->limits->deadline_ms + STALL_MS, &nothing, NULL);

		if (r != -ETIMEDOUT)
			return (int)r;
		if (stalls == STALLS_MAX || !report->is_at_mappings) {
			report->extent.pid = report->pid;
			report->extent.most = 0;
			return -ETIME;
		}
		visit->after = report->pid;
	}
}

int open_devices_visit(const dev_t *wanted, size_t count, const struct open_devices_limits *limits,
	device_visitor visitor, void *data, struct open_devices_extent *ret)
{
	static const struct open_devices_limits standard = {DEADLINE_MS, ITEMS_MAX};
	unsigned long long begin = clock_milliseconds();
	struct report *report = mmap(
		NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct visit visit = {
		.wanted = wanted,
		.count = count,
		.limits = limits ? limits : &standard,
		.report = report,
		.self = getpid(),
	};
	int r;

	if (report == MAP_FAILED)
		return -errno;
	r = run_child(&visit);
	report->extent.is_partial = r == -ETIME;
	report->extent.milliseconds = (unsigned int)(clock_milliseconds() - begin);
	*ret = report->extent;
	r = r == -ETIME ? 0 : r;
	for (size_t i = 0; r == 0 && i < report->count; i++)
		r = visitor(data, report->found[i].pid, report->found[i].device);
	munmap(report, sizeof(*report));
	return r;
}
