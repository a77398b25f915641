/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads, writes and replaces files below a root descriptor. */

#include "file.h"

#include "cleanup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

int root_open(const char *path, struct root *ret, struct error *error)
{
	auto_close int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat status, live;

	if (fd < 0)
		return error_set_errno(error, -errno, "open the root %s", path);
	if (fstat(fd, &status) < 0 || stat("/", &live) < 0)
		return error_set_errno(error, -errno, "look at the root %s", path);
	ret->live = status.st_dev == live.st_dev && status.st_ino == live.st_ino;
	ret->owner = ret->live ? 0 : status.st_uid;
	ret->fd = TAKE_FD(fd);
	return 0;
}

void root_close(struct root *root)
{
	if (root->fd >= 0)
		close(root->fd);
	root->fd = -1;
}

static int open_in_root(const struct root *root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned int)flags | O_CLOEXEC,
		.mode = mode,
		.resolve = root->live ? 0 : RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	/* EAGAIN: a rename or mount somewhere made the walk inside the root uncertain; try again
	 * (openat2(2)) */
	do {
		fd = syscall(SYS_openat2, root->fd, path, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN && how.resolve);
	return fd < 0 ? -errno : (int)fd;
}

int file_open(const struct root *root, const char *path, int flags)
{
	return open_in_root(root, path, flags, 0);
}

static ssize_t read_full(int fd, char *buffer, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t got = read(fd, buffer + used, size - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		used += (size_t)got;
	}
	return (ssize_t)used;
}

static int write_full(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t written = write(fd, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		text += written;
		length -= (size_t)written;
	}
	return 0;
}

ssize_t file_read_attribute(const struct root *root, const char *path, char *buffer, size_t size)
{
	auto_close int fd = file_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	ssize_t length;

	if (fd < 0)
		return fd;
	length = read_full(fd, buffer, size);
	if (length < 0)
		return length;
	if ((size_t)length == size) {
		buffer[size - 1] = '\0';
		return -EFBIG;
	}
	if (length > 0 && buffer[length - 1] == '\n')
		length--;
	buffer[length] = '\0';
	return length;
}

int file_write_attribute(const struct root *root, const char *path, const char *value)
{
	auto_close int fd = file_open(root, path, O_WRONLY | O_NOCTTY);
	size_t length = strlen(value);
	ssize_t written;

	if (fd < 0)
		return fd;
	written = write(fd, value, length);
	if (written < 0)
		return -errno;
	return (size_t)written == length ? 0 : -EIO;
}

static bool is_safe(const struct root *root, const struct stat *status)
{
	return status->st_uid == root->owner && !(status->st_mode & (S_IWGRP | S_IWOTH));
}

/* Is the folder or file at @path, without a leading slash, root's alone? */
static int check_safe(
	const struct root *root, const char *path, struct stat *ret, struct error *error)
{
	auto_close int fd = file_open(root, path, O_PATH | O_NOFOLLOW);

	if (fd < 0)
		return error_set_errno(error, fd, "look at /%s", path);
	if (fstat(fd, ret) < 0)
		return error_set_errno(error, -errno, "look at /%s", path);
	if (S_ISLNK(ret->st_mode))
		return error_set(error, -EPERM, "/%s is a link: name the file itself", path);
	return is_safe(root, ret) ? 0
				  : error_set(error, -EPERM,
					    "/%s must belong to root and be writable by nobody "
					    "else (chown root:root, chmod go-w)",
					    path);
}

int file_check_program(const struct root *root, const char *path, struct error *error)
{
	char above[PATH_MAX];
	struct stat status;

	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int r;

		if (snprintf(above, sizeof(above), "%.*s", (int)(slash - path - 1), path + 1) >=
			(int)sizeof(above))
			return error_set_errno(error, -ENAMETOOLONG, "look at %s", path);
		r = check_safe(root, above, &status, error);
		if (r < 0)
			return r;
	}
	if (check_safe(root, path + 1, &status, error) < 0)
		return error->status;
	return S_ISREG(status.st_mode) && (status.st_mode & S_IXUSR)
		? 0
		: error_set(error, -EACCES,
			  "%s cannot be run: it is no executable file (chmod u+x)", path);
}

