/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads, replaces and lists files below a root descriptor. */

#include "error.h"
#include "names.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Every file is reached from a root descriptor with paths like "sys/bus/pci/devices" (no leading
 * slash). Links are resolved inside the root (openat2, RESOLVE_IN_ROOT), so that a captured tree
 * can never lead out of itself. A file's owner and mode are checked after it is open, so that a
 * change on the way is noticed. */
struct root {
	int fd;
	uid_t owner; /* who counts as root: 0, or the owner of a captured tree's folder */
	bool live;   /* "/" itself: changes are allowed */
};

#define ROOT_NONE                                                                                  \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* @path "/" gives the live root. Returns 0 or -errno of open/fstat. Close with root_close. */
int root_open(const char *path, struct root *ret, struct error *error);
void root_close(struct root *root);

/* openat2 below @root, always O_CLOEXEC. Returns the descriptor or -errno; sets no message. */
int file_open(const struct root *root, const char *path, int flags);

/* Reads a sysfs-like attribute of less than @size bytes; cuts one trailing newline and ends with
 * NUL. Returns the length or -errno; sets no message (absence is often no error). -EFBIG when it
 * did not fit: @buffer then holds its first @size - 1 bytes and a NUL (enough for a look at PCI
 * config space, where each byte costs time). */
ssize_t file_read_attribute(const struct root *root, const char *path, char *buffer, size_t size);

/* Writes @value in one write(2) to an existing file, no truncation: sysfs and procfs. -EIO when the
 * write was short. */
int file_write_attribute(const struct root *root, const char *path, const char *value);

struct file_read_options {
	size_t max;	    /* -EFBIG when the file is larger */
	bool require_owner; /* -EPERM unless it is root's and writable by nobody else */
	bool refuse_nul;    /* -EILSEQ when it has one; all other bytes are fine */
};

/* Reads a regular file whole, never blocking on a FIFO or a device: -EISDIR, -ENXIO (neither file
 * nor folder), -EFBIG, -EPERM, -EILSEQ or -errno of open/read. @ret_text is malloced and
 * NUL-terminated. */
int file_read(const struct root *root, const char *path, const struct file_read_options *options,
	char **ret_text, size_t *ret_length, struct error *error);

/* May root run the program @path (with its leading slash)? It must be a file that can be run, and
 * with all folders above it root's, writable by nobody else, and no link. 0, -EPERM, -EACCES, or
 * -errno. */
int file_check_program(const struct root *root, const char *path, struct error *error);

/* Replaces @path by a new file of mode @mode: temporary file beside it, fsync, rename, fsync of the
 * folder. Nothing is left behind on failure. */
int file_replace(const struct root *root, const char *path, mode_t mode, const char *text,
	struct error *error);

/* The parts of file_replace, for several files that change together: file_stage writes the
 * temporary file to the disk, file_commit renames it (this process's own), file_discard gives it
 * up. Staging again replaces what was staged. */
int file_stage(const struct root *root, const char *path, mode_t mode, const char *text,
	struct error *error);
int file_commit(const struct root *root, const char *path, struct error *error);
void file_discard(const struct root *root, const char *path);

/* Removes temporary files of @path that killed processes have left. */
void file_sweep(const struct root *root, const char *path);

/* Removes the file. A missing file is no error. */
int file_remove(const struct root *root, const char *path, struct error *error);

/* Seconds since the file was written, by the wall clock. Negative: -errno, or the clock was set
 * back. */
long long file_age_seconds(const struct root *root, const char *path);

/* Reads what waits in a descriptor that does not block, and forgets it. */
void file_drain(int fd);

/* Makes the folder and its parents with @mode, owned by root. An existing folder is accepted when
 * it is root's and writable by nobody else, otherwise -EPERM. */
int folder_make(const struct root *root, const char *path, mode_t mode, struct error *error);

/* Removes the folder if it is empty. True when it no longer exists. */
bool folder_remove_empty(const struct root *root, const char *path);

/* What the link @path holds. Returns 0 or -errno (-ENAMETOOLONG: more than @size); sets no message.
 */
int link_read(const struct root *root, const char *path, char *buffer, size_t size);

/* The last component of the link @path points to. Returns 0 or -errno; sets no message. */
int link_read_name(const struct root *root, const char *path, char *buffer, size_t size);

/* Is there anything at @path? */
bool file_exists(const struct root *root, const char *path);
bool path_is_link(const struct root *root, const char *path);

/* The entries of a folder except "." and "..", sorted. Returns 0 or -errno; sets no message. */
int folder_list(const struct root *root, const char *path, struct names *ret);

/* The same, of folders only: no files, and no links to folders. */
int folder_list_folders(const struct root *root, const char *path, struct names *ret);
