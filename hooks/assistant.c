/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The assistant: the commands with which a person prepares the host, the VMs and the guests. The
 * user calls gpu-ferry, which runs this program for them. */

#include "hooks/base/command.h"
#include "hooks/commands/commands.h"

static const struct command *const commands[] = {
	&command_attach,
	&command_detach,
	&command_doctor,
	&command_guest,
	&command_report,
	&command_setup,
	&command_undo,
	NULL,
};

int main(int count, char **arguments)
{
	const struct program program = {
		.commands = commands,
		.summaries = command_summaries,
	};

	return command_main(&program, count, arguments);
}
