/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/vm_process.h"
#include "kmod-helper/base/file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define END 0xff /* of a file's text: a command line has NULs */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const char *const folders[] = {"run", "run/qemu-server", "proc", "proc/4242"};
static const char *const files[] = {"run/qemu-server/104.pid", "proc/4242/status",
	"proc/4242/cgroup", "proc/4242/comm", "proc/4242/stat", "proc/4242/cmdline"};

static char path[] = "/tmp/gpu-ferry-fuzz-XXXXXX";
static struct root root = ROOT_NONE;

static void remove_tree(void)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(root.fd, files[i], 0);
	for (size_t i = sizeof(folders) / sizeof(folders[0]); i-- > 0;)
		unlinkat(root.fd, folders[i], AT_REMOVEDIR);
	rmdir(path);
}

static void make_tree(void)
{
	assert(mkdtemp(path) && root_open(path, &root, NULL) == 0);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		assert(mkdirat(root.fd, folders[i], 0755) == 0);
	atexit(remove_tree);
}

/* The file, or none where its text is empty. */
static void put(const char *file, const uint8_t *text, size_t length)
{
	int fd;

	unlinkat(root.fd, file, 0);
	if (!length)
		return;
	fd = openat(root.fd, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert(fd >= 0 && write(fd, text, length) == (ssize_t)length);
	close(fd);
}

/* The files of a process that may be the QEMU of VM 104. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	pid_t pid;

	if (root.fd < 0)
		make_tree();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		const uint8_t *end = length ? memchr(bytes, END, length) : NULL;
		size_t own = end ? (size_t)(end - bytes) : length;

		put(files[i], bytes, own);
		own += end != NULL;
		bytes += own;
		length -= own;
	}
	pid = vm_process_of_pidfile(&root, 104);
	assert(pid >= 0);
	assert(vm_process_find(&root, 104) == pid || !pid);
	return 0;
}
