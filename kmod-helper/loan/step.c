/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A growing list of steps. */

#include "step.h"

#include "kmod-helper/base/list.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

struct step *steps_insert(struct steps *steps, size_t index, const struct step *step)
{
	struct step *place = LIST_ADD(steps->items, steps->count);

	if (!place)
		return NULL;
	place = &steps->items[index];
	memmove(place + 1, place, (steps->count - 1 - index) * sizeof(*place));
	*place = *step;
	return place;
}

struct step *steps_add(struct steps *steps, const struct step *step)
{
	return steps_insert(steps, steps->count, step);
}

void steps_remove(struct steps *steps, size_t index)
{
	json_object_put(steps->items[index].record);
	steps->count--;
	memmove(&steps->items[index], &steps->items[index + 1],
		(steps->count - index) * sizeof(*steps->items));
}

void steps_done(struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		json_object_put(steps->items[i].record);
	free(steps->items);
	*steps = (struct steps){0};
}
