/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"

/*
 * The hookscript that a VM had before ours: runs it in ours' stead, with Proxmox's environment,
 * arguments and standard descriptors, as Proxmox does (PVE/GuestHelpers.pm, exec_hookscript). Which
 * one it is stands in the record of `attach`; on a node that has none that is said, and nothing is
 * run. 0; -ECHILD when it failed; -ENOENT and others when it is not there, as Proxmox would say.
 */
int chain_run(struct context *context, unsigned int vmid, const char *phase, struct error *error);
