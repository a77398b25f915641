/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry plan`: shows what the start of a VM would do. */

#include "commands.h"

#include "hooks/base/output.h"
#include "hooks/ferry/plan_output.h"
#include "hooks/ferry/vm_plan.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"

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

static int print_text(unsigned int vmid, const struct vm_plan *guest, struct error *error)
{
	const struct vm_config *config = &guest->resolved.config;

	output_print("VM %u (ostype %s%s)\n", vmid, vm_config_ostype(config),
		vm_config_is_template(config) ? ", a template: nothing is done" : "");
	if (guest->resolved.choice.count == 0)
		puts("  no hostpci: nothing to do");
	print_devices(&guest->resolved.choice);
	for (size_t i = 0; i < config->warnings.count; i++)
		output_print("  Proxmox VE ignores a line of the config: %s\n",
			config->warnings.names[i]);
	return plan_output_text(&guest->plan, error);
}

static int run_plan(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	cleanup(vm_plan_done) struct vm_plan guest = {0};
	unsigned int vmid;
	int r;

	(void)data;
	if (!arguments[0] || arguments[1])
		return error_set(error, USAGE, "plan takes one VMID");
	if (parse_vmid(arguments[0], &vmid) < 0)
		return error_set(
			error, USAGE, "'%s' is not a VMID (100 to 999999999)", arguments[0]);
	r = vm_plan_make(context, vmid, NULL, &guest, error);
	if (r == 0)
		r = context->output == OUTPUT_TEXT ? print_text(vmid, &guest, error)
						   : print_json(context, vmid, &guest, error);
	if (r < 0)
		return error_wrap(error, r, "plan for VM %u", vmid);
	if (guest.plan.blocker_count) {
		r = take_refusal(&guest.plan, error);
		return error_wrap(error, r, "VM %u would not start", vmid);
	}
	return 0;
}

const struct command command_plan = {
	.name = "plan",
	.arguments = "VMID",
	.example = "gpu-ferry plan 104",
	.run = run_plan,
};
