/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "commands.h"

#include "hooks/return.h"
#include <errno.h>

/* Returns at once what every gone VM owes; quiet when there is nothing to do. */
int command_reconcile(struct context *context, char **arguments, struct error *error)
{
	int r;

	if (arguments[0])
		return error_set(error, USAGE, "reconcile takes no argument '%s'", arguments[0]);
	r = context_require_live(context, error);
	return r < 0 ? r : return_gone(context, NULL, NULL, error);
}
