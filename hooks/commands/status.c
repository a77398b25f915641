/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry status`: shows what is lent, owed or overdue. */

#include "commands.h"

#include "hooks/base/output.h"
#include "hooks/base/table.h"
#include "hooks/base/vm_names.h"
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/orphan.h"
#include "hooks/ferry/stop_step.h"
#include "hooks/ferry/vm_state.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/loan/loan.h"
#include "redraw.h"
#include <errno.h>
#include <string.h>
#include <time.h>

/* The state as it is now. What a gone VM still has, or what a killed process left behind, counts as
 * owed. */
static enum loan_state current_state(const struct context *context, const struct loan *loan)
{
	bool gone;

	if (!context->kernel.root.live || loan_is_busy(&context->kernel.root, loan) ||
		loan_find_stuck(loan, NULL))
		return loan->state;
	if (loan->owner.kind == LOAN_OWNER_HAND)
		return loan->state == LOAN_LENT ? LOAN_LENT : LOAN_OWED;
	gone = vm_is_gone(&context->kernel, loan->owner.vmid);
	return gone ? LOAN_OWED : loan->state;
}

static bool is_taken(const struct loan_function *function)
{
	return function->use != LOAN_ALTERNATIVE;
}

/* The loans, and who uses their devices; NULL when that cannot be known. */
struct overview {
	const struct context *context;
	struct loans loans;
	struct holders found;
	const struct holders *holders;
	struct pci_functions host; /* for cards on vfio-pci that nobody has */
};

static void overview_done(struct overview *overview)
{
	loans_done(&overview->loans);
	holders_done(&overview->found);
	pci_functions_done(&overview->host);
}

static int find_holders(struct overview *overview, struct error *error)
{
	auto_free const char **addresses = NULL;
	const struct loans *loans = &overview->loans;
	size_t count = 0;

	if (!holders_can_be_known(overview->context))
		return 0;
	for (size_t i = 0; i < loans->count; i++)
		count += loans->items[i].function_count;
	addresses = calloc(count + overview->host.count + 1, sizeof(*addresses));
	if (!addresses)
		return error_set_errno(error, -ENOMEM, "look for holders");
	count = 0;
	for (size_t i = 0; i < loans->count; i++) {
		for (size_t k = 0; k < loans->items[i].function_count; k++) {
			if (is_taken(&loans->items[i].functions[k]))
				addresses[count++] = loans->items[i].functions[k].address;
		}
	}
	for (size_t i = 0; i < overview->host.count; i++) {
		if (orphan_is(&overview->host.items[i], loans))
			addresses[count++] = overview->host.items[i].address;
	}
	overview->holders = &overview->found;
	return holders_of_functions(
		&overview->context->kernel, loans, addresses, count, NULL, &overview->found, error);
}

/* Of a loan that is owed in part, only what is owed is called so. */
static const char *function_state(const struct kernel *kernel, const struct loan *loan,
	const struct loan_function *function, enum loan_state state)
{
	if (state != LOAN_OWED && state != LOAN_OVERDUE)
		return loan_state_name(state);
	if (loan_find_stuck(loan, function->address))
		return loan_state_name(LOAN_OVERDUE);
	return loan_life_is_home(kernel, loan, function) ? "home" : loan_state_name(LOAN_OWED);
}

static struct json_object *format_function(
	const struct loan_function *function, const struct holders *holders)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "address", function->address);
	json_add_text_or_null(object, "home_driver", function->home_driver);
	json_add_text_or_null(object, "driver", function->target);
	json_add_holders(object, "holders", holders, function->address);
	return object;
}

/* What made room, and is started again. */
static struct json_object *format_stopped(const struct loan *loan)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < stop_steps_count(&loan->steps); i++) {
		struct json_object *object = json_object_new_object();

		json_add_text(object, "operation", loan->steps.items[i].operation);
		json_add_text(object, "subject", loan->steps.items[i].subject);
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *format_loan(
	const struct loan *loan, enum loan_state state, const struct holders *holders)
{
	struct json_object *object = json_object_new_object();
	struct json_object *functions = json_object_new_array();

	json_add_owner(object, "owner", &loan->owner);
	json_add_text(object, "state", loan_state_name(state));
	for (size_t i = 0; i < loan->function_count; i++) {
		if (is_taken(&loan->functions[i]))
			json_object_array_add(
				functions, format_function(&loan->functions[i], holders));
	}
	json_object_object_add(object, "functions", functions);
	json_object_object_add(object, "stopped", format_stopped(loan));
	json_add_text(object, "since", loan->since);
	return object;
}

/* @filter: a VMID, a device, or NULL for all. */
static bool is_asked_for(const struct loan *loan, const char *filter)
{
	char device[PCI_ADDRESS_SIZE];
	unsigned int vmid;

	if (!filter)
		return true;
	if (parse_vmid(filter, &vmid) == 0)
		return loan->owner.kind == LOAN_OWNER_VM && loan->owner.vmid == vmid;
	if (pci_device_parse(filter, device, sizeof(device)) < 0)
		return false;
	for (size_t i = 0; i < loan->function_count; i++) {
		if (pci_device_has(device, loan->functions[i].address))
			return true;
	}
	return false;
}

/* True for a function on vfio-pci that no loan has, and nobody uses. */
static bool is_orphan(
	const struct overview *overview, const struct pci_function *function, const char *filter)
{
	char device[PCI_ADDRESS_SIZE];

	if (filter &&
		(pci_device_parse(filter, device, sizeof(device)) < 0 ||
			!pci_device_has(device, function->address)))
		return false;
	return orphan_is(function, &overview->loans) &&
		!(overview->holders && holders_have(overview->holders, function->address));
}

static void add_owed(const struct kernel *kernel, struct json_object *array,
	const struct loan *loan, enum loan_state state)
{
	if (state != LOAN_OWED && state != LOAN_OVERDUE)
		return;
	for (size_t i = 0; i < loan->function_count; i++) {
		if (loan->functions[i].use == LOAN_TAKEN &&
			!loan_life_is_home(kernel, loan, &loan->functions[i]))
			json_object_array_add(
				array, json_object_new_string(loan->functions[i].address));
	}
}

static int print_json(const struct overview *overview, const char *filter, struct error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *array = json_object_new_array();
	struct json_object *owed = json_object_new_array();
	struct json_object *unlent = json_object_new_array();

	for (size_t i = 0; i < overview->loans.count; i++) {
		const struct loan *loan = &overview->loans.items[i];
		enum loan_state state = current_state(overview->context, loan);

		if (!is_asked_for(loan, filter))
			continue;
		json_object_array_add(array, format_loan(loan, state, overview->holders));
		add_owed(&overview->context->kernel, owed, loan, state);
	}
	json_object_object_add(object, "loans", array);
	json_object_object_add(object, "owed", owed);
	for (size_t i = 0; i < overview->host.count; i++) {
		if (is_orphan(overview, &overview->host.items[i], filter))
			json_object_array_add(
				unlent, json_object_new_string(overview->host.items[i].address));
	}
	json_object_object_add(object, "not_lent", unlent);
	return output_json(overview->context, object, error);
}

/* ---- metrics, for the textfile collector of Prometheus' node exporter */

/* One function: a GPU of the host, or any that is lent. */
struct sample {
	const char *address;
	const struct loan *loan; /* NULL: it is at home */
	const char *state;
	bool alive;
};

static double metric_lent(const struct sample *sample)
{
	return sample->loan != NULL;
}

static double metric_owed(const struct sample *sample)
{
	return strcmp(sample->state, loan_state_name(LOAN_OWED)) == 0;
}

static double metric_overdue(const struct sample *sample)
{
	return strcmp(sample->state, loan_state_name(LOAN_OVERDUE)) == 0;
}

static double metric_health(const struct sample *sample)
{
	return sample->alive;
}

static double metric_since(const struct sample *sample)
{
	struct tm parts = {0};

	return sample->loan && strptime(sample->loan->since, "%Y-%m-%dT%H:%M:%SZ", &parts)
		? (double)timegm(&parts)
		: 0;
}

static const struct metric {
	const char *name, *help;
	double (*value)(const struct sample *sample);
} metrics[] = {
	{"lent", "1 while the function is not at home: lent, on its way, owed or overdue",
		metric_lent},
	{"owed", "1 while its return is owed: gpu-ferry reconcile", metric_owed},
	{"overdue", "1 while its driver has not let it go in time", metric_overdue},
	{"health", "0 when the function no longer answers", metric_health},
	{"handover_timestamp_seconds", "When its last handover began, while it is lent; else 0",
		metric_since},
};

static void print_sample(const struct metric *metric, const struct sample *sample)
{
	char vmid[16] = "";

	if (sample->loan && sample->loan->owner.kind == LOAN_OWNER_VM)
		snprintf(vmid, sizeof(vmid), "%u", sample->loan->owner.vmid);
	output_print("gpu_ferry_%s{address=\"%s\",vmid=\"%s\"} %.0f\n", metric->name,
		sample->address, vmid, metric->value(sample));
}

/* A function of the host; or one of a loan's that has left it, and answers no more. */
static void print_function(const struct overview *overview, const char *filter,
	const struct metric *metric, const char *address)
{
	const struct context *context = overview->context;
	const struct pci_function *function = pci_find(&overview->host, address);
	struct sample sample = {.address = address, .state = "home"};
	bool asked = !filter && function && pci_is_display(function);

	for (size_t k = 0; k < overview->loans.count; k++) {
		const struct loan *loan = &overview->loans.items[k];
		const struct loan_function *lent = loan_find(loan, address);

		if (!lent || !is_taken(lent))
			continue;
		asked = is_asked_for(loan, filter);
		sample.state =
			function_state(&context->kernel, loan, lent, current_state(context, loan));
		sample.loan = strcmp(sample.state, "home") == 0 ? NULL : loan;
	}
	if (!asked)
		return;
	sample.alive = function && !pci_is_dead(&context->kernel, address);
	print_sample(metric, &sample);
}

static void print_metric(
	const struct overview *overview, const char *filter, const struct metric *metric)
{
	output_print("# HELP gpu_ferry_%s %s\n", metric->name, metric->help);
	output_print("# TYPE gpu_ferry_%s gauge\n", metric->name);
	for (size_t i = 0; i < overview->host.count; i++)
		print_function(overview, filter, metric, overview->host.items[i].address);
	for (size_t i = 0; i < overview->loans.count; i++) {
		const struct loan *loan = &overview->loans.items[i];

		for (size_t k = 0; k < loan->function_count; k++) {
			const struct loan_function *lent = &loan->functions[k];

			/* one that is borrowed is in the loan by hand too, and printed once */
			if (lent->use == LOAN_TAKEN && !pci_find(&overview->host, lent->address))
				print_function(overview, filter, metric, lent->address);
		}
	}
}

static int print_metrics(const struct overview *overview, const char *filter, struct error *error)
{
	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		print_metric(overview, filter, &metrics[i]);
	return output_flush(error);
}

/* ---- a table */

static int add_state(struct table *table, const char *state)
{
	int r = table_add(table, "%s", state);

	table_paint(table, output_state_colour(state));
	return r;
}

static int add_loan_rows(struct table *table, const struct overview *overview,
	struct vm_names *names, const struct loan *loan)
{
	const struct kernel *kernel = &overview->context->kernel;
	const struct holders *holders = overview->holders;
	enum loan_state state = current_state(overview->context, loan);
	char owner[VM_TITLE_SIZE], held[80];
	int r = 0;

	vm_names_owner(names, overview->context, &loan->owner, owner, sizeof(owner));
	for (size_t i = 0; r == 0 && i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];

		if (!is_taken(function))
			continue;
		holders_format_short(holders, function->address, held, sizeof(held));
		if (table_add(table, "%s", owner) < 0 ||
			add_state(table, function_state(kernel, loan, function, state)) < 0 ||
			table_add(table, "%s", screen_address(function->address)) < 0 ||
			table_add(table, "%s",
				*function->home_driver ? function->home_driver : "-") < 0 ||
			table_add(table, "%s", held) < 0 || table_add(table, "%s", loan->since) < 0)
			r = -ENOMEM;
	}
	return r;
}

/* What is started again, in the order in which that is done. */
static void print_stopped(const struct overview *overview, const char *filter)
{
	const struct operation *const tables[] = {stop_operations, NULL};

	for (size_t i = 0; i < overview->loans.count; i++) {
		const struct loan *loan = &overview->loans.items[i];
		size_t count = stop_steps_count(&loan->steps);
		char owner[32], what[STEP_TEXT_SIZE + 64];

		if (!count || !is_asked_for(loan, filter))
			continue;
		loan_owner_format(&loan->owner, owner, sizeof(owner));
		output_print(loan->function_count
				? "%s: when its devices are home:"
				: "%s: its devices are home; `gpu-ferry reconcile` tries again:",
			owner);
		while (count-- > 0) {
			const struct step *step = &loan->steps.items[count];

			operation_describe(operation_find(tables, step->operation), step, UNDO,
				what, sizeof(what));
			output_print(" %s%s", what, count ? "," : "");
		}
		puts("");
	}
}

static bool has_stopped(const struct overview *overview, const char *filter)
{
	for (size_t i = 0; i < overview->loans.count; i++) {
		if (stop_steps_count(&overview->loans.items[i].steps) &&
			is_asked_for(&overview->loans.items[i], filter))
			return true;
	}
	return false;
}

static void tell_nothing(const char *filter)
{
	unsigned int vmid;

	if (!filter)
		puts("nothing is lent");
	else if (parse_vmid(filter, &vmid) == 0)
		output_print("nothing is lent to VM %u\n", vmid);
	else
		output_print("%s is not lent\n", filter);
}

/* One line for a card. */
static void print_orphans(const struct overview *overview, const char *filter)
{
	const char *last = NULL;

	for (size_t i = 0; i < overview->host.count; i++) {
		const struct pci_function *function = &overview->host.items[i];

		if (!is_orphan(overview, function, filter) ||
			(last && pci_same_card(last, function->address)))
			continue;
		last = function->address;
		output_print("%.*s is on %s, not lent: `gpu-ferry unbind %.*s` returns it\n",
			(int)strcspn(last, "."), last, function->driver, (int)strcspn(last, "."),
			last);
	}
}

static const struct table_column columns[] = {
	{.head = "LENT TO", .cut_to = 12},
	{.head = "STATE"},
	{.head = "ADDRESS"},
	{.head = "HOME"},
	{.head = "HOLDERS", .cut_to = 12},
	{.head = "SINCE", .leave = 1},
};

static int print_table(const struct overview *overview, const char *filter, struct error *error)
{
	cleanup(table_done) struct table table = {0};
	cleanup(vm_names_done) struct vm_names names = {0};
	int r = table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));

	for (size_t i = 0; r == 0 && i < overview->loans.count; i++) {
		const struct loan *loan = &overview->loans.items[i];

		if (is_asked_for(loan, filter))
			r = add_loan_rows(&table, overview, &names, loan);
	}
	if (r < 0)
		return error_set_errno(error, r, "format the status");
	if (table_has_rows(&table)) {
		r = table_print(&table, overview->context, error);
		output_explain_holders(overview->context, "HOLDERS ?");
	} else if (!has_stopped(overview, filter) && !overview->loans.unreadable.status) {
		tell_nothing(filter);
	}
	if (r < 0)
		return r;
	print_stopped(overview, filter);
	print_orphans(overview, filter);
	return 0;
}

static int error_of_owed(const struct context *context, const struct loans *loans,
	const char *filter, struct error *error)
{
	size_t owed = 0;

	for (size_t i = 0; i < loans->count; i++) {
		enum loan_state state = current_state(context, &loans->items[i]);

		owed += is_asked_for(&loans->items[i], filter) &&
			(state == LOAN_OWED || state == LOAN_OVERDUE);
	}
	if (loans_check(loans, error) < 0)
		return loans->unreadable.status;
	if (owed)
		return error_set(error, -EBUSY,
			"%zu loan%s still to be returned: gpu-ferry reconcile", owed,
			owed == 1 ? " is" : "s are");
	return 0;
}

/* Says once, on stderr, what only a person can fix. */
static void explain_stuck(const struct overview *overview)
{
	for (size_t i = 0; i < overview->loans.count; i++) {
		const struct loan *loan = &overview->loans.items[i];
		const struct step *stuck = loan_find_stuck(loan, NULL);
		char held[HOLDERS_TEXT_SIZE];

		if (!stuck)
			continue;
		holders_format_short(overview->holders, stuck->subject, held, sizeof(held));
		log_step(&overview->context->log, LOG_WARNING, stuck->subject, NULL,
			"%s is overdue: process %d waits in its driver until its users have "
			"ended%s%s; %s an ordinary reboot may hang, `sync; echo b > "
			"/proc/sysrq-trigger` does not",
			stuck->subject, (int)stuck->child, strlen(held) > 1 ? ": " : "",
			strlen(held) > 1 ? held : "",
			loan_overdue_text(loan_find(loan, stuck->subject)));
	}
}

