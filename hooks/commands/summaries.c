/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What each command does, in a sentence: both programs know all of them, for --help. */

#include "commands.h"

const struct command_summary command_summaries[] = {
	{"attach", "Puts devices and the hookscript into a VM's config", false},
	{"bind", "Lends devices by hand: to vfio-pci, or to another driver", false},
	{"detach", "Takes back what attach did", false},
	{"doctor", "Checks the host, and a VM's config, and prints the fixes", false},
	{"guest", "Asks the guest: is the card there, and its driver", false},
	{"hook", "Does the work of one phase, for the hookscript", true},
	{"list", "Shows the GPUs, their drivers, and to whom they are lent", false},
	{"plan", "Shows what pre-start would do, and what would stop it", false},
	{"reconcile", "Returns at once the cards of VMs that are no longer running", false},
	{"setup", "Makes the host ready: shows a diff, and with --apply does it", false},
	{"status", "Shows the cards that are lent, to be returned, or overdue", false},
	{"unbind", "Returns devices that were lent by hand", false},
	{"undo", "Takes back what setup and attach did: a diff, then --apply", false},
	{"watch", "Returns the cards of VMs that are gone, while any are lent", false},
	{0},
};
