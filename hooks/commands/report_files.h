/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/base/names.h"

/* The files of a fault report: a tree that --root reads as the host it was made on. */

#define REPORT_FOLDER "gpu-ferry-report"

struct report {
	const struct context *context;
	char stage[64];	      /* a folder that only we can enter */
	struct root tree;     /* REPORT_FOLDER in it */
	struct names nodes;   /* the names of the cluster's nodes, this one first */
	struct names private; /* names of guests that were left out */
	struct names files;   /* what is in the report */
	struct names unread;  /* what is there, but could not be read */
	bool no_cluster;      /* /etc/pve does not answer */
};

/* Makes the folder and copies into it what gpu-ferry reads of the host, without what is private. 0,
 * -ENOMEM or another -errno. The caller calls report_done also after a failure. */
int report_collect(const struct context *context, struct report *report, struct error *error);

/* Adds a text of ours to the report, without names and addresses. */
int report_add_text(struct report *report, const char *name, const char *text, struct error *error);

/* Removes the folder. */
void report_done(struct report *report);
