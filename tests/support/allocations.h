/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Lets one allocation of a test's choosing fail, in the program and in every library. */

#include <stdbool.h>

/* False under the address sanitizer, which has an allocator of its own. */
bool allocations_can_fail(void);

/* The allocation number @number from now on fails (1: the next); with @all those after it too. */
void allocations_fail(unsigned long number, bool all);

/* No more of them fail. True when one did. */
bool allocations_work(void);
