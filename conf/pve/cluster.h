/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reading below /etc/pve, which is a FUSE file system and may never answer. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stddef.h>

#define CLUSTER_DEADLINE_MS 10000u

struct cluster_request {
	/* Reads something into malloced, NUL-terminated text. With the live root it runs in a child
	 * process: what else it leaves behind @context does not come back. */
	int (*read)(const struct root *root, void *context, char **ret_text, size_t *ret_length,
		struct error *error);
	void *context;
	size_t max;		  /* the most bytes that @read gives back */
	unsigned int deadline_ms; /* 0: CLUSTER_DEADLINE_MS */
};

/* Runs @request: as it is on a captured tree, in a child with a deadline on the live root. Returns
 * 0 with text that the caller frees, what @read returned with its message, -ETIMEDOUT, or -errno of
 * starting a child. */
int cluster_read(const struct root *root, const struct cluster_request *request, char **ret_text,
	size_t *ret_length, struct error *error);
