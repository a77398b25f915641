/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The assistant: the commands that a person uses to prepare the host, the VMs and the guests. It is
 * called by gpu-ferry, under that name.
 */

#include "hooks/base/command.h"
#include "hooks/commands/commands.h"

/* sorted by name */
static const struct command commands[] = {
	{"attach", command_attach, "VMID DEVICE… [--tune] [--dry-run]",
		"put devices and the hookscript into a VM's config"},
	{"detach", command_detach, "VMID|--all [--dry-run]", "take back what attach did"},
	{"doctor", command_doctor, "[VMID]",
		"check the host, and a VM's config; says what mends it"},
	{"guest", command_guest, "VMID [--install-driver [--dry-run]]",
		"ask the guest: is the card there, and its driver"},
	{"setup", command_setup, "[--mode dedicated DEVICE…] [--apply]",
		"make the host ready: shows a diff, and with --apply does it"},
	{"undo", command_undo, "[--apply]",
		"take back what setup and attach did: a diff, and with --apply does it"},
};

int main(int count, char **arguments)
{
	const struct program program = {
		.commands = commands,
		.command_count = sizeof(commands) / sizeof(commands[0]),
	};

	return command_main(&program, count, arguments);
}
