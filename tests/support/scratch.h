/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/file.h"

/* A tree of files below /tmp for one test, removed by scratch_done. A call that fails ends the
 * test. */
struct scratch {
	char path[32];
	struct root root;
};

void scratch_init(struct scratch *scratch);
void scratch_done(struct scratch *scratch);

/* Makes the file and the folders above it. */
void scratch_write(const struct scratch *scratch, const char *path, const char *text);
void scratch_link(const struct scratch *scratch, const char *path, const char *target);
