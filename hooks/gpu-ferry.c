/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The command gpu-ferry, with everything that moves cards and so runs as root at every start of a
 * VM. The commands that prepare the host, the VMs and the guests are in a separate program, the
 * assistant, which replaces this one when they are called: code that is not linked here cannot run
 * at a start. */

#include "hooks/base/command.h"
#include "hooks/base/sibling.h"
#include "hooks/commands/commands.h"
#include <errno.h>
#include <limits.h>
#include <unistd.h>

static const struct command *const commands[] = {
	&command_bind,
	&command_hook,
	&command_list,
	&command_plan,
	&command_reconcile,
	&command_status,
	&command_unbind,
	&command_watch,
	NULL,
};

/* argv[0] is not changed: the user called gpu-ferry. */
static int run_assistant(char **arguments, struct error *error)
{
	char path[PATH_MAX];

	sibling_find(
		"gpu-ferry", SBINDIR, "assistant", LIBEXECDIR "/assistant", path, sizeof(path));
	execv(path, arguments);
	return error_set_errno(error, -errno, "run %s", path);
}

int main(int count, char **arguments)
{
	const struct program program = {
		.commands = commands,
		.summaries = command_summaries,
		.run_other = run_assistant,
	};

	return command_main(&program, count, arguments);
}
