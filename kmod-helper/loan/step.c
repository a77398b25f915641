/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A growing list of steps. */

#include "step.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

struct step *steps_insert(struct steps *steps, size_t index, const struct step *step)
{
	struct step *grown = reallocarray(steps->items, steps->count + 1, sizeof(*grown));

	if (!grown)
		return NULL;
	steps->items = grown;
	memmove(&grown[index + 1], &grown[index], (steps->count - index) * sizeof(*grown));
	grown[index] = *step;
	steps->count++;
	return &grown[index];
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
