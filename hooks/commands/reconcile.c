/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry reconcile`: returns the cards of VMs that are no longer running. */

#include "commands.h"

#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/return.h"
#include "kmod-helper/base/cleanup.h"

static int print_due(struct context *context, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	int r = loans_read(&context->kernel.root, &loans, error);

	for (size_t i = 0; r == 0 && i < loans.count; i++) {
		char owner[32];

		if (!loan_life_is_due(context, &loans.items[i]))
			continue;
		loan_owner_format(&loans.items[i].owner, owner, sizeof(owner));
		printf("would return what was lent (%s)\n", owner);
	}
	return r;
}

/* Returns at once what every gone VM owes; quiet when there is nothing to do. */
int command_reconcile(struct context *context, char **arguments, struct error *error)
{
	int r;

	if (arguments[0])
		return error_set(error, USAGE, "reconcile takes no argument '%s'", arguments[0]);
	if (context->dry_run)
		return print_due(context, error);
	r = context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	return return_gone(context, NULL, NULL, error);
}
