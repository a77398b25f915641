/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Compares two versions of a text file: shows the difference, and undoes one change when others
 * have been made since (a three-way merge by lines, and where lines collide, by words). */

#include "kmod-helper/base/error.h"

/* The change from @before to @after as a unified diff; NULL stands for no file. "" when there is
 * none. *@ret is malloced. Returns 0, -ENOMEM, or -EFBIG when the texts are too long to compare. */
int revision_diff(
	const char *path, const char *before, const char *after, char **ret, struct error *error);

/* Takes the change from @original to @written out of @current, which may have changed since. If
 * both inserted at the same place, both insertions stay. Returns 0, -ENOMEM, -EFBIG as above, or
 * -EUCLEAN when a place was changed in both ways: the message then names the line of @current.
 * *@ret is malloced, and untouched on failure. */
int revision_revert(const char *original, const char *written, const char *current, char **ret,
	struct error *error);

/* What remains of @current without the lines of @written: what somebody else added to, or changed
 * in, a file of ours. Returns 0, -ENOMEM or -EFBIG. *@ret is malloced. */
int revision_remove(const char *written, const char *current, char **ret, struct error *error);
