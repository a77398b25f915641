/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/plan/plan.h"
#include <json-c/json.h>

/* Prints a plan for people and for programs: for `plan`, and for --dry-run of the commands that
 * execute it. */

/* Adds functions, steps and blockers to @object. */
void plan_output_json(
	const struct context *context, struct json_object *object, const struct plan *plan);
int plan_output_text(const struct context *context, const struct plan *plan, struct error *error);