static int check_file(const struct root *root, const char *path, const struct stat *status,
	const struct file_read_options *options, struct error *error)
{
	if (S_ISDIR(status->st_mode))
		return error_set(error, -EISDIR, "read /%s: it is a folder, not a file", path);
	if (!S_ISREG(status->st_mode))
		return error_set(error, -ENXIO, "read /%s: it is not a regular file", path);
	if ((unsigned long long)status->st_size > options->max)
		return error_set(
			error, -EFBIG, "read /%s: it is larger than %zu bytes", path, options->max);
	if (options->require_owner && !is_safe(root, status))
		return error_set(error, -EPERM,
			"read /%s: refused: it must belong to root and be writable by nobody else "
			"(chown root:root, chmod go-w)",
			path);
	return 0;
}

int file_read(const struct root *root, const char *path, const struct file_read_options *options,
	char **ret_text, size_t *ret_length, struct error *error)
{
	auto_close int fd = file_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	auto_free char *text = NULL;
	struct stat status;
	ssize_t length;
	int r;

	if (fd < 0)
		return error_set_errno(error, fd, "read /%s", path);
	if (fstat(fd, &status) < 0)
		return error_set_errno(error, -errno, "read /%s", path);
	r = check_file(root, path, &status, options, error);
	if (r < 0)
		return r;
	/* procfs, sysfs and FUSE may report a size of 0, so the limit counts and not st_size */
	text = malloc(options->max + 2);
	if (!text)
		return error_set_errno(error, -ENOMEM, "read /%s", path);
	length = read_full(fd, text, options->max + 1);
	if (length < 0)
		return error_set_errno(error, (int)length, "read /%s", path);
	if ((size_t)length > options->max)
		return error_set(
			error, -EFBIG, "read /%s: it is larger than %zu bytes", path, options->max);
	text[length] = '\0';
	if (options->refuse_nul && memchr(text, '\0', (size_t)length))
		return error_set(error, -EILSEQ,
			"read /%s: it contains a NUL byte, so it is not a text file", path);
	if (ret_length)
		*ret_length = (size_t)length;
	*ret_text = TAKE_PTR(text);
	return 0;
}

/* Opens the folder that holds @path; *@ret_name is the last component inside @path. */
static int open_folder_of(const struct root *root, const char *path, const char **ret_name)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int length = slash ? (int)(slash - path) : 1;

	if (snprintf(folder, sizeof(folder), "%.*s", length, slash ? path : ".") >= PATH_MAX)
		return -ENAMETOOLONG;
	*ret_name = slash ? slash + 1 : path;
	return file_open(root, folder, O_RDONLY | O_DIRECTORY);
}

