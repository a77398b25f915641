/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What each command does, in a sentence: both programs know all of them, for --help. */

#include "commands.h"

const struct command_summary command_summaries[] = {
	{"attach", "Adds devices and the hookscript to a VM's config", false},
	{"bind", "Lends devices by hand: to vfio-pci, or to another driver", false},
	{"detach", "Undoes what attach did", false},
	{"doctor", "Checks the host, and a VM's config, and prints the fixes", false},
	{"guest", "Asks the guest whether it has the card, and a driver for it", false},
	{"hook", "Does the work of one phase, for the hookscript", true},
	{"list", "Shows the GPUs, their drivers, and to whom they are lent", false},
	{"plan", "Shows what a start of the VM would do, and what would prevent it", false},
	{"reconcile", "Returns at once the cards of VMs that are no longer running", false},
	{"setup", "Prepares the host: shows a diff, and makes the change with --apply", false},
	{"status", "Shows the cards that are lent, to be returned, or overdue", false},
	{"unbind", "Returns devices that were lent by hand", false},
	{"undo", "Undoes what setup and attach did: shows a diff, then --apply", false},
	{"watch", "Returns the cards of VMs that are gone, while any are lent", false},
	{0},
};
