/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include "open_devices.h"
#include <stdbool.h>
#include <sys/types.h>

/*
 * The one door to the kernel. Everything that kmod-helper reads from or writes to sysfs, procfs and
 * the module loader goes through this table, so that the unit tests can put an in-process kernel
 * behind it and --root a captured tree (which refuses every change).
 *
 * Paths have no leading slash ("sys/bus/pci/devices/0000:01:00.0/driver").
 */
struct kernel_ops {
	/* As file_read_attribute(). */
	ssize_t (*read)(void *context, const char *path, char *buffer, size_t size);
	/* Writes an attribute in one write(2). It may block for as long as a driver likes. 0 or
	 * -errno. */
	int (*write)(void *context, const char *path, const char *value);
	/* The last component of a link's target. 0 or -errno. */
	int (*link)(void *context, const char *path, char *buffer, size_t size);
	/* The whole target of a link. 0 or -errno. */
	int (*target)(void *context, const char *path, char *buffer, size_t size);
	/* The names in a folder, sorted. 0 or -errno. */
	int (*list)(void *context, const char *path, struct names *ret);
	/* The same for folders only: no attributes, no links. */
	int (*folders)(void *context, const char *path, struct names *ret);
	/* The device number of a node in /dev. 0 or -errno; -ENODEV if the file is no device node.
	 */
	int (*device_number)(void *context, const char *path, dev_t *ret);
	/* Loads a module by name with its dependencies, as modprobe does, and obeys the blacklist.
	 * 0 (also when it is already loaded or built in), -EPERM when modprobe.d forbids it,
	 * -ENOENT when there is no such module, or the error of the module's own init. */
	int (*module_load)(void *context, const char *name, struct error *error);
	/* Would module_load work? Returns the same errors but loads nothing; 0 also where it cannot
	 * be known. */
	int (*module_check)(void *context, const char *name, struct error *error);
	/* Loads a module that was loaded before. As with `modprobe NAME` the blacklist is ignored;
	 * an install line is run, by modprobe itself. @parameters ("modeset=1 fbdev=0"; may be
	 * NULL) are given to it after those of modprobe.d. */
	int (*module_reload)(
		void *context, const char *name, const char *parameters, struct error *error);
	/* The modules that @alias resolves to, as module_lookup() in modules.h. */
	int (*module_lookup)(
		void *context, const char *alias, struct names *ret, struct error *error);
	/* 0 (also when it is not loaded), -EBUSY when something uses it. */
	int (*module_unload)(void *context, const char *name, struct error *error);
	/* The options that modprobe.d and the kernel command line give a module; "" when there are
	 * none. 0 or -errno (-ENODATA for a captured tree). */
	int (*module_options)(void *context, const char *name, char *buffer, size_t size);
	/* Runs a program of the host (fixed path, no shell). -ENOENT when it is not installed, -EIO
	 * when it fails, or -errno. */
	int (*run)(void *context, const char *const *arguments, struct error *error);
	/* Does the kernel itself have a claim on the block device @device at @path: a mount in any
	 * namespace, swap, a member of LVM, MD, ZFS or btrfs? The test is an exclusive open for
	 * reading, which changes nothing and is closed at once. 1, 0, or -errno (-ENODEV when
	 * another device is there, and for a captured tree). */
	int (*block_is_claimed)(void *context, const char *path, dev_t device);
	/* Calls @visitor for each process that has a device of @wanted open, or mapped into its
	 * memory, by the number behind the node: those made anew in containers and deleted ones
	 * count. Process by process, each device of it once; kernel threads and our own process are
	 * left out. @ret: was it the whole of /proc? 0, -errno, or the negative that the visitor
	 * returned to end it. A captured tree has no processes. */
	int (*devices_in_use)(void *context, const dev_t *wanted, size_t count,
		device_visitor visitor, void *data, struct open_devices_extent *ret);
	/* The kernel's log from now on, for kernel_log_find(): a descriptor for the caller to
	 * close, or -errno (-ENODATA for a captured tree). */
	int (*follow_log)(void *context);
	/* Sleeps until the node at @path was closed by somebody, or until @milliseconds are over.
	 */
	void (*wait_close)(void *context, const char *path, unsigned int milliseconds);
};

struct kernel {
	const struct kernel_ops *ops;
	void *context;
	struct root root; /* the machine's files, for what is neither the kernel's nor a device's */
};

/* A text that does not fit is -EFBIG, and the buffer has its beginning. To most callers such a file
 * is as good as none: an attribute that is longer than any value of its kind says nothing. Those to
 * whom the beginning is enough say so where they take it. */
ssize_t kernel_read(const struct kernel *kernel, const char *path, char *buffer, size_t size);
/* Reads a whole text file of procfs, of 64 MiB at most; NULL when it cannot be read. The caller
 * frees it. */
char *kernel_read_text(const struct kernel *kernel, const char *path);
int kernel_write(const struct kernel *kernel, const char *path, const char *value);
int kernel_link(const struct kernel *kernel, const char *path, char *buffer, size_t size);
int kernel_list(const struct kernel *kernel, const char *path, struct names *ret);
int kernel_list_folders(const struct kernel *kernel, const char *path, struct names *ret);
bool kernel_has_folder(const struct kernel *kernel, const char *path);

/* The running kernel when @path is "/", else the captured tree there, which answers every change
 * with -EROFS. Returns 0, -ENOMEM or the errors of root_open(). Close with kernel_close. */
int kernel_open(const char *path, struct kernel *ret, struct error *error);
void kernel_close(struct kernel *kernel);
