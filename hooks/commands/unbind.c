/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry unbind`: returns devices that were lent by hand. */

#include "commands.h"

#include "hooks/base/devices.h"
#include "hooks/base/output.h"
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/return.h"
#include "hooks/ferry/vm_state.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/plan/executor.h"

struct unbind_options {
	bool dry_run;
};

/* Finds the loan to return: one that was lent by hand, or one of a gone VM. */
static int find_loan(struct context *context, const struct pci_function *function,
	const struct loans *loans, const struct loan **ret, struct error *error)
{
	const struct loan *loan = loans_find(loans, function->address);

	if (!loan)
		return error_set(error, -ENOENT,
			"%s is not lent%s%s: gpu-ferry knows no home driver to give it back to",
			function->address, *function->driver ? "; it is on " : "",
			function->driver);
	if (loan->owner.kind == LOAN_OWNER_VM && !vm_is_gone(&context->kernel, loan->owner.vmid))
		return error_set(error, -EBUSY, "%s is lent to VM %u, which is running: stop it",
			function->address, loan->owner.vmid);
	*ret = loan;
	return 0;
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

static int print_return(const struct loan *loan)
{
	for (size_t i = loan->function_count; i-- > 0;) {
		const struct loan_function *function = &loan->functions[i];

		if (function->use == LOAN_TAKEN)
			output_print("%s: from %s back to %s\n", function->address,
				function->target,
				*function->home_driver ? function->home_driver : "no driver");
	}
	return 0;
}

static int unbind_all(struct context *context, bool dry_run, const struct devices *devices,
	const struct loans *loans, struct error *error)
{
	const struct loan *last = NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && i < devices->count; i++) {
		const struct loan *loan = NULL;

		r = find_loan(context, devices->functions[i], loans, &loan, error);
		if (!loan || loan == last)
			continue;
		last = loan;
		r = loan_life_check_borrowers(context, loan, error);
		if (r == 0)
			r = dry_run ? print_return(loan) : return_one(context, loan, error);
	}
	return r;
}

static int run_unbind(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct unbind_options *options = data;
	cleanup(devices_done) struct devices devices = {0};
	cleanup(loans_done) struct loans loans = {0};
	int r = devices_find(context, arguments, &devices, error);

	if (r < 0)
		return r;
	r = options->dry_run ? 0 : context_require_live(context, error);
	if (r == 0)
		r = loans_read(&context->kernel.root, &loans, error);
	if (r < 0)
		return r;
	context_catch_signals();
	r = unbind_all(context, options->dry_run, &devices, &loans, error);
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
