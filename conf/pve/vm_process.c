/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the process that is a VM's QEMU. */

#include "vm_process.h"

#include "kmod-helper/base/cgroup.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_LINE_MAX_BYTES (2 * 1024 * 1024)
#define SCOPE_MAX_BYTES (1024 * 1024)

static pid_t pidfile_read(const struct root *root, unsigned int vmid)
{
	unsigned long long pid = 0;
	char path[64];
	char text[64];

	snprintf(path, sizeof(path), "run/qemu-server/%u.pid", vmid);
	if (file_read_attribute(root, path, text, sizeof(text)) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return parse_unsigned(text, 10, INT_MAX, &pid) < 0 ? 0 : (pid_t)pid;
}

/* m|kvm$| or m@(?:^|/)qemu-[^/]+$@ */
static bool is_qemu(const char *program)
{
	const char *slash = strrchr(program, '/');
	const char *name = slash ? slash + 1 : program;
	size_t length = strlen(program);

	if (length >= 3 && strcmp(program + length - 3, "kvm") == 0)
		return true;
	return strncmp(name, "qemu-", strlen("qemu-")) == 0 && name[strlen("qemu-")] != '\0';
}

/* The folder may be /run/qemu-server or /var/run/qemu-server. */
static bool is_pidfile_of(const char *path, unsigned int vmid)
{
	char expected[64];

	if (strncmp(path, "/var/", strlen("/var/")) == 0)
		path += strlen("/var");
	snprintf(expected, sizeof(expected), "/run/qemu-server/%u.pid", vmid);
	return strcmp(path, expected) == 0;
}

static bool has_pidfile(const char *arguments, size_t length, unsigned int vmid)
{
	const char *end = arguments + length;
	const char *pidfile = NULL;

	for (const char *argument = arguments; argument < end; argument += strlen(argument) + 1) {
		bool is_option =
			strcmp(argument, "-pidfile") == 0 || strcmp(argument, "--pidfile") == 0;
		const char *value = argument + strlen(argument) + 1;

		if (is_option && value < end)
			pidfile = value;
	}
	return pidfile && is_pidfile_of(pidfile, vmid);
}

static bool folder_is_there(const struct root *root, const char *path)
{
	auto_close int fd = file_open(root, path, O_PATH | O_DIRECTORY);

	return fd >= 0;
}

/* A process that is ending has closed its memory first, and with it its command line: its name and
 * the VM's scope, which only root can put a process into, still tell it. */
static bool is_ending_qemu(const struct root *root, pid_t pid, unsigned int vmid)
{
	struct cgroup cgroup;
	char path[64], name[32];

	cgroup_read(root, pid, &cgroup);
	snprintf(path, sizeof(path), "proc/%ld/comm", (long)pid);
	return cgroup.kind == CGROUP_VM && cgroup.guest == vmid &&
		file_read_attribute(root, path, name, sizeof(name)) > 0 &&
		(strcmp(name, "kvm") == 0 || strncmp(name, "qemu-system", 11) == 0) &&
		process_is_running(root, pid);
}

static bool is_qemu_of(const struct root *root, pid_t pid, unsigned int vmid)
{
	struct file_read_options options = {.max = COMMAND_LINE_MAX_BYTES};
	auto_free char *arguments = NULL;
	size_t length = 0;
	char path[64];
	int r = process_is_roots(root, pid);

	/* the command line of another user's process is not even read: that may never end */
	if (r == 0 || (r < 0 && root->live))
		return false;
	snprintf(path, sizeof(path), "proc/%ld/cmdline", (long)pid);
	r = file_read(root, path, &options, &arguments, &length, NULL);
	if (r == 0 && length)
		return is_qemu(arguments) && has_pidfile(arguments, length, vmid);
	if (r == 0 || root->live)
		return is_ending_qemu(root, pid, vmid);
	snprintf(path, sizeof(path), "proc/%ld", (long)pid);
	return folder_is_there(root, path) || !folder_is_there(root, "proc");
}

pid_t vm_process_of_pidfile(const struct root *root, unsigned int vmid)
{
	pid_t pid = pidfile_read(root, vmid);

	return pid > 0 && is_qemu_of(root, pid, vmid) ? pid : 0;
}

static pid_t find_in_scope(const struct root *root, const char *hierarchy, unsigned int vmid)
{
	struct file_read_options options = {.max = SCOPE_MAX_BYTES};
	auto_free char *text = NULL;
	char *save = NULL;
	size_t length;
	char path[96];
	int r;

	snprintf(path, sizeof(path), "%s/qemu.slice/%u.scope/cgroup.procs", hierarchy, vmid);
	r = file_read(root, path, &options, &text, &length, NULL);
	/* ENODEV: the scope was removed while we read it */
	if (r < 0)
		return r == -ENOENT || r == -ENODEV ? 0 : r;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long pid;

		if (parse_unsigned(line, 10, INT_MAX, &pid) == 0 && pid != 0 &&
			is_qemu_of(root, (pid_t)pid, vmid))
			return (pid_t)pid;
	}
	return 0;
}

pid_t vm_process_find(const struct root *root, unsigned int vmid)
{
	pid_t pid = vm_process_of_pidfile(root, vmid);

	if (pid == 0)
		pid = find_in_scope(root, "sys/fs/cgroup", vmid);
	if (pid == 0) /* cgroup v1 */
		pid = find_in_scope(root, "sys/fs/cgroup/systemd", vmid);
	return pid;
}
