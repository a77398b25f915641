/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"

/* Runs the hookscript that a guest had before ours, as Proxmox would run it: with Proxmox's
 * environment, arguments and standard descriptors (PVE/GuestHelpers.pm, exec_hookscript). The
 * record of `attach` says which one it is. On a node without that record a message says so, and
 * nothing is run. Returns 0, -ECHILD (the script failed), -ENOENT or another error when there is no
 * such script, as Proxmox would report it. */
int chain_run(struct context *context, unsigned int vmid, const char *phase, struct error *error);
