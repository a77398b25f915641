/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stddef.h>

/*
 * One program of gpu-ferry runs another: never by PATH. Into @path goes where @name is: the file
 * beside us when we run from a build folder, else @installed.
 *
 * A build folder is recognised by this: our own file has the name @own that the build gives it, and
 * does not stand in the folder @home, where it would be installed; the file beside it has the same
 * owner as ours, is a regular file that not everybody may write, and is not our own file again. So
 * a copy of us in somebody else's folder does not run that one's programs, and a copy under another
 * name, as the hookscript on a shared storage, does not run itself.
 */
void sibling_find(const char *own, const char *home, const char *name, const char *installed,
	char *path, size_t size);
