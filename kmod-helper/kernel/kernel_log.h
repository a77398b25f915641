/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Finds in @log (kernel_ops.follow_log) the first warning or error about the device @address, or of
 * NVIDIA's driver, whose messages do not all name the device; as one line. False when there is
 * none. Reads what is there now, and does not wait. */
bool kernel_log_find(int log, const char *address, char *ret, size_t size);