/* Says who keeps Proxmox from starting a VM, though not its devices from being returned. */
static void explain_strangers(const struct overview *overview)
{
	const struct context *context = overview->context;

	for (size_t i = 0; context->kernel.root.live && i < overview->loans.count; i++) {
		const struct loan *loan = &overview->loans.items[i];
		char text[128];

		if (loan->owner.kind == LOAN_OWNER_VM &&
			vm_find_stranger(&context->kernel, loan->owner.vmid, text, sizeof(text)))
			log_write(&context->log, LOG_NOTICE,
				"NOTICE: %s has locked /var/lock/qemu-server/lock-%u.conf and is "
				"not root's: its lock does not count",
				text, loan->owner.vmid);
	}
}

static int show_status(struct context *context, const void *filter, struct error *error)
{
	cleanup(overview_done) struct overview overview = {.context = context};
	int r = loans_read(&context->kernel.root, &overview.loans, error);

	if (r == 0)
		r = pci_scan(&context->kernel, &overview.host, error);
	if (r == 0)
		r = find_holders(&overview, error);
	if (r < 0)
		return r;
	if (context->output == OUTPUT_PROMETHEUS)
		r = print_metrics(&overview, filter, error);
	else
		r = context->output == OUTPUT_TEXT ? print_table(&overview, filter, error)
						   : print_json(&overview, filter, error);
	explain_stuck(&overview);
	explain_strangers(&overview);
	if (*overview.found.unknown)
		log_write(&context->log, LOG_WARNING, "%s", overview.found.unknown);
	return r < 0 ? r : error_of_owed(context, &overview.loans, filter, error);
}

struct status_options {
	bool watch;
};

static int run_status(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct status_options *options = data;
	char device[PCI_ADDRESS_SIZE];
	unsigned int vmid;

	if (arguments[0] && arguments[1])
		return error_set(error, USAGE, "status takes one DEVICE or VMID");
	if (arguments[0] && parse_vmid(arguments[0], &vmid) < 0 &&
		pci_device_parse(arguments[0], device, sizeof(device)) < 0)
		return error_set(
			error, USAGE, "'%s' is neither a VMID nor a PCI address", arguments[0]);
	return options->watch ? redraw(context, show_status, arguments[0], error)
			      : show_status(context, arguments[0], error);
}

#define AT(field) offsetof(struct status_options, field)

static const struct command_option options_of_status[] = {
	{"watch", 0, NULL, "show it again when something changes, until Ctrl-C", AT(watch)},
	{0},
};

const struct command command_status = {
	.name = "status",
	.arguments = "[DEVICE|VMID]",
	.options = options_of_status,
	.options_size = sizeof(struct status_options),
	.example = "gpu-ferry status 104",
	.has_metrics = true,
	.run = run_status,
};
