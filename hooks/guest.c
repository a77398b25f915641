/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>

static bool is_zombie(const struct kernel *kernel, pid_t pid)
{
	char path[64], text[1024];
	const char *state;

	snprintf(path, sizeof(path), "proc/%d/stat", (int)pid);
	if (kernel_read(kernel, path, text, sizeof(text)) < 0)
		return true;
	/* the command stands in brackets and may hold brackets itself */
	state = strrchr(text, ')');
	return !state || state[1] != ' ' || state[2] == 'Z' || state[2] == 'X';
}

/* `-id VMID` among the arguments, as Proxmox starts its QEMU: a pid number can come round again. */
static bool has_id_argument(const char *text, size_t length, unsigned int vmid)
{
	char wanted[16];
	const char *end = text + length;

	snprintf(wanted, sizeof(wanted), "%u", vmid);
	while (text < end) {
		const char *next = text + strlen(text) + 1;

		if (next < end && strcmp(text, "-id") == 0 && strcmp(next, wanted) == 0)
			return true;
		text = next;
	}
	return false;
}

static bool is_qemu_of(const struct kernel *kernel, pid_t pid, unsigned int vmid)
{
	char path[64], scope[64], text[16384];
	ssize_t length;

	snprintf(path, sizeof(path), "proc/%d/cgroup", (int)pid);
	snprintf(scope, sizeof(scope), "/%u.scope", vmid);
	if (kernel_read(kernel, path, text, sizeof(text)) > 0 && strstr(text, scope))
		return true;
	snprintf(path, sizeof(path), "proc/%d/cmdline", (int)pid);
	length = kernel_read(kernel, path, text, sizeof(text) - 1);
	/* a command line longer than the buffer still has its -id near the front */
	if (length == -EFBIG)
		length = sizeof(text) - 1;
	if (length <= 0)
		return false;
	text[length] = '\0';
	return has_id_argument(text, (size_t)length, vmid);
}

static pid_t pid_of_file(const struct kernel *kernel, unsigned int vmid)
{
	char path[64], text[32];
	unsigned long long pid;

	snprintf(path, sizeof(path), "run/qemu-server/%u.pid", vmid);
	if (kernel_read(kernel, path, text, sizeof(text)) <= 0 ||
		parse_unsigned(text_trim(text), 10, INT32_MAX, &pid) < 0 || pid == 0)
		return 0;
	if (is_zombie(kernel, (pid_t)pid) || !is_qemu_of(kernel, (pid_t)pid, vmid))
		return 0;
	return (pid_t)pid;
}

static bool is_swtpm(const struct kernel *kernel, pid_t pid)
{
	char path[64], text[64];

	snprintf(path, sizeof(path), "proc/%d/comm", (int)pid);
	return kernel_read(kernel, path, text, sizeof(text)) > 0 && strncmp(text, "swtpm", 5) == 0;
}

static pid_t pid_of_scope(const struct kernel *kernel, unsigned int vmid)
{
	char path[96], text[4096];
	char *save = NULL;

	snprintf(path, sizeof(path), "sys/fs/cgroup/qemu.slice/%u.scope/cgroup.procs", vmid);
	if (kernel_read(kernel, path, text, sizeof(text)) <= 0)
		return 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long pid;

		if (parse_unsigned(line, 10, INT32_MAX, &pid) == 0 && pid != 0 &&
			!is_zombie(kernel, (pid_t)pid) && !is_swtpm(kernel, (pid_t)pid))
			return (pid_t)pid;
	}
	return 0;
}

pid_t guest_pid(const struct kernel *kernel, unsigned int vmid)
{
	pid_t pid = pid_of_file(kernel, vmid);

	return pid ? pid : pid_of_scope(kernel, vmid);
}

bool guest_is_running(const struct kernel *kernel, unsigned int vmid)
{
	return guest_pid(kernel, vmid) != 0;
}

/* Shared and let go at once: Proxmox's own exclusive lock must never wait for ours. */
static bool is_locked(const struct root *root, unsigned int vmid)
{
	char path[96];
	auto_close int fd = -1;

	snprintf(path, sizeof(path), "var/lock/qemu-server/lock-%u.conf", vmid);
	fd = file_open(root, path, O_RDONLY);
	if (fd == -ENOENT)
		return false;
	/* what cannot be looked at counts as starting: its card is left alone */
	return fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0;
}

bool guest_is_gone(const struct root *root, const struct kernel *kernel, unsigned int vmid)
{
	/* the lock first: a start that ends between the two looks is then seen running */
	return !is_locked(root, vmid) && !guest_is_running(kernel, vmid);
}
