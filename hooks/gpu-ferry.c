/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The command gpu-ferry, and what moves cards: all that runs as root at every start of a VM. The
 * commands that prepare the host, the VMs and the guests are a program of their own, the assistant,
 * which this one becomes for them: what is not linked here cannot run at a start.
 */

#include "hooks/base/command.h"
#include "hooks/base/sibling.h"
#include "hooks/commands/commands.h"
#include <errno.h>
#include <limits.h>
#include <unistd.h>

/* Sorted by name. Those without a function are the assistant's; hook is for the hookscript only,
 * and not listed. */
static const struct command commands[] = {
	{"attach", NULL, "VMID DEVICE… [--tune] [--dry-run]",
		"put devices and the hookscript into a VM's config"},
	{"bind", command_bind, "DEVICE… [--driver NAME] [--dry-run]",
		"lend devices by hand: to vfio-pci, or to another driver"},
	{"detach", NULL, "VMID|--all [--dry-run]", "take back what attach did"},
	{"doctor", NULL, "[VMID]", "check the host, and a VM's config; says what mends it"},
	{"guest", NULL, "VMID [--install-driver [--dry-run]]",
		"ask the guest: is the card there, and its driver"},
	{"hook", command_hook, "VMID PHASE", NULL},
	{"list", command_list, "[--all]", "GPUs, their drivers, and to whom they are lent"},
	{"plan", command_plan, "VMID", "what pre-start would do, and what would stop it"},
	{"reconcile", command_reconcile, "[--dry-run]", "return at once what gone VMs owe"},
	{"setup", NULL, "[--mode dedicated DEVICE…] [--apply]",
		"make the host ready: shows a diff, and with --apply does it"},
	{"status", command_status, "[DEVICE|VMID]", "what is lent, owed or overdue"},
	{"unbind", command_unbind, "DEVICE… [--dry-run]", "return devices lent by hand"},
	{"undo", NULL, "[--apply]",
		"take back what setup and attach did: a diff, and with --apply does it"},
	{"watch", command_watch, "", "return what gone VMs owe, for as long as there are loans"},
};

/* argv[0] stays: the user called gpu-ferry. */
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
		.command_count = sizeof(commands) / sizeof(commands[0]),
		.run_other = run_assistant,
	};

	return command_main(&program, count, arguments);
}
