/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/loan/step.h"
#include <stdbool.h>

/* What the steps that stop a service or a container have in common: their names and their time
 * limit. */

#define STOP_UNIT "stop-unit"
#define STOP_CONTAINER "stop-container"

/* The time that such a step has beyond its own limit: for pct, and for systemd to answer. */
#define STOP_STEP_GRACE_MS 30000u

/* The time limit in ms, from the argument of a `stop-` step: "60" means seconds. */
unsigned int stop_step_ms(const struct step *step);
/* How long the executor lets it run. */
unsigned int stop_step_deadline_ms(const struct step *step);

/* A step of @operation, one of the two, that may take @seconds. */
struct step stop_step_make(const char *operation, const char *subject, unsigned int seconds);
/* Why pct or systemctl failed: the last line of its output, which is cut. systemctl adds where to
 * read more, in a line of its own; so do we, in ours. */
const char *stop_step_reason(char *output);

bool stop_step_is(const struct step *step);
