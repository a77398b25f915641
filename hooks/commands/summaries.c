/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What each command does, in a sentence: both programs know all of them, for --help. */

#include "commands.h"

/* In the order of their use. */
const struct command_summary command_summaries[] = {
	{"list", "Shows the GPUs, their drivers, and to whom they are lent", "Look"},
	{"status", "Shows the cards that are lent, to be returned, or overdue", NULL},
	{"doctor", "Checks the host, and a VM's config, and prints the fixes", NULL},
	{"plan", "Shows what a start of the VM would do, and what prevents it", NULL},
	{"setup", "Prepares the host: shows a diff; --apply makes the change", "Set up"},
	{"attach", "Adds devices and the hookscript to a VM's or container's config", NULL},
	{"detach", "Undoes what attach did", NULL},
	{"undo", "Undoes what setup and attach did: shows a diff, then --apply", NULL},
	{"guest", "Asks the guest whether it has the card, and a driver for it", "Use"},
	{"bind", "Lends devices by hand: to vfio-pci, or to another driver", NULL},
	{"unbind", "Returns devices that were lent by hand", NULL},
	{"reconcile", "Returns at once the cards of VMs that are no longer running", "Repair"},
	{"watch", "Returns the cards of VMs that are gone, while any are lent", NULL},
	{"report", "Writes an archive for a fault report, without what is private", NULL},
	{"hook", "Does the work of one phase, for the hookscript", COMMAND_HIDDEN},
	{0},
};
