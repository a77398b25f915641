/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry reconcile`: returns the cards of VMs that are no longer running. */

#include "commands.h"

#include "hooks/base/output.h"
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/return.h"
#include "kmod-helper/base/cleanup.h"

struct reconcile_options {
	bool dry_run;
};

static int print_due(struct context *context, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	int r = loans_read(&context->kernel.root, &loans, error);

	for (size_t i = 0; r == 0 && i < loans.count; i++) {
		char owner[32];

		if (!loan_life_is_due(context, &loans.items[i]))
			continue;
		loan_owner_format(&loans.items[i].owner, owner, sizeof(owner));
		output_print("would return the devices lent (%s)\n", owner);
	}
	return r < 0 ? r : loans_check(&loans, error);
}

/* Returns at once all cards of VMs that are no longer running, and what is still owed by hand.
 * Prints nothing when there is nothing to do. */
static int run_reconcile(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct reconcile_options *options = data;
	int r;

	if (arguments[0])
		return error_set(error, USAGE, "reconcile takes no argument '%s'", arguments[0]);
	if (options->dry_run)
		return print_due(context, error);
	r = context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	return return_gone(context, NULL, NULL, error);
}

#define AT(field) offsetof(struct reconcile_options, field)

static const struct command_option options_of_reconcile[] = {
	{"dry-run", 0, NULL, "show what would be done, and change nothing", AT(dry_run)},
	{0},
};

const struct command command_reconcile = {
	.name = "reconcile",
	.arguments = "",
	.options = options_of_reconcile,
	.options_size = sizeof(struct reconcile_options),
	.example = "gpu-ferry reconcile --dry-run",
	.logs_its_error = true,
	.run = run_reconcile,
};
