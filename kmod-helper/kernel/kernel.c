/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The running kernel, or a captured tree, behind one table of operations. */

#include "kernel.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "module_files.h"
#include "modules.h"
#include "open_devices.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define RUN_DEADLINE_MS 20000

/* Any user makes mountinfo longer: FUSE allows a thousand mounts, whose paths may have 4 KiB. */
#define TEXT_START (64u << 10)
#define TEXT_MAX (64u << 20)

/* The context of a struct kernel that is made here. */
struct machine {
	struct root root;	 /* borrowed from the struct kernel */
	struct modules *modules; /* opened when first needed: most commands never ask */
};

ssize_t kernel_read(const struct kernel *kernel, const char *path, char *buffer, size_t size)
{
	return kernel->ops->read(kernel->context, path, buffer, size);
}

char *kernel_read_text(const struct kernel *kernel, const char *path)
{
	for (size_t size = TEXT_START; size <= TEXT_MAX; size *= 4) {
		auto_free char *text = malloc(size);
		ssize_t length = text ? kernel_read(kernel, path, text, size) : -ENOMEM;

		if (length >= 0)
			return TAKE_PTR(text);
		if (length != -EFBIG)
			return NULL;
	}
	return NULL;
}

int kernel_write(const struct kernel *kernel, const char *path, const char *value)
{
	return kernel->ops->write(kernel->context, path, value);
}

int kernel_link(const struct kernel *kernel, const char *path, char *buffer, size_t size)
{
	return kernel->ops->link(kernel->context, path, buffer, size);
}

int kernel_list(const struct kernel *kernel, const char *path, struct names *ret)
{
	return kernel->ops->list(kernel->context, path, ret);
}

int kernel_list_folders(const struct kernel *kernel, const char *path, struct names *ret)
{
	return kernel->ops->folders(kernel->context, path, ret);
}

bool kernel_has_folder(const struct kernel *kernel, const char *path)
{
	cleanup(names_done) struct names names = {0};

	return kernel_list(kernel, path, &names) == 0;
}

static ssize_t machine_read(void *context, const char *path, char *buffer, size_t size)
{
	const struct machine *machine = context;

	return file_read_attribute(&machine->root, path, buffer, size);
}

static int machine_write(void *context, const char *path, const char *value)
{
	const struct machine *machine = context;

	return machine->root.live ? file_write_attribute(&machine->root, path, value) : -EROFS;
}

static int machine_link(void *context, const char *path, char *buffer, size_t size)
{
	const struct machine *machine = context;

	return link_read_name(&machine->root, path, buffer, size);
}

static int machine_list(void *context, const char *path, struct names *ret)
{
	const struct machine *machine = context;

	return folder_list(&machine->root, path, ret);
}

static int machine_folders(void *context, const char *path, struct names *ret)
{
	const struct machine *machine = context;

	return folder_list_folders(&machine->root, path, ret);
}

static int machine_device_number(void *context, const char *path, dev_t *ret)
{
	const struct machine *machine = context;
	auto_close int fd = file_open(&machine->root, path, O_PATH);
	struct stat status;

	if (fd < 0)
		return fd;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode))
		return -ENODEV;
	*ret = status.st_rdev;
	return 0;
}

static int machine_target(void *context, const char *path, char *buffer, size_t size)
{
	const struct machine *machine = context;

	return link_read(&machine->root, path, buffer, size);
}

static int machine_devices_in_use(void *context, const dev_t *wanted, size_t count,
	device_visitor visitor, void *data, struct open_devices_extent *ret)
{
	const struct machine *machine = context;

	*ret = (struct open_devices_extent){0};
	return machine->root.live ? open_devices_visit(wanted, count, NULL, visitor, data, ret) : 0;
}

static int machine_block_is_claimed(void *context, const char *path, dev_t device)
{
	const struct machine *machine = context;
	dev_t there = 0;
	int fd, r;

	if (!machine->root.live)
		return -ENODEV;
	r = machine_device_number(context, path, &there);
	if (r == 0 && there != device)
		r = -ENODEV;
	if (r < 0)
		return r;
	/* O_NONBLOCK: a drive without a medium must not load one */
	fd = file_open(&machine->root, path, O_RDONLY | O_EXCL | O_NONBLOCK);
	if (fd < 0)
		return fd == -EBUSY ? 1 : fd;
	close(fd);
	return 0;
}

static int machine_modules(struct machine *machine, struct error *error)
{
	if (machine->modules)
		return 0;
	return modules_open(&machine->root, &machine->modules, error);
}

static int machine_module_load(void *context, const char *name, struct error *error)
{
	struct machine *machine = context;
	int r = machine_modules(machine, error);

	if (r < 0)
		return r;
	if (!machine->root.live)
		return error_set_errno(error, -EROFS, "load the module %s", name);
	return module_load(machine->modules, name, error);
}

static int machine_module_reload(
	void *context, const char *name, const char *parameters, struct error *error)
{
	struct machine *machine = context;
	int r = machine_modules(machine, error);

	return r < 0 ? r : module_reload(machine->modules, name, parameters, error);
}

