/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds out whether a VM is running, starting, or gone. */

#include "vm_state.h"

#include "conf/pve/reservation.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>

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
			process_is_running(&kernel->root, (pid_t)pid) &&
			!is_swtpm(kernel, (pid_t)pid))
			return (pid_t)pid;
	}
	return 0;
}

pid_t vm_pid(const struct kernel *kernel, unsigned int vmid)
{
	pid_t pid = reservation_vm_pid(&kernel->root, vmid);

	return pid ? pid : pid_of_scope(kernel, vmid);
}

/* Takes a shared lock and releases it at once: Proxmox's own exclusive lock must never wait for
 * ours. */
static bool is_locked(const struct root *root, unsigned int vmid)
{
	char path[96];
	auto_close int fd = -1;

	snprintf(path, sizeof(path), "var/lock/qemu-server/lock-%u.conf", vmid);
	fd = file_open(root, path, O_RDONLY);
	if (fd == -ENOENT)
		return false;
	/* a VM whose lock cannot be read counts as starting: its card is left alone */
	return fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0;
}

bool vm_is_gone(const struct kernel *kernel, unsigned int vmid)
{
	/* check the lock first: a VM whose start ends between the two checks is then seen as
	 * running */
	return !is_locked(&kernel->root, vmid) && vm_pid(kernel, vmid) == 0;
}
