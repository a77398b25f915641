/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/operation/operation.h"

/*
 * The step `stop-unit`: `systemctl stop` of a service, and for its undoing `systemctl start`. Its
 * argument is how many seconds either may take.
 */
extern const struct operation unit_operations[];
