/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry plan`: shows what the start of a VM would do. */

#include "commands.h"

#include "hooks/base/output.h"
#include "hooks/ferry/plan_output.h"
#include "hooks/ferry/vm_plan.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <string.h>

static struct json_object *format_addresses(const struct names *names)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; names && i < names->count; i++)
		json_object_array_add(array, json_object_new_string(names->names[i]));
	return array;
}

static struct json_object *format_device(const struct choice_entry *entry)
{
	struct json_object *object = json_object_new_object();
	struct json_object *alternatives = json_object_new_array();

	json_add_number(object, "hostpci", entry->index);
	json_object_object_add(object, "addresses", format_addresses(choice_addresses(entry)));
	for (size_t i = 0; i < entry->alternatives.count; i++)
		json_object_array_add(
			alternatives, format_addresses(&entry->alternatives.lists[i]));
	json_object_object_add(object, "alternatives", alternatives);
	json_add_text_or_null(object, "mapping", entry->hostpci.mapping);
	json_add_text_or_null(object, "mdev", entry->hostpci.mdev);
	json_object_object_add(object, "keep", json_object_new_boolean(entry->hostpci.keep_driver));
	json_add_text_or_null(object, "error", entry->error.status < 0 ? entry->error.message : "");
	return object;
}

static int print_json(const struct context *context, unsigned int vmid, const struct vm_plan *guest,
	struct error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *devices = json_object_new_array();

	json_add_number(object, "vmid", vmid);
	json_add_text(object, "ostype", vm_config_ostype(&guest->resolved.config));
	for (size_t i = 0; i < guest->resolved.choice.count; i++)
		json_object_array_add(devices, format_device(&guest->resolved.choice.entries[i]));
	json_object_object_add(object, "devices", devices);
	plan_output_json(context, object, &guest->plan);
	return output_json(context, object, error);
}

static void print_devices(const struct choice *choice)
{
	for (size_t i = 0; i < choice->count; i++) {
		const struct choice_entry *entry = &choice->entries[i];
		const struct names *addresses = choice_addresses(entry);

		output_print("  hostpci%u:", entry->index);
		for (size_t k = 0; addresses && k < addresses->count; k++)
			output_print(" %s", addresses->names[k]);
		if (entry->hostpci.mapping)
			output_print(" (mapping %s, %zu alternatives)", entry->hostpci.mapping,
				entry->alternatives.count);
		if (entry->mediated)
			output_print(" (mediated device: not handled by gpu-ferry)");
		if (entry->hostpci.keep_driver)
			output_print(" (driver=keep)");
		puts(entry->chosen < 0 ? " (cannot be resolved)" : "");
	}
}

static const struct loan *find_loan(const struct vm_plan *guest, unsigned int vmid)
{
	return loans_find_owner(
		&guest->loans, &(const struct loan_owner){.kind = LOAN_OWNER_VM, .vmid = vmid});
}

static int print_text(const struct context *context, unsigned int vmid, const struct vm_plan *guest,
	struct error *error)
{
	const struct vm_config *config = &guest->resolved.config;
	const char *name = vm_config_get(config, "name");
	int r;

	output_print("VM %u (%s%sostype %s%s)\n", vmid, name ? name : "", name ? ", " : "",
		vm_config_ostype(config),
		vm_config_is_template(config) ? ", a template: nothing is done" : "");
	if (guest->resolved.choice.count == 0 && !config->ignored_count)
		puts("  no hostpci: nothing to do");
	print_devices(&guest->resolved.choice);
	for (size_t i = 0; i < config->warnings.count; i++)
		output_print("  Proxmox VE ignores a line of the config: %s\n",
			config->warnings.names[i]);
	r = plan_output_text(context, &guest->plan, error);
	if (r == 0 && guest->plan.steps.count && !guest->plan.blocker_count &&
		!find_loan(guest, vmid))
		output_next(context, "qm start %u", vmid);
	return r;
}

/* ---- the way back */

static const struct loan_function *find_function(
	const struct vm_plan *guest, const struct loan *loan, const char *address)
{
	if (loan)
		return loan_find(loan, address);
	for (size_t i = 0; i < guest->plan.function_count; i++) {
		if (strcmp(guest->plan.functions[i].now.address, address) == 0)
			return &guest->plan.functions[i].loan;
	}
	return NULL;
}

/* What undoing @step does, as people see it; false: nothing of its own. */
static bool tell_undoing(const struct vm_plan *guest, const struct loan *loan,
	const struct step *step, char *buffer, size_t size)
{
	const struct loan_function *function = find_function(guest, loan, step->subject);

	if (function && strcmp(step->operation, "bind") == 0)
		snprintf(buffer, size, "%s: from %s back to %s", function->address,
			function->target,
			*function->home_driver ? function->home_driver : "no driver");
	else if (!function && strcmp(step->operation, "load") != 0)
		snprintf(buffer, size, "undo: %s %s", step->operation, step->subject);
	else
		return false;
	return true;
}

/* What VM's stop would do: by the loan, or, before a start, by the plan. */
static int print_return(const struct context *context, unsigned int vmid,
	const struct vm_plan *guest, struct error *error)
{
	const struct loan *loan = find_loan(guest, vmid);
	const struct steps *steps = loan ? &loan->steps : &guest->plan.steps;
	struct json_object *object = json_object_new_object();
	struct json_object *array = json_object_new_array();
	bool is_text = context->output == OUTPUT_TEXT;
	char line[STEP_TEXT_SIZE + 64];

	json_add_number(object, "vmid", vmid);
	json_object_object_add(object, "lent", json_object_new_boolean(loan != NULL));
	json_object_object_add(object, "return", array);
	if (is_text)
		output_print("VM %u %s\n", vmid,
			loan ? "has a loan; its stop returns, in this order:"
			     : "has nothing now; after a start, its stop would return, in this "
			       "order:");
	for (size_t i = steps->count; i-- > 0;) {
		if (!tell_undoing(guest, loan, &steps->items[i], line, sizeof(line)))
			continue;
		json_object_array_add(array, json_object_new_string(line));
		if (is_text)
			output_print("  %s\n", line);
	}
	if (is_text && !json_object_array_length(array))
		puts("  nothing");
	if (!is_text)
		return output_json(context, object, error);
	json_object_put(object);
	return output_flush(error);
}

/* ---- the command */

struct plan_options {
	bool way_back;
};

static int run_plan(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct plan_options *options = data;
	cleanup(vm_plan_done) struct vm_plan guest = {0};
	unsigned int vmid;
	int r;

	if (!arguments[0] || arguments[1])
		return error_set(error, USAGE, "plan takes one VMID");
	if (parse_vmid(arguments[0], &vmid) < 0)
		return error_set(
			error, USAGE, "'%s' is not a VMID (100 to 999999999)", arguments[0]);
	r = vm_plan_make(context, vmid, NULL, &guest, error);
	if (r == 0 && options->way_back)
		return print_return(context, vmid, &guest, error);
	if (r == 0)
		r = context->output == OUTPUT_TEXT ? print_text(context, vmid, &guest, error)
						   : print_json(context, vmid, &guest, error);
	if (r < 0)
		return error_wrap(error, r, "plan for VM %u", vmid);
	if (guest.plan.blocker_count) {
		r = take_refusal(&guest.plan, error);
		/* these come last: nothing else is in the way */
		if (guest.plan.blockers[0].code == BLOCKER_IGNORED)
			return error_wrap(error, r, "VM %u would start without a device", vmid);
		return error_wrap(error, r, "VM %u would not start", vmid);
	}
	return 0;
}

#define AT(field) offsetof(struct plan_options, field)

static const struct command_option options_of_plan[] = {
	{"return", 0, NULL, "show what a stop of the VM would do", AT(way_back)},
	{0},
};

const struct command command_plan = {
	.name = "plan",
	.arguments = "VMID",
	.options = options_of_plan,
	.options_size = sizeof(struct plan_options),
	.example = "gpu-ferry plan 104",
	.run = run_plan,
};
