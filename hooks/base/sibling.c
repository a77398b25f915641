/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the other programs of gpu-ferry: where they are installed, or beside us in a build folder.
 */

#include "sibling.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWN_FILE "/proc/self/exe"

/* Finds our own folder and name; false when they cannot be known, for example without /proc. */
static bool find_own(char *folder, size_t size, const char **ret_name)
{
	ssize_t length = readlink(OWN_FILE, folder, size - 1);
	char *slash;

	if (length <= 0 || (size_t)length == size - 1)
		return false;
	folder[length] = '\0';
	slash = strrchr(folder, '/');
	if (!slash)
		return false;
	*slash = '\0';
	*ret_name = slash + 1;
	return true;
}

static bool is_trusted(const char *path)
{
	struct stat own, other;

	return stat(OWN_FILE, &own) == 0 && lstat(path, &other) == 0 && S_ISREG(other.st_mode) &&
		other.st_uid == own.st_uid && !(other.st_mode & S_IWOTH) &&
		!(own.st_dev == other.st_dev && own.st_ino == other.st_ino);
}

void sibling_find(const char *own, const char *home, const char *name, const char *installed,
	char *path, size_t size)
{
	char folder[PATH_MAX];
	const char *own_name = NULL;

	if (find_own(folder, sizeof(folder), &own_name) && strcmp(own_name, own) == 0 &&
		strcmp(folder, home) != 0 &&
		(size_t)snprintf(path, size, "%s/%s", folder, name) < size && is_trusted(path))
		return;
	snprintf(path, size, "%s", installed);
}
