/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"

/* A container's pre-start: it may start when the cards whose nodes it is given are at home.
 * Otherwise, as `container_start` in the settings says, it is refused (-EBUSY), waits for them, or
 * is refused and started when they are home: then the start stands in the loan as if the container
 * had made room. NVIDIA's nodes, which no kernel makes, are made first. 0, -EBUSY, or -errno. */
int container_start(struct context *context, unsigned int ctid, struct error *error);
