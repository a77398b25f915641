/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/process.h"
#include <stdbool.h>

/* What sd_booted(3) asks for: does systemd run this host? */
bool has_systemd(void);

#define OUTSIDE_ARGUMENTS_MAX 12

/* Runs @arguments (at most OUTSIDE_ARGUMENTS_MAX, NULL at the end) as process_run does, but where
 * systemd runs, started by it. The watch is in a sandbox (gpu-ferry-watch.service) in which no
 * program can mount a storage or change users. As process_run; -errno when the program is missing.
 */
int outside_run(
	const char *const *arguments, const struct process_options *options, struct error *error);
