/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads below /etc/pve, which is a FUSE file system and may never answer. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stddef.h>

#define CLUSTER_DEADLINE_MS 10000u

struct cluster_request {
	/* Reads something into malloced, NUL-terminated text. With the live root it runs in a
	 * thread, on a copy of @context: what it changes there does not come back, and @context
	 * must not point to what the caller may free. */
	int (*read)(const struct root *root, void *context, char **ret_text, size_t *ret_length,
		struct error *error);
	void *context;
	size_t context_size;
	unsigned int deadline_ms; /* 0: CLUSTER_DEADLINE_MS */
};

/* Runs @request: as it is on a captured tree, in a thread with a deadline on the live root. (A
 * child process, which could be killed, costs as much as the whole of the hookscript besides.)
 * Returns 0 with text that the caller frees, what @read returned with its message, -ETIMEDOUT, or
 * -errno of starting a thread. */
int cluster_read(const struct root *root, const struct cluster_request *request, char **ret_text,
	size_t *ret_length, struct error *error);
