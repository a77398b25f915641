/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Prints a plan as text or JSON. */

#include "plan_output.h"

#include "hooks/base/output.h"
#include "hooks/base/table.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>

static bool is_shown(const struct plan_function *function)
{
	return function->loan.use != LOAN_ALTERNATIVE;
}

static struct json_object *format_function(const struct plan_function *function)
{
	struct json_object *object = json_object_new_object();
	long group = function->now.iommu_group;

	json_add_text(object, "address", function->now.address);
	json_object_object_add(
		object, "iommu_group", group == PCI_NO_GROUP ? NULL : json_object_new_int64(group));
	json_add_text_or_null(object, "driver", function->now.driver);
	json_add_text(object, "target", function->loan.target);
	return object;
}

static struct json_object *format_step(const struct step *step)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "operation", step->operation);
	json_add_text(object, "subject", step->subject);
	json_add_text_or_null(object, "argument", step->argument);
	json_add_text(object, "why", step->why);
	return object;
}

static struct json_object *format_blocker(const struct blocker *blocker)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "code", blocker_name(blocker->code));
	json_add_text(object, "message", blocker->message);
	return object;
}

static struct json_object *format_notices(const struct plan *plan)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < plan->notice_count; i++) {
		struct json_object *object = json_object_new_object();

		json_add_text_or_null(object, "address", plan->notices[i].address);
		json_add_text(object, "level", plan->notices[i].is_warning ? "warning" : "notice");
		json_add_text(object, "message", plan->notices[i].message);
		json_object_array_add(array, object);
	}
	return array;
}

void plan_output_json(
	const struct context *context, struct json_object *object, const struct plan *plan)
{
	struct json_object *functions = json_object_new_array();
	struct json_object *steps = json_object_new_array();
	struct json_object *blockers = json_object_new_array();

	for (size_t i = 0; i < plan->function_count; i++) {
		if (is_shown(&plan->functions[i]))
			json_object_array_add(functions, format_function(&plan->functions[i]));
	}
	for (size_t i = 0; i < plan->steps.count; i++)
		json_object_array_add(steps, format_step(&plan->steps.items[i]));
	for (size_t i = 0; i < plan->blocker_count; i++)
		json_object_array_add(blockers, format_blocker(&plan->blockers[i]));
	json_object_object_add(object, "functions", functions);
	json_object_object_add(object, "steps", steps);
	json_add_holders(
		object, "holders", holders_can_be_known(context) ? &plan->holders : NULL, NULL);
	json_object_object_add(object, "blockers", blockers);
	json_object_object_add(object, "notices", format_notices(plan));
}

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static int add_functions(struct table *table, const struct plan *plan)
{
	for (size_t i = 0; i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];
		char group[32] = "no group";

		if (!is_shown(function))
			continue;
		if (function->now.iommu_group != PCI_NO_GROUP)
			snprintf(group, sizeof(group), "group %ld", function->now.iommu_group);
		if (table_add(table, "  %s", function->now.address) < 0 ||
			table_add(table, "%s", group) < 0 ||
			table_add(table, "%s", or_dash(function->now.driver)) < 0 ||
			table_add(table, "-> %s", function->loan.target) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_steps(struct table *table, const struct plan *plan)
{
	for (size_t i = 0; i < plan->steps.count; i++) {
		const struct step *step = &plan->steps.items[i];

		if (table_add(table, "  %zu. %s", i + 1, step->operation) < 0 ||
			table_add(table, "%s", step->subject) < 0 ||
			table_add(table, "%s", step->argument) < 0 ||
			table_add(table, "%s", step->why) < 0)
			return -ENOMEM;
	}
	return 0;
}

int plan_output_text(const struct context *context, const struct plan *plan, struct error *error)
{
	cleanup(table_done) struct table functions = {.column_count = 4};
	cleanup(table_done) struct table steps = {.column_count = 4};
	int r;

	if (add_functions(&functions, plan) < 0 || add_steps(&steps, plan) < 0)
		return error_set_errno(error, -ENOMEM, "format the plan");
	if (plan->function_count)
		puts("functions:");
	r = table_print(&functions, context, error);
	if (r == 0 && plan->steps.count)
		puts("steps:");
	else if (r == 0 && plan->function_count && !plan->blocker_count)
		puts("nothing to do: everything is where the VM needs it");
	if (r == 0)
		r = table_print(&steps, context, error);
	if (r == 0 && plan->notice_count)
		puts("notes:");
	for (size_t i = 0; i < plan->notice_count; i++)
		output_print("  %s%s\n", plan->notices[i].is_warning ? "WARNING: " : "",
			plan->notices[i].message);
	if (r == 0 && plan->blocker_count)
		puts("blockers:");
	for (size_t i = 0; i < plan->blocker_count; i++)
		output_print("  %s: %s\n", blocker_name(plan->blockers[i].code),
			plan->blockers[i].message);
	/* print this before the refusal on stderr */
	return fflush(stdout) == EOF ? error_set_errno(error, -EIO, "write the plan") : r;
}
