/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which processes of this host have some devices open or mapped. A descriptor that is on its way
 * through a socket belongs to no process: /proc does not show it, so it is not seen here.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Called with a process and a device that it uses. Returns 0 to go on, negative to end it. */
typedef int (*device_visitor)(void *data, pid_t pid, dev_t device);

/* How long a pass may take, and how many descriptors and mappings it may look at. */
struct open_devices_limits {
	unsigned int deadline_ms;
	size_t items;
};

/* How far a pass came. Every user of the host can make it long. */
struct open_devices_extent {
	bool is_partial;  /* it did not come to the end: others may use the devices, too */
	size_t processes; /* looked at to their end */
	unsigned int milliseconds;
	pid_t pid;   /* the process with the most descriptors and mappings seen ... */
	size_t most; /* ... and how many; 0: the one that it stood at, which did not answer */
};

/* A line of /proc/PID/maps: "7f1c-7f1d rw-s 00000000 00:05 412 /dev/nvidia0". */
struct memory_mapping {
	unsigned long long start, end; /* its name in /proc/PID/map_files */
	/* All from the third blank on identifies the file. Its name alone is no guide: in a
	 * container a node may be anywhere. */
	const char *file;
};

/* False for memory without a file behind it. @ret points into @line. */
bool memory_mapping_parse(const char *line, struct memory_mapping *ret);

/*
 * kernel_ops.devices_in_use of the running kernel: one pass over /proc, in a child. It is run at
 * each handover, on hosts with hundreds of processes: what a system call can be spared is spared.
 * @limits is NULL for the standard ones: 15 seconds, and some more for processes that do not show
 * their mappings. Past them what was found counts, and @ret says that it is not all. 0, -errno, or
 * the negative that the visitor returned.
 */
int open_devices_visit(const dev_t *wanted, size_t count, const struct open_devices_limits *limits,
	device_visitor visitor, void *data, struct open_devices_extent *ret);
