/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What each command does, in a sentence: both programs know all of them, for --help. */

#include "commands.h"

/* In the order of their use. */
const struct command_summary command_summaries[] = {
	{.name = "list",
		.text = "Shows the GPUs, their drivers, and to whom they are lent",
		.group = "Look",
		.more = "The address that it shows is the DEVICE of the other commands.\n"},
	{.name = "status",
		.text = "Shows the cards that are lent, to be returned, or overdue",
		.more = "A card that is at home is not listed. Owed: its VM has ended, and it is not home\n"
			"yet. Overdue: its driver has not let it go in time. A card that is lent is\nneither.\n"},
	{.name = "doctor",
		.text = "Checks the host, and a VM's config, and prints the fixes",
		.more = "The fixes are commands to type; it changes nothing itself.\n"},
	{.name = "plan",
		.text = "Shows what a start of the VM would do, and what prevents it",
		.more = "It reads the devices in the VM's config, and changes nothing. For a card that is\n"
			"not in the config yet: gpu-ferry attach VMID DEVICE --dry-run.\n"},
	{.name = "setup",
		.text = "Prepares the host: shows a diff; --apply makes the change",
		.group = "Set up"},
	{.name = "attach",
		.text = "Adds devices and the hookscript to a VM's or container's config"},
	{.name = "detach", .text = "Undoes what attach did"},
	{.name = "undo", .text = "Undoes what setup and attach did: shows a diff, then --apply"},
	{.name = "guest",
		.text = "Asks the guest whether it has the card, and a driver for it",
		.group = "Use"},
	{.name = "bind",
		.text = "Lends devices by hand: to vfio-pci, or to another driver",
		.more = "They stay lent until `gpu-ferry unbind` or a reboot; a VM that starts may borrow\n"
			"them. A card that is in use is refused, and its users are named.\n"},
	{.name = "unbind",
		.text = "Returns devices that were lent by hand",
		.more = "Each function goes to the driver that it had before. What a running VM has is\n"
			"refused.\n"},
	{.name = "reconcile",
		.text = "Returns at once the cards of VMs that are no longer running",
		.group = "Repair"},
	{.name = "watch",
		.text = "Returns the cards of VMs that are gone, while any are lent",
		.more = "gpu-ferry-watch.service runs it; nobody else needs to.\n"},
	{.name = "report", .text = "Writes an archive for a fault report, without what is private"},
	{.name = "hook",
		.text = "Does the work of one phase, for the hookscript",
		.group = COMMAND_HIDDEN},
	{0},
};
