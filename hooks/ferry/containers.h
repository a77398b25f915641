/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/operation/operation.h"

/*
 * The step `stop-container`: `pct shutdown` of a container of Proxmox VE, and for its undoing `pct
 * start`. Its argument is how many seconds either may take.
 */
extern const struct operation container_operations[];
