/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads files in libconfig's syntax, without what libconfig would do wrong and say nothing. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <libconfig.h>

/* Reads a file of at most 256 kB that is root's and writable by nobody else; the caller frees
 * @ret_text. 0 or the errors of file_read. */
int config_text_read(
	const struct root *root, const char *path, char **ret_text, struct error *error);

/* Parses @text, which messages call @name. 0, or -EINVAL with "NAME:LINE: …" for wrong syntax,
 * @include, and a number that libconfig 1.5 would cut. The caller calls config_destroy(@ret) in
 * either case. */
int config_text_parse(const char *text, const char *name, config_t *ret, struct error *error);
