/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/*
 * Finds the file of another gpu-ferry program, without PATH. @path becomes the file @name beside us
 * when we run from a build folder, else @installed.
 *
 * We run from a build folder when our own file has the name @own, which the build gives it, and is
 * not in @home, where it would be installed. The file beside us must have the same owner as ours,
 * be a regular file that not everybody may write, and not be our own file again. So a copy of us in
 * somebody else's folder does not run that person's programs, and a copy under another name, such
 * as the hookscript on a shared storage, does not run itself.
 */
void sibling_find(const char *own, const char *home, const char *name, const char *installed,
	char *path, size_t size);
