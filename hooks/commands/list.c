/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "commands.h"

#include "hooks/output.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/host_use.h"
#include "kmod-helper/names.h"
#include "kmod-helper/pci.h"
#include <errno.h>
#include <string.h>

/* What `list` says of one function, gathered from sysfs and the loans. */
struct row {
	const struct pci_function *function;
	const struct loan *loan;
	const char *home_driver;
	char name[160];
	char host_use[128]; /* "network interface eno1 is up"; "" none */
};

static struct row make_row(const struct context *context, const struct pci_function *function,
	const struct loans *loans, struct device_names *names)
{
	const struct loan *loan = loans_find_user(loans, function->address);
	struct row row = {
		.function = function,
		.loan = loan,
		.home_driver =
			loan ? loan_find(loan, function->address)->home_driver : function->driver,
	};

	device_name(names, function->vendor_id, function->device_id, row.name, sizeof(row.name));
	/* below a bridge are other functions; a lent one may have a stuck driver */
	if (function->bridge || loan ||
		!host_use_find(
			&context->kernel, function->address, row.host_use, sizeof(row.host_use)))
		row.host_use[0] = '\0';
	return row;
}

static void add_id(struct json_object *object, const char *key, uint16_t id)
{
	char text[8];

	snprintf(text, sizeof(text), "%04x", id);
	json_add_text(object, key, text);
}

static struct json_object *format_row(const struct row *row)
{
	const struct pci_function *function = row->function;
	struct json_object *object = json_object_new_object();

	json_add_text(object, "address", function->address);
	json_add_text(object, "name", row->name);
	add_id(object, "vendor_id", function->vendor_id);
	add_id(object, "device_id", function->device_id);
	add_id(object, "subsystem_vendor_id", function->subsystem_vendor_id);
	add_id(object, "subsystem_device_id", function->subsystem_device_id);
	add_id(object, "class", function->class_code);
	json_object_object_add(object, "iommu_group",
		function->iommu_group == PCI_NO_GROUP
			? NULL
			: json_object_new_int64(function->iommu_group));
	json_add_text_or_null(object, "driver", function->driver);
	json_add_text_or_null(object, "home_driver", row->home_driver);
	json_add_owner(object, "lent_to", row->loan ? &row->loan->owner : NULL);
	json_add_text_or_null(object, "host_use", row->host_use);
	json_object_object_add(
		object, "boot_display", json_object_new_boolean(function->boot_display));
	json_add_text_or_null(object, "power_state", function->power_state);
	return object;
}

static int add_head(struct table *table)
{
	static const char *const heads[] = {
		"ADDRESS", "IDS", "CLASS", "GROUP", "DRIVER", "HOME", "LENT TO", "POWER", "NAME"};
	int r = 0;

	table->columns = sizeof(heads) / sizeof(heads[0]);
	for (size_t i = 0; r == 0 && i < table->columns; i++)
		r = table_add(table, "%s", heads[i]);
	return r;
}

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

static int add_row(struct table *table, const struct row *row)
{
	const struct pci_function *function = row->function;
	char group[24] = "-", owner[32] = "-";

	if (function->iommu_group != PCI_NO_GROUP)
		snprintf(group, sizeof(group), "%ld", function->iommu_group);
	if (row->loan)
		loan_owner_format(&row->loan->owner, owner, sizeof(owner));
	if (table_add(table, "%s", function->address) < 0 ||
		table_add(table, "%04x:%04x", function->vendor_id, function->device_id) < 0 ||
		table_add(table, "%04x", function->class_code) < 0 ||
		table_add(table, "%s", group) < 0 ||
		table_add(table, "%s", or_dash(function->driver)) < 0 ||
		table_add(table, "%s", or_dash(row->home_driver)) < 0 ||
		table_add(table, "%s", owner) < 0 ||
		table_add(table, "%s", or_dash(function->power_state)) < 0 ||
		table_add(table, "%s%s%s%s%s", row->name,
			function->boot_display ? " (boot display)" : "", *row->host_use ? " (" : "",
			row->host_use, *row->host_use ? ")" : "") < 0)
		return -ENOMEM;
	return 0;
}

/* A GPU's audio and USB functions belong to the picture, a NIC does not: by default the displays.
 */
static bool is_shown(const struct context *context, const struct pci_function *function)
{
	return context->all || pci_is_display(function);
}

static int print_table(const struct context *context, const struct pci_functions *host,
	const struct loans *loans, struct device_names *names, struct error *error)
{
	cleanup(table_done) struct table table = {0};
	int r = add_head(&table);

	for (size_t i = 0; r == 0 && i < host->count; i++) {
		struct row row = make_row(context, &host->items[i], loans, names);

		if (is_shown(context, &host->items[i]))
			r = add_row(&table, &row);
	}
	if (r < 0)
		return error_set_errno(error, r, "format the list");
	return table_print(&table, error);
}

static int print_json(const struct context *context, const struct pci_functions *host,
	const struct loans *loans, struct device_names *names, struct error *error)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < host->count; i++) {
		struct row row = make_row(context, &host->items[i], loans, names);

		if (is_shown(context, &host->items[i]))
			json_object_array_add(array, format_row(&row));
	}
	return output_json(context, array, error);
}

int command_list(struct context *context, char **arguments, struct error *error)
{
	cleanup(pci_functions_done) struct pci_functions host = {0};
	cleanup(loans_done) struct loans loans = {0};
	struct device_names *names = NULL;
	int r;

	if (arguments[0])
		return error_set(error, USAGE, "list takes no argument '%s'", arguments[0]);
	r = pci_scan(&context->kernel, &host, error);
	if (r == 0)
		r = loans_read(&context->root, &loans, error);
	if (r == 0)
		r = device_names_open(&names, error);
	if (r < 0)
		return r;
	if (loans.unreadable.status < 0)
		log_write(&context->log, LOG_WARNING, "%s", loans.unreadable.message);
	r = context->output == OUTPUT_TEXT ? print_table(context, &host, &loans, names, error)
					   : print_json(context, &host, &loans, names, error);
	device_names_close(names);
	return r;
}