static int machine_module_lookup(
	void *context, const char *alias, struct names *ret, struct error *error)
{
	struct machine *machine = context;
	int r = machine_modules(machine, error);

	return r < 0 ? r : module_lookup(machine->modules, alias, ret, error);
}

static int machine_run(void *context, const char *const *arguments, struct error *error)
{
	const struct machine *machine = context;
	const struct process_options options = {.deadline_ms = RUN_DEADLINE_MS};
	char ending[32];
	int r;

	if (!machine->root.live)
		return error_set_errno(error, -EROFS, "run %s", arguments[0]);
	if (access(arguments[0], X_OK) < 0)
		return error_set_errno(error, -errno, "run %s", arguments[0]);
	r = process_run(arguments, &options, error);
	if (r <= 0)
		return r;
	return error_set(error, -EIO, "%s failed (%s)", arguments[0],
		process_end_format(r, ending, sizeof(ending)));
}

static int machine_module_unload(void *context, const char *name, struct error *error)
{
	struct machine *machine = context;
	int r = machine_modules(machine, error);

	if (r < 0)
		return r;
	if (!machine->root.live)
		return error_set_errno(error, -EROFS, "unload the module %s", name);
	return module_unload(machine->modules, name, error);
}

/* By the files of the kernel that the tree says was running; without them nothing is known. */
static int tree_module_check(const struct root *root, const char *name, struct error *error)
{
	cleanup(module_files_done) struct module_files files = {0};
	char release[96];

	if (file_read_attribute(root, "proc/sys/kernel/osrelease", release, sizeof(release)) <= 0 ||
		module_files_read(root, release, &files, NULL) < 0 || !files.dependencies ||
		module_files_have(&files, name))
		return 0;
	return error_set(error, -ENOENT, "the kernel %s has no module %s", release, name);
}

static int machine_module_check(void *context, const char *name, struct error *error)
{
	struct machine *machine = context;
	int r;

	/* libkmod reads the running kernel's /proc/modules, which says nothing about a captured
	 * tree */
	if (!machine->root.live)
		return tree_module_check(&machine->root, name, error);
	r = machine_modules(machine, error);
	return r < 0 ? r : module_check(machine->modules, name, error);
}

static int machine_module_options(void *context, const char *name, char *buffer, size_t size)
{
	struct machine *machine = context;
	struct error ignored;
	int r = machine_modules(machine, &ignored);

	/* libkmod reads the running kernel's command line, which is not that of a captured tree */
	if (!machine->root.live)
		return -ENODATA;
	return r < 0 ? r : module_options(machine->modules, name, buffer, size, &ignored);
}

static int machine_follow_log(void *context)
{
	const struct machine *machine = context;
	auto_close int fd = machine->root.live
		? file_open(&machine->root, "dev/kmsg", O_RDONLY | O_NONBLOCK)
		: -ENODATA;

	if (fd >= 0 && lseek(fd, 0, SEEK_END) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static void machine_wait_close(void *context, const char *path, unsigned int milliseconds)
{
	const struct machine *machine = context;
	auto_close int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd polled = {.fd = notify, .events = POLLIN};
	char full[PATH_MAX];

	(void)machine;
	snprintf(full, sizeof(full), "/%s", path);
	/* if it cannot be watched (no node, no inotify left) this is a plain sleep */
	if (notify >= 0 && inotify_add_watch(notify, full, IN_CLOSE) < 0)
		polled.fd = -1;
	poll(&polled, 1, (int)milliseconds);
}

static const struct kernel_ops machine_ops = {
	.read = machine_read,
	.write = machine_write,
	.link = machine_link,
	.target = machine_target,
	.list = machine_list,
	.folders = machine_folders,
	.device_number = machine_device_number,
	.module_load = machine_module_load,
	.module_check = machine_module_check,
	.module_reload = machine_module_reload,
	.module_lookup = machine_module_lookup,
	.module_unload = machine_module_unload,
	.module_options = machine_module_options,
	.run = machine_run,
	.block_is_claimed = machine_block_is_claimed,
	.devices_in_use = machine_devices_in_use,
	.follow_log = machine_follow_log,
	.wait_close = machine_wait_close,
};

int kernel_open(const char *path, struct kernel *ret, struct error *error)
{
	auto_free struct machine *machine = calloc(1, sizeof(*machine));
	int r;

	if (!machine)
		return error_set_errno(error, -ENOMEM, "open the kernel's files");
	r = root_open(path, &machine->root, error);
	if (r < 0)
		return r;
	*ret = (struct kernel){.ops = &machine_ops, .root = machine->root};
	ret->context = TAKE_PTR(machine);
	return 0;
}

void kernel_close(struct kernel *kernel)
{
	struct machine *machine = kernel->context;

	if (!machine)
		return;
	if (machine->modules)
		modules_close(machine->modules);
	free(machine);
	kernel->context = NULL;
	root_close(&kernel->root);
}
