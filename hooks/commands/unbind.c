/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry unbind`: returns devices that nobody uses to the host. */

#include "commands.h"

#include "hooks/base/devices.h"
#include "hooks/base/output.h"
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/orphan.h"
#include "hooks/ferry/return.h"
#include "hooks/ferry/vm_state.h"
#include "kmod-helper/base/cleanup.h"

struct unbind_options {
	bool dry_run;
};

/* The loan to return is one that was lent by hand, or one of a gone VM. */
static int check_owner(
	struct context *context, const char *address, const struct loan *loan, struct error *error)
{
	if (loan->owner.kind == LOAN_OWNER_VM && !vm_is_gone(&context->kernel, loan->owner.vmid))
		return error_set(error, -EBUSY, "%s is lent to VM %u, which is running: stop it",
			address, loan->owner.vmid);
	return loan_life_check_borrowers(context, loan, error);
}

/* The VM may have started again since we looked: then it keeps its devices. */
static int return_one(struct context *context, const struct loan *seen, struct error *error)
{
	cleanup(loan_done) struct loan loan = {0};
	int r;

	if (seen->owner.kind == LOAN_OWNER_HAND)
		return return_loan(context, &seen->owner, error);
	r = return_if_due(context, &seen->owner, error);
	if (r == 0 && loan_read(&context->kernel.root, &seen->owner, &loan, NULL) == 0)
		r = error_set(error, -EBUSY, "VM %u has it again: stop that VM", seen->owner.vmid);
	return r;
}

static int print_return(const struct context *context, const struct loan *loan)
{
	for (size_t i = loan->function_count; i-- > 0;) {
		const struct loan_function *function = &loan->functions[i];

		if (function->use != LOAN_TAKEN)
			continue;
		if (loan_function_presence(&context->kernel, function) != LOAN_PRESENT)
			output_print("%s: left the bus, nothing to return\n", function->address);
		else
			output_print("%s: from %s back to %s\n", function->address,
				function->target,
				*function->home_driver ? function->home_driver : "no driver");
	}
	return 0;
}

/* Adds what has left the bus: only a loan knows of it. */
static int add_left(const struct loans *loans, const char *device, struct names *addresses)
{
	int r = 0;

	for (size_t i = 0; i < loans->count; i++) {
		const struct loan *loan = &loans->items[i];

		for (size_t k = 0; r == 0 && k < loan->function_count; k++) {
			const char *address = loan->functions[k].address;

			if (pci_device_has(device, address) && loans_find(loans, address))
				r = names_add_once(addresses, address);
		}
	}
	return r;
}

static int add_argument(struct context *context, const struct pci_functions *host,
	const struct loans *loans, const char *argument, struct names *addresses,
	struct error *error)
{
	cleanup(device_meaning_done) struct device_meaning meaning = {0};
	size_t before = addresses->count;
	int r = device_find(context, host, argument, &meaning, error);

	if (r == -ENODEV && *meaning.device && add_left(loans, meaning.device, addresses) == 0 &&
		addresses->count > before)
		return 0;
	for (size_t i = 0; r == 0 && i < meaning.addresses.count; i++)
		r = names_add_once(addresses, meaning.addresses.names[i]);
	return r;
}

static int unbind_lent(struct context *context, bool dry_run, const char *address,
	const struct loan *loan, struct error *error)
{
	int r = check_owner(context, address, loan, error);

	if (r < 0)
		return r;
	return dry_run ? print_return(context, loan) : return_one(context, loan, error);
}

/* Returns those of a group that no loan has. */
static int unbind_orphans(struct context *context, bool dry_run, long iommu_group,
	const struct names *orphans, struct error *error)
{
	const struct loan_owner owner = {.kind = LOAN_OWNER_HAND, .iommu_group = iommu_group};
	cleanup(loan_done) struct loan loan = {0};
	int r = orphan_lend(context, &owner, iommu_group, orphans, !dry_run, &loan, error);

	if (r == 0 && !loan.function_count)
		return error_set(error, -ENODEV,
			"%s has no driver, and this host has none for it (see `gpu-ferry doctor`)",
			orphans->names[0]);
	if (r == 0)
		r = dry_run ? print_return(context, &loan) : orphan_return(context, &loan, error);
	if (r == 0)
		orphan_tell(context, &loan);
	return r;
}

/* True when the same loan has an earlier one of the addresses. */
static bool is_done(const struct loans *loans, const struct names *addresses, size_t index)
{
	const struct loan *loan = loans_find(loans, addresses->names[index]);

	for (size_t i = 0; loan && i < index; i++) {
		if (loans_find(loans, addresses->names[i]) == loan)
			return true;
	}
	return false;
}

static int unbind_all_lent(struct context *context, bool dry_run, const struct loans *loans,
	const struct names *addresses, struct error *error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < addresses->count; i++) {
		const struct loan *loan = loans_find(loans, addresses->names[i]);

		if (loan && !is_done(loans, addresses, i))
			r = unbind_lent(context, dry_run, addresses->names[i], loan, error);
	}
	return r;
}

static int unbind_all_orphans(struct context *context, bool dry_run,
	const struct pci_functions *host, const struct loans *loans, const struct names *addresses,
	struct error *error)
{
	cleanup(names_done) struct names orphans = {0};
	const struct pci_function *home = NULL;
	long last = PCI_NO_GROUP;
	bool is_lent = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < addresses->count; i++) {
		const struct pci_function *function = pci_find(host, addresses->names[i]);

		if (loans_find(loans, addresses->names[i]))
			is_lent = true;
		else if (function && (orphan_is(function, loans) || !*function->driver))
			r = names_add(&orphans, function->address);
		else if (!home)
			home = function;
	}
	if (r < 0)
		return error_set_errno(error, r, "look for the devices");
	/* a loan that cannot be read may have any device of this host */
	if ((orphans.count || !is_lent) && loans_check(loans, error) < 0)
		return loans->unreadable.status;
	if (home && !is_lent && !orphans.count)
		return error_set(error, -ENOENT,
			"%s is not lent: it is on %s, a driver of the host", home->address,
			home->driver);
	for (size_t i = 0; r == 0 && i < orphans.count; i++) {
		long group = pci_find(host, orphans.names[i])->iommu_group;

		if (group != last || i == 0)
			r = unbind_orphans(context, dry_run, group, &orphans, error);
		last = group;
	}
	return r;
}

static int run_unbind(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct unbind_options *options = data;
	cleanup(pci_functions_done) struct pci_functions host = {0};
	cleanup(names_done) struct names addresses = {0};
	cleanup(loans_done) struct loans loans = {0};
	int r;

	if (!arguments[0])
		return error_set(error, USAGE, "unbind takes a DEVICE");
	r = pci_scan(&context->kernel, &host, error);
	if (r == 0)
		r = loans_read(&context->kernel.root, &loans, error);
	for (; r == 0 && *arguments; arguments++)
		r = add_argument(context, &host, &loans, *arguments, &addresses, error);
	if (r < 0)
		return r;
	r = options->dry_run ? 0 : context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	r = unbind_all_lent(context, options->dry_run, &loans, &addresses, error);
	if (r == 0)
		r = unbind_all_orphans(context, options->dry_run, &host, &loans, &addresses, error);
	return r < 0 ? error_wrap(error, r, "unbind") : 0;
}

#define AT(field) offsetof(struct unbind_options, field)

static const struct command_option options_of_unbind[] = {
	{"dry-run", 0, NULL, "show what would be done, and change nothing", AT(dry_run)},
	{0},
};

const struct command command_unbind = {
	.name = "unbind",
	.arguments = "DEVICE…",
	.options = options_of_unbind,
	.options_size = sizeof(struct unbind_options),
	.example = "gpu-ferry unbind 2b:00",
	.run = run_unbind,
};
