/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/operation/operation.h"

/*
 * The step `stop-unit`: stops a service of systemd's over D-Bus, as `systemctl stop` does, and its
 * undoing starts it again. Its argument is how many seconds either may take.
 */
extern const struct operation unit_operations[];
