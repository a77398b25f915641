/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Growing arrays: makes room at their end. */

#include "list.h"

#include <stdint.h>
#include <stdlib.h>

void *list_grow(void *items, size_t count, size_t more, size_t size)
{
	size_t room = 4;

	if (more > SIZE_MAX / 4 || count > SIZE_MAX / 4)
		return NULL;
	while (room < count + more)
		room *= 2;
	/* when there is that much already, the C library gives the same array back at once */
	return reallocarray(items, room, size);
}
