/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Prints a plan as text or JSON. */

#include "plan_output.h"

#include "hooks/base/output.h"
#include "hooks/base/table.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/device/pci_names.h"
#include "operations.h"
#include <errno.h>
#include <string.h>

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

/* ---- text */

static const char *or_none(const char *text)
{
	return *text ? text : "no driver";
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

static int print_every_step(
	const struct context *context, const struct plan *plan, struct error *error)
{
	cleanup(table_done) struct table steps = {.column_count = 4};

	if (add_steps(&steps, plan) < 0)
		return error_set_errno(error, -ENOMEM, "format the plan");
	if (plan->steps.count)
		puts("every step:");
	return table_print(&steps, context, error);
}

/* What a plan is printed from, one line for each function. */
struct summary {
	const struct context *context;
	const struct plan *plan;
	struct device_names *names; /* NULL: without; reading them costs more than the plan */
	bool *is_told;		    /* of each function */
	int driver_width;
	int screen;
};

static void print_function(struct summary *summary, size_t index)
{
	const struct plan_function *function = &summary->plan->functions[index];
	const char *driver = or_none(function->now.driver), *target = function->loan.target;
	const char *address = screen_address(function->now.address);
	char name[160] = "", group[40] = "no group", text[512];

	summary->is_told[index] = true;
	if (summary->names)
		device_name_short(summary->names, function->now.vendor_id, function->now.device_id,
			name, sizeof(name));
	if (function->now.iommu_group != PCI_NO_GROUP)
		snprintf(group, sizeof(group), "group %ld", function->now.iommu_group);
	if (strcmp(driver, target) == 0)
		snprintf(text, sizeof(text), "  %s  stays on %s  %s%s%s", address, target, group,
			*name ? "  " : "", name);
	else
		snprintf(text, sizeof(text), "  %s  %-*s -> %s  %s%s%s", address,
			summary->driver_width, driver, target, group, *name ? "  " : "", name);
	text_make_line(text);
	screen_print(text, summary->screen);
	putchar('\n');
}

static void print_step(const struct summary *summary, const struct step *step)
{
	const struct operation *const *tables = operations_executor(summary->context).tables;
	const struct operation *operation = operation_find(tables, step->operation);
	char text[STEP_TEXT_SIZE * 2];

	if (operation) {
		operation_describe(operation, step, APPLY, text, sizeof(text));
		output_print("  %s%s%s%s\n", text, *step->why ? " (" : "", step->why,
			*step->why ? ")" : "");
	}
}

/* The index of the function that @step is about, first of all that of the step before. */
static size_t find_function(const struct plan *plan, const struct step *step, size_t last)
{
	size_t i = 0;

	if (last < plan->function_count &&
		strcmp(plan->functions[last].now.address, step->subject) == 0)
		return last;
	while (i < plan->function_count &&
		strcmp(plan->functions[i].now.address, step->subject) != 0)
		i++;
	return i;
}

static void print_steps(struct summary *summary)
{
	const struct plan *plan = summary->plan;
	size_t last = plan->function_count;

	for (size_t i = 0; i < plan->steps.count; i++) {
		const struct step *step = &plan->steps.items[i];

		last = find_function(plan, step, last);
		if (last < plan->function_count && !summary->is_told[last])
			print_function(summary, last);
		if (last == plan->function_count || strcmp(step->operation, "set") == 0)
			print_step(summary, step);
	}
}

/* One line for each function, in the order in which they move, amid the other steps. */
static int print_summary(
	const struct context *context, const struct plan *plan, struct error *error)
{
	auto_free bool *is_told = calloc(plan->function_count + 1, sizeof(*is_told));
	struct summary summary = {
		.context = context, .plan = plan, .is_told = is_told, .screen = screen_columns()};
	int r = 0;

	if (!is_told)
		return error_set_errno(error, -ENOMEM, "format the plan");
	if (plan->function_count && summary.screen)
		r = device_names_open(&context->kernel.root, &summary.names, error);
	for (size_t i = 0; i < plan->function_count; i++) {
		int width = (int)strlen(or_none(plan->functions[i].now.driver));

		if (is_shown(&plan->functions[i]) && width > summary.driver_width)
			summary.driver_width = width;
	}
	print_steps(&summary);
	for (size_t i = 0; i < plan->function_count; i++) {
		if (!is_told[i] && is_shown(&plan->functions[i]))
			print_function(&summary, i);
	}
	device_names_close(summary.names);
	return r;
}

static void print_remark(const char *colour, const char *kind, const char *text)
{
	screen_paint(colour, colour);
	output_print("  %s%s%s", kind, *kind ? ": " : "", text);
	screen_paint(colour, NULL);
	putchar('\n');
}

int plan_output_text(const struct context *context, const struct plan *plan, struct error *error)
{
	bool coloured = screen_has_colours(context);
	int r;

	if (plan->function_count || plan->steps.count)
		puts(plan->steps.count ? "steps:" : "functions:");
	r = print_summary(context, plan, error);
	if (r == 0 && context->log_level >= LOG_DEBUG)
		r = print_every_step(context, plan, error);
	if (plan->function_count && !plan->steps.count && !plan->blocker_count)
		puts("nothing to do: everything is where the VM needs it");
	if (plan->notice_count)
		puts("notes:");
	for (size_t i = 0; i < plan->notice_count; i++)
		print_remark(plan->notices[i].is_warning && coloured ? COLOUR_YELLOW : NULL,
			plan->notices[i].is_warning ? "WARNING" : "", plan->notices[i].message);
	if (plan->blocker_count)
		puts("blockers:");
	for (size_t i = 0; i < plan->blocker_count; i++)
		print_remark(coloured ? COLOUR_ALARM : NULL, blocker_name(plan->blockers[i].code),
			plan->blockers[i].message);
	/* print this before the refusal on stderr */
	return r < 0 ? r : output_flush(error);
}
