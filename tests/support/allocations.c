/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Takes the allocator's place in the test program, and lets one allocation fail. */

#include "allocations.h"

#include <errno.h>
#include <stddef.h>

static unsigned long countdown; /* 0: none fails */
static bool all_after, has_failed;

void allocations_fail(unsigned long number, bool all)
{
	has_failed = false;
	all_after = all;
	countdown = number;
}

bool allocations_work(void)
{
	countdown = 0;
	return has_failed;
}

#ifdef __SANITIZE_ADDRESS__

bool allocations_can_fail(void)
{
	return false;
}

#else

/* glibc's own, under the names that it keeps for those who take its place */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *pointer, size_t size);

bool allocations_can_fail(void)
{
	return true;
}

static bool fails(void)
{
	if (countdown != 1) {
		countdown -= countdown != 0;
		return false;
	}
	countdown = all_after;
	has_failed = true;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size)
{
	return fails() ? NULL : __libc_realloc(pointer, size);
}

#endif
