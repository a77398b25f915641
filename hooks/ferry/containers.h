/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/operation/operation.h"

/* The step `stop-container`: `pct shutdown` of a Proxmox VE container; its undo is `pct start`. Its
 * argument is how many seconds each of the two may take. */
extern const struct operation container_operations[];