static int write_new(int folder, const char *name, mode_t mode, const char *text)
{
	auto_close int fd =
		openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = write_full(fd, text, strlen(text));
	if (r < 0)
		return r;
	/* fchmod, not open's mode: the caller's umask must not decide */
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static int temporary_name(const char *name, char *buffer, size_t size)
{
	int length = snprintf(buffer, size, ".%s.%ld.tmp", name, (long)getpid());

	return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

static int stage_in(int folder, const char *name, mode_t mode, const char *text)
{
	char temporary[NAME_MAX + 1];
	int r = folder < 0 ? folder : temporary_name(name, temporary, sizeof(temporary));

	if (r < 0)
		return r;
	r = write_new(folder, temporary, mode, text);
	if (r == -EEXIST) {
		/* a leftover of a killed process that had the same PID */
		unlinkat(folder, temporary, 0);
		r = write_new(folder, temporary, mode, text);
	}
	if (r < 0)
		unlinkat(folder, temporary, 0);
	return r;
}

static int commit_in(int folder, const char *name)
{
	char temporary[NAME_MAX + 1];
	int r = folder < 0 ? folder : temporary_name(name, temporary, sizeof(temporary));

	if (r < 0)
		return r;
	return renameat(folder, temporary, folder, name) < 0 || fsync(folder) < 0 ? -errno : 0;
}

static void discard_in(int folder, const char *name)
{
	char temporary[NAME_MAX + 1];

	if (folder >= 0 && temporary_name(name, temporary, sizeof(temporary)) == 0)
		unlinkat(folder, temporary, 0);
}

int file_stage(const struct root *root, const char *path, mode_t mode, const char *text,
	struct error *error)
{
	const char *name;
	auto_close int folder = open_folder_of(root, path, &name);
	int r = stage_in(folder, name, mode, text);

	return r < 0 ? error_set_errno(error, r, "write /%s", path) : 0;
}

int file_commit(const struct root *root, const char *path, struct error *error)
{
	const char *name;
	auto_close int folder = open_folder_of(root, path, &name);
	int r = commit_in(folder, name);

	return r < 0 ? error_set_errno(error, r, "write /%s", path) : 0;
}

void file_discard(const struct root *root, const char *path)
{
	const char *name;
	auto_close int folder = open_folder_of(root, path, &name);

	discard_in(folder, name);
}

/* ".NAME.PID.tmp" */
static bool is_temporary_of(const char *entry, const char *name)
{
	size_t length = strlen(name), digits;

	if (entry[0] != '.' || strncmp(entry + 1, name, length) != 0 || entry[length + 1] != '.')
		return false;
	entry += length + 2;
	digits = strspn(entry, "0123456789");
	return digits && strcmp(entry + digits, ".tmp") == 0;
}

void file_sweep(const struct root *root, const char *path)
{
	const char *name;
	auto_close int folder = open_folder_of(root, path, &name);
	auto_closedir DIR *directory = folder < 0 ? NULL : fdopendir(folder);
	struct dirent *entry;

	if (!directory)
		return;
	folder = -1;
	while ((entry = readdir(directory))) {
		if (is_temporary_of(entry->d_name, name))
			unlinkat(dirfd(directory), entry->d_name, 0);
	}
}

int file_replace(const struct root *root, const char *path, mode_t mode, const char *text,
	struct error *error)
{
	const char *name;
	auto_close int folder = open_folder_of(root, path, &name);
	int r = stage_in(folder, name, mode, text);

	if (r == 0) {
		r = commit_in(folder, name);
		if (r < 0)
			discard_in(folder, name);
	}
	return r < 0 ? error_set_errno(error, r, "write /%s", path) : 0;
}

int file_remove(const struct root *root, const char *path, struct error *error)
{
	const char *name;
	auto_close int folder = open_folder_of(root, path, &name);

	if (folder == -ENOENT)
		return 0;
	if (folder < 0)
		return error_set_errno(error, folder, "remove /%s", path);
	if (unlinkat(folder, name, 0) < 0 && errno != ENOENT)
		return error_set_errno(error, -errno, "remove /%s", path);
	return 0;
}

long long file_age_seconds(const struct root *root, const char *path)
{
	auto_close int fd = file_open(root, path, O_PATH | O_NOFOLLOW);
	struct stat status;

	if (fd < 0)
		return fd;
	return fstat(fd, &status) < 0 ? -errno : time(NULL) - status.st_mtime;
}

static int make_one(const struct root *root, const char *path, mode_t mode)
{
	const char *name;
	auto_close int folder = open_folder_of(root, path, &name);

	if (folder < 0)
		return folder;
	if (mkdirat(folder, name, mode) < 0)
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(folder, name, mode, 0) < 0 ? -errno : 0;
}

static int make_parents(const struct root *root, const char *path, mode_t mode)
{
	char parent[PATH_MAX];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		int length = (int)(slash - path);
		int r;

		if (snprintf(parent, sizeof(parent), "%.*s", length, path) >= PATH_MAX)
			return -ENAMETOOLONG;
		r = make_one(root, parent, mode);
		if (r < 0)
			return r;
	}
	return make_one(root, path, mode);
}

void file_drain(int fd)
{
	char data[4096];

	while (read(fd, data, sizeof(data)) > 0)
		;
}

int folder_make(const struct root *root, const char *path, mode_t mode, struct error *error)
{
	auto_close int fd = -1;
	struct stat status;
	int r = 0;

	fd = file_open(root, path, O_RDONLY | O_DIRECTORY);
	if (fd == -ENOENT) {
		r = make_parents(root, path, mode);
		if (r == 0)
			fd = file_open(root, path, O_RDONLY | O_DIRECTORY);
	}
	if (r < 0 || fd < 0)
		return error_set_errno(error, r < 0 ? r : fd, "make the folder /%s", path);
	if (fstat(fd, &status) < 0)
		return error_set_errno(error, -errno, "make the folder /%s", path);
	if (!is_safe(root, &status))
		return error_set(error, -EPERM,
			"use the folder /%s: refused: it must belong to root and be writable by "
			"nobody else",
			path);
	return 0;
}

bool folder_remove_empty(const struct root *root, const char *path)
{
	const char *slash = strrchr(path, '/');
	auto_free char *outer = slash ? strndup(path, (size_t)(slash - path)) : NULL;
	auto_close int parent = outer ? file_open(root, outer, O_RDONLY | O_DIRECTORY) : -1;

	return parent >= 0 && (unlinkat(parent, slash + 1, AT_REMOVEDIR) == 0 || errno == ENOENT);
}

int link_read(const struct root *root, const char *path, char *buffer, size_t size)
{
	auto_close int fd = -1;
	ssize_t length;

	/* nothing can lead out of the live root */
	if (!root->live)
		fd = file_open(root, path, O_PATH | O_NOFOLLOW);
	if (!root->live && fd < 0)
		return fd;
	length = root->live ? readlinkat(root->fd, path, buffer, size)
			    : readlinkat(fd, "", buffer, size);
	if (length < 0)
		return -errno;
	if ((size_t)length >= size)
		return -ENAMETOOLONG;
	buffer[length] = '\0';
	return 0;
}

bool file_exists(const struct root *root, const char *path)
{
	auto_close int fd = file_open(root, path, O_PATH);

	return fd >= 0;
}

bool path_is_link(const struct root *root, const char *path)
{
	char target[PATH_MAX];

	return link_read(root, path, target, sizeof(target)) == 0;
}

int link_read_name(const struct root *root, const char *path, char *buffer, size_t size)
{
	char target[PATH_MAX];
	const char *name;
	int r = link_read(root, path, target, sizeof(target));

	if (r < 0)
		return r;
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	if (strlen(name) >= size)
		return -ENAMETOOLONG;
	strcpy(buffer, name);
	return 0;
}

static bool is_folder(DIR *directory, const struct dirent *entry)
{
	struct stat status;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISDIR(status.st_mode);
}

static int list_folder(
	const struct root *root, const char *path, bool folders_only, struct names *ret)
{
	auto_close int fd = file_open(root, path, O_RDONLY | O_DIRECTORY);
	cleanup(names_done) struct names names = {0};
	auto_closedir DIR *directory = NULL;
	struct dirent *entry;

	if (fd < 0)
		return fd;
	directory = fdopendir(fd);
	if (!directory)
		return -errno;
	fd = -1;
	for (errno = 0; (entry = readdir(directory)); errno = 0) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
			(folders_only && !is_folder(directory, entry)))
			continue;
		if (names_add(&names, entry->d_name) < 0)
			return -ENOMEM;
	}
	if (errno)
		return -errno;
	names_sort(&names);
	*ret = names;
	names = (struct names){0};
	return 0;
}

int folder_list(const struct root *root, const char *path, struct names *ret)
{
	return list_folder(root, path, false, ret);
}

int folder_list_folders(const struct root *root, const char *path, struct names *ret)
{
	return list_folder(root, path, true, ret);
}
