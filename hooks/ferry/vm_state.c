/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds out whether a VM is running, starting, or gone. */

#include "vm_state.h"

#include "conf/pve/vm_process.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum lock_state {
	LOCK_FREE,
	LOCK_OF_ROOT, /* or nobody knows whose */
	LOCK_OF_STRANGER,
};

static int open_lock(const struct root *root, unsigned int vmid)
{
	char path[96];

	snprintf(path, sizeof(path), "var/lock/qemu-server/lock-%u.conf", vmid);
	return file_open(root, path, O_RDONLY);
}

static bool has_ended(int status)
{
	return status == -ENOENT || status == -ESRCH;
}

/* May the process have the file open whose name the kernel shows as @file? Only the link's text is
 * read: the file behind a descriptor may be on a server that does not answer. */
static bool may_have_open(const struct root *root, pid_t pid, const char *file)
{
	cleanup(names_done) struct names descriptors = {0};
	char path[PATH_MAX], target[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "proc/%ld/fd", (long)pid);
	r = folder_list(root, path, &descriptors);
	if (r < 0)
		return !has_ended(r);
	for (size_t i = 0; i < descriptors.count; i++) {
		snprintf(path, sizeof(path), "proc/%ld/fd/%s", (long)pid, descriptors.names[i]);
		r = link_read(root, path, target, sizeof(target));
		if (r < 0 ? !has_ended(r) : strcmp(target, file) == 0)
			return true;
	}
	return false;
}

/* Has a process of root's, other than ours, the file of @fd open? /proc/locks does not tell whose a
 * lock is: it names the process that took it, and when that has ended its children may hold it
 * (`flock 9` in a shell). Root's processes that wait for the lock count too. Other users' processes
 * are not looked into, so that nobody can make this long. */
static enum lock_state find_owner(const struct root *root, int fd)
{
	cleanup(names_done) struct names processes = {0};
	char link[64], file[PATH_MAX];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, file, sizeof(file));
	if (length < 0 || (size_t)length == sizeof(file) ||
		folder_list(root, "proc", &processes) < 0)
		return LOCK_OF_ROOT;
	file[length] = '\0';
	for (size_t i = 0; i < processes.count; i++) {
		unsigned long long pid;
		int r;

		if (parse_unsigned(processes.names[i], 10, INT_MAX, &pid) < 0 ||
			(pid_t)pid == getpid())
			continue;
		r = process_is_roots(root, (pid_t)pid);
		if (r != 0 && !has_ended(r) && may_have_open(root, (pid_t)pid, file))
			return LOCK_OF_ROOT;
	}
	return LOCK_OF_STRANGER;
}

/* Takes a shared lock and releases it at once: Proxmox's own exclusive lock must never wait for
 * ours. */
static enum lock_state find_lock(const struct root *root, unsigned int vmid)
{
	auto_close int fd = open_lock(root, vmid);

	if (fd == -ENOENT)
		return LOCK_FREE;
	/* a VM whose lock cannot be read counts as starting: its card is left alone */
	if (fd < 0)
		return LOCK_OF_ROOT;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return LOCK_FREE;
	/* a captured tree's processes are not those that lock its files */
	return errno == EWOULDBLOCK && root->live ? find_owner(root, fd) : LOCK_OF_ROOT;
}

bool vm_is_gone(const struct kernel *kernel, unsigned int vmid)
{
	/* check the lock first: a VM whose start ends between the two checks is then seen as
	 * running */
	return find_lock(&kernel->root, vmid) != LOCK_OF_ROOT &&
		vm_process_find(&kernel->root, vmid) == 0;
}

/* The process that took the lock of @status, as /proc/locks has it: "17: FLOCK  ADVISORY  WRITE
 * 4242 00:1a:567 0 EOF". 0 when there is none. */
static pid_t find_taker(const struct kernel *kernel, const struct stat *status)
{
	auto_free char *text = kernel_read_text(kernel, "proc/locks");
	char file[64], *rest = text, *line;
	unsigned long long pid;

	snprintf(file, sizeof(file), " %02x:%02x:%llu ", major(status->st_dev),
		minor(status->st_dev), (unsigned long long)status->st_ino);
	while (text && (line = strsep(&rest, "\n"))) {
		char *found = strstr(line, file);

		/* who waits for it is "17: -> FLOCK" */
		if (!found || !strstr(line, ": FLOCK "))
			continue;
		*found = '\0';
		found = strrchr(line, ' ');
		if (found && parse_unsigned(found + 1, 10, INT_MAX, &pid) == 0)
			return (pid_t)pid;
	}
	return 0;
}

bool vm_find_stranger(const struct kernel *kernel, unsigned int vmid, char *text, size_t size)
{
	auto_close int fd = open_lock(&kernel->root, vmid);
	char path[64], command[32];
	struct stat status;
	pid_t pid;

	if (find_lock(&kernel->root, vmid) != LOCK_OF_STRANGER || fd < 0 || fstat(fd, &status) < 0)
		return false;
	pid = find_taker(kernel, &status);
	snprintf(path, sizeof(path), "proc/%ld/comm", (long)pid);
	if (kernel_read(kernel, path, command, sizeof(command)) < 0)
		strcpy(command, "ended; a child of it is left");
	snprintf(text, size, "process %ld (%s)", (long)pid, command);
	return true;
}
