/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Growing arrays: an array and its count, which stand in a struct of any kind. */

#include <stddef.h>
#include <string.h>

/* The array @items with room for @more behind its @count items of @size bytes. The room grows in
 * powers of two. Returns the array, which may have moved, or NULL without memory: then @items is as
 * it was. @items may be NULL. */
void *list_grow(void *items, size_t count, size_t more, size_t size);

/* Appends an item of zeros to the array @items (NULL at first), and adds one to @count. Both are
 * changed in place. Gives a pointer to the item, or NULL without memory: then nothing has changed.
 */
#define LIST_ADD(items, count)                                                                     \
	({                                                                                         \
		__typeof__(items) added_ = list_grow((items), (count), 1, sizeof(*(items)));       \
		if (added_) {                                                                      \
			(items) = added_;                                                          \
			added_ += (count)++;                                                       \
			memset(added_, 0, sizeof(*added_));                                        \
		}                                                                                  \
		added_;                                                                            \
	})
