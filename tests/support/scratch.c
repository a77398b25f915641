/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scratch.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void scratch_init(struct scratch *scratch)
{
	strcpy(scratch->path, "/tmp/gpu-ferry-test-XXXXXX");
	cr_assert_not_null(mkdtemp(scratch->path));
	cr_assert_eq(root_open(scratch->path, &scratch->root, NULL), 0);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)kind;
	(void)where;
	return remove(path);
}

void scratch_done(struct scratch *scratch)
{
	root_close(&scratch->root);
	nftw(scratch->path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void make_folder_of(const struct scratch *scratch, const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash)
		return;
	snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
	cr_assert_eq(folder_make(&scratch->root, folder, 0755, NULL), 0, "%s", folder);
}

void scratch_write(const struct scratch *scratch, const char *path, const char *text)
{
	make_folder_of(scratch, path);
	cr_assert_eq(file_replace(&scratch->root, path, 0644, text, NULL), 0, "%s", path);
}

void scratch_link(const struct scratch *scratch, const char *path, const char *target)
{
	char full[PATH_MAX];

	make_folder_of(scratch, path);
	snprintf(full, sizeof(full), "%s/%s", scratch->path, path);
	cr_assert_eq(symlink(target, full), 0, "%s", path);
}
