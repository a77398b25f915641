/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry list`: shows GPUs, their drivers, and who has them. */

#include "commands.h"

#include "hooks/base/output.h"
#include "hooks/base/table.h"
#include "hooks/base/tree.h"
#include "hooks/base/vm_names.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/device/pci_names.h"
#include "kmod-helper/holder/host_use.h"
#include "redraw.h"
#include <errno.h>
#include <string.h>

struct list_options {
	bool all;
	bool tree;
	bool watch;
};

struct listing;

/* What `list` shows about one function, from sysfs and the loans. */
struct row {
	const struct listing *listing;
	const struct pci_function *function;
	const struct holders *holders; /* NULL: they cannot be known */
	const struct loan *loan;
	const char *home_driver;
	char name[160];
	char power_state[PCI_POWER_STATE_SIZE];
	char host_use[128]; /* "network interface eno1 is up"; "" none */
};

/* All that the rows are made from. */
struct listing {
	const struct context *context;
	bool all; /* every function, not only the displays */
	bool is_tree;
	bool short_names;
	struct pci_functions host;
	struct loans loans;
	struct holders holders;
	bool knows_holders;
	struct device_names *names;
	struct vm_names *vm_names;
};

static void listing_done(struct listing *listing)
{
	pci_functions_done(&listing->host);
	loans_done(&listing->loans);
	holders_done(&listing->holders);
	device_names_close(listing->names);
}

static struct row make_row(const struct listing *listing, const struct pci_function *function)
{
	const struct loan *loan = loans_find_user(&listing->loans, function->address);
	struct row row = {
		.listing = listing,
		.function = function,
		.holders = listing->knows_holders ? &listing->holders : NULL,
		.loan = loan,
		.home_driver =
			loan ? loan_find(loan, function->address)->home_driver : function->driver,
	};

	(listing->short_names ? device_name_short : device_name)(listing->names,
		function->vendor_id, function->device_id, row.name, sizeof(row.name));
	/* not for a bridge, which has other functions below it, nor for a lent function, whose
	 * driver may be stuck */
	if (function->bridge || loan ||
		!host_use_find(&listing->context->kernel, function->address, row.host_use,
			sizeof(row.host_use)))
		row.host_use[0] = '\0';
	pci_read_power_state(&listing->context->kernel, function->address, row.power_state);
	return row;
}

static void add_id(struct json_object *object, const char *key, uint16_t id)
{
	char text[8];

	snprintf(text, sizeof(text), "%04x", id);
	json_add_text(object, key, text);
}

static struct json_object *format_virtual(
	const struct pci_functions *host, const struct pci_function *function)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < host->count; i++) {
		if (strcmp(host->items[i].parent, function->address) == 0)
			json_object_array_add(
				array, json_object_new_string(host->items[i].address));
	}
	return array;
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
	json_add_holders(object, "holders", row->holders, function->address);
	json_add_text_or_null(object, "physical_function", function->parent);
	json_object_object_add(
		object, "virtual_functions", format_virtual(&row->listing->host, function));
	json_object_object_add(
		object, "boot_display", json_object_new_boolean(function->boot_display));
	json_add_text_or_null(object, "power_state", row->power_state);
	return object;
}

/* On a narrow terminal what programs ask for goes first. */
static const struct table_column columns[] = {
	{.head = "ADDRESS"},
	{.head = "IDS", .leave = 2},
	{.head = "CLASS", .leave = 1},
	{.head = "GROUP", .leave = 4},
	{.head = "DRIVER"},
	{.head = "HOME", .leave = 5},
	{.head = "LENT TO", .cut_to = 12},
	{.head = "HOLDERS", .cut_to = 12},
	{.head = "POWER", .leave = 3},
	{.head = "NAME", .cut_to = 30},
};

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

/* What stands behind the name. */
static void format_remarks(const struct row *row, char *buffer, size_t size)
{
	const struct pci_function *function = row->function;
	size_t children = pci_count_virtual(&row->listing->host, function);
	char family[64] = "";

	if (*function->parent)
		snprintf(family, sizeof(family), " (virtual function of %s)", function->parent);
	else if (children)
		snprintf(family, sizeof(family), " (has %zu virtual function%s)", children,
			children == 1 ? "" : "s");
	snprintf(buffer, size, "%s%s%s%s%s", family,
		function->boot_display ? " (boot display)" : "", *row->host_use ? " (" : "",
		row->host_use, *row->host_use ? ")" : "");
}

static int add_owner_cell(struct table *table, const struct row *row, const char *owner)
{
	int r = table_add(table, "%s", owner);

	if (row->loan)
		table_paint(table, output_state_colour(loan_state_name(row->loan->state)));
	return r;
}

static int add_row(struct table *table, const struct row *row)
{
	const struct pci_function *function = row->function;
	char group[24] = "-", owner[VM_TITLE_SIZE] = "-", holders[80], remarks[256];

	format_remarks(row, remarks, sizeof(remarks));
	if (function->iommu_group != PCI_NO_GROUP)
		snprintf(group, sizeof(group), "%ld", function->iommu_group);
	if (row->loan)
		vm_names_owner(row->listing->vm_names, row->listing->context, &row->loan->owner,
			owner, sizeof(owner));
	holders_format_short(row->holders, function->address, holders, sizeof(holders));
	if (table_add(table, "%s", screen_address(function->address)) < 0 ||
		table_add(table, "%04x:%04x", function->vendor_id, function->device_id) < 0 ||
		table_add(table, "%04x", function->class_code) < 0 ||
		table_add(table, "%s", group) < 0 ||
		table_add(table, "%s", or_dash(function->driver)) < 0 ||
		table_add(table, "%s", or_dash(row->home_driver)) < 0 ||
		add_owner_cell(table, row, owner) < 0 || table_add(table, "%s", holders) < 0 ||
		table_add(table, "%s", or_dash(row->power_state)) < 0 ||
		table_add(table, "%s%s", row->name, remarks) < 0)
		return -ENOMEM;
	return 0;
}

/* Only displays are shown by default: not a GPU's audio and USB functions, and no other devices. */
static bool is_shown(const struct listing *listing, const struct pci_function *function)
{
	return listing->all || pci_is_display(function);
}

static int tell_nothing(const struct listing *listing, struct error *error)
{
	puts(listing->all ? "no PCI device was found"
			  : "no GPU was found; --all lists every PCI function");
	return output_flush(error);
}

static int print_table(const struct listing *listing, struct error *error)
{
	cleanup(table_done) struct table table = {0};
	int r = table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));

	for (size_t i = 0; r == 0 && i < listing->host.count; i++) {
		if (is_shown(listing, &listing->host.items[i])) {
			const struct row row = make_row(listing, &listing->host.items[i]);

			r = add_row(&table, &row);
		}
	}
	if (r < 0)
		return error_set_errno(error, r, "format the list");
	if (!table_has_rows(&table))
		return tell_nothing(listing, error);
	r = table_print(&table, listing->context, error);
	output_explain_holders(listing->context, "HOLDERS ?");
	return r;
}

/* ---- the tree */

static int add_function(struct tree *tree, size_t depth, const struct row *row)
{
	const struct pci_function *function = row->function;
	bool is_away = strcmp(function->driver, row->home_driver) != 0;
	char remarks[256];

	format_remarks(row, remarks, sizeof(remarks));
	return tree_add(tree, depth, "%s  %s%s%s%s  %s%s", screen_address(function->address),
		*function->driver ? function->driver : "no driver", is_away ? " (home: " : "",
		is_away ? or_dash(row->home_driver) : "", is_away ? ")" : "", row->name, remarks);
}

static int add_holders(struct tree *tree, const struct row *row)
{
	const struct listing *listing = row->listing;
	const struct holders *holders = row->holders;
	char text[VM_TITLE_SIZE];
	int r = 0;

	for (size_t i = 0; holders && r == 0 && i < holders->count; i++) {
		const struct holder *holder = &holders->items[i];

		if (strcmp(holder->address, row->function->address) != 0)
			continue;
		if (holder->kind == HOLDER_VM)
			vm_names_title(listing->vm_names, listing->context, holder->guest, text,
				sizeof(text));
		else
			holder_format_short(holder, text, sizeof(text));
		r = tree_add(tree, 2, "used by %s", text);
	}
	return r;
}

static bool is_foreign_member(const struct pci_function *function, const struct pci_function *other)
{
	return function->iommu_group != PCI_NO_GROUP &&
		function->iommu_group == other->iommu_group &&
		!pci_same_card(other->address, function->address);
}

/* The group, and what is in it beside the card of @function. */
static int add_group(
	struct tree *tree, const struct listing *listing, const struct pci_function *function)
{
	const struct pci_function *other = listing->host.items, *end = other + listing->host.count;
	int r;

	while (other < end && !is_foreign_member(function, other))
		other++;
	r = function->iommu_group == PCI_NO_GROUP
		? tree_add(tree, 1, "no IOMMU group")
		: tree_add(tree, 1, "IOMMU group %ld%s", function->iommu_group,
			  other < end ? ", shared with" : "");
	for (; r == 0 && other < end; other++) {
		if (is_foreign_member(function, other)) {
			const struct row row = make_row(listing, other);

			r = add_function(tree, 2, &row);
		}
	}
	return r;
}

static int add_owner(struct tree *tree, const struct listing *listing, const struct loan *loan)
{
	char owner[VM_TITLE_SIZE];

	if (!loan)
		return tree_add(tree, 1, "not lent");
	vm_names_owner(listing->vm_names, listing->context, &loan->owner, owner, sizeof(owner));
	return tree_add(tree, 1, "%s%s since %s",
		loan->owner.kind == LOAN_OWNER_VM ? "lent to " : "lent ", owner, loan->since);
}

static bool is_first_of_group(const struct pci_function *first, const struct pci_function *function)
{
	while (first < function && first->iommu_group != function->iommu_group)
		first++;
	return first == function;
}

/* A card, its functions and their users, its groups, and who has it. */
static int add_card(struct tree *tree, const struct listing *listing,
	const struct pci_function *first, const struct pci_function *end)
{
	const struct pci_function *display = first;
	const struct loan *loan = NULL;
	char name[160];
	int r;

	while (display < end && !pci_is_display(display))
		display++;
	if (display == end)
		display = first;
	device_name_short(
		listing->names, display->vendor_id, display->device_id, name, sizeof(name));
	r = tree_add(tree, 0, "%.*s  %s", (int)strcspn(screen_address(first->address), "."),
		screen_address(first->address), name);
	for (const struct pci_function *f = first; r == 0 && f < end; f++) {
		const struct row row = make_row(listing, f);

		r = add_function(tree, 1, &row);
		if (r == 0)
			r = add_holders(tree, &row);
		loan = loan ? loan : row.loan;
	}
	for (const struct pci_function *f = first; r == 0 && f < end; f++) {
		if (is_first_of_group(first, f))
			r = add_group(tree, listing, f);
	}
	return r < 0 ? r : add_owner(tree, listing, loan);
}

static int print_tree(const struct listing *listing, struct error *error)
{
	const struct pci_function *end = listing->host.items + listing->host.count, *next;
	cleanup(tree_done) struct tree tree = {0};
	int r = 0;

	for (const struct pci_function *f = listing->host.items; r == 0 && f < end; f = next) {
		bool shown = false;

		for (next = f; next < end && pci_same_card(f->address, next->address); next++)
			shown = shown || is_shown(listing, next);
		if (shown)
			r = add_card(&tree, listing, f, next);
	}
	if (r < 0)
		return error_set_errno(error, r, "format the list");
	if (!tree.count)
		return tell_nothing(listing, error);
	r = tree_print(&tree, error);
	output_explain_holders(listing->context, "users are not shown");
	return r;
}

static int print_json(const struct listing *listing, struct error *error)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < listing->host.count; i++) {
		if (is_shown(listing, &listing->host.items[i])) {
			const struct row row = make_row(listing, &listing->host.items[i]);

			json_object_array_add(array, format_row(&row));
		}
	}
	return output_json(listing->context, array, error);
}

static int find_holders(struct listing *listing, struct error *error)
{
	auto_free const char **addresses = NULL;
	size_t count = 0;

	listing->knows_holders = holders_can_be_known(listing->context);
	if (!listing->knows_holders)
		return 0;
	addresses = calloc(listing->host.count + 1, sizeof(*addresses));
	if (!addresses)
		return error_set_errno(error, -ENOMEM, "look for holders");
	for (size_t i = 0; i < listing->host.count; i++) {
		if (listing->is_tree || is_shown(listing, &listing->host.items[i]))
			addresses[count++] = listing->host.items[i].address;
	}
	return holders_of_functions(&listing->context->kernel, &listing->loans, addresses, count,
		NULL, &listing->holders, error);
}

static int show_list(struct context *context, const void *data, struct error *error)
{
	const struct list_options *options = data;
	cleanup(vm_names_done) struct vm_names vm_names = {0};
	cleanup(listing_done) struct listing listing = {.context = context,
		.all = options->all,
		.is_tree = options->tree,
		.vm_names = &vm_names,
		.short_names = context->output == OUTPUT_TEXT && screen_columns()};
	int r = pci_scan(&context->kernel, &listing.host, error);

	if (r == 0)
		r = loans_read(&context->kernel.root, &listing.loans, error);
	if (r == 0) {
		loans_mark_boot_displays(&listing.loans, &listing.host);
		r = device_names_open(&context->kernel.root, &listing.names, error);
	}
	if (r == 0)
		r = find_holders(&listing, error);
	if (r < 0)
		return r;
	if (listing.loans.unreadable.status < 0)
		log_write(&context->log, LOG_WARNING, "%s", listing.loans.unreadable.message);
	if (*listing.holders.unknown)
		log_write(&context->log, LOG_WARNING, "%s", listing.holders.unknown);
	if (context->output != OUTPUT_TEXT)
		return print_json(&listing, error);
	return options->tree ? print_tree(&listing, error) : print_table(&listing, error);
}

static int run_list(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct list_options *options = data;

	if (arguments[0])
		return error_set(error, USAGE, "list takes no argument '%s'", arguments[0]);
	return options->watch ? redraw(context, show_list, options, error)
			      : show_list(context, options, error);
}

#define AT(field) offsetof(struct list_options, field)

static const struct command_option options_of_list[] = {
	{"all", 0, NULL, "every PCI function, not only the displays", AT(all)},
	{"tree", 0, NULL,
		"each card with its functions, its IOMMU group, its users, and who has it",
		AT(tree)},
	{"watch", 0, NULL, "show it again when something changes, until Ctrl-C", AT(watch)},
	{0},
};

const struct command command_list = {
	.name = "list",
	.arguments = "",
	.options = options_of_list,
	.options_size = sizeof(struct list_options),
	.example = "gpu-ferry list --tree",
	.run = run_list,
};
