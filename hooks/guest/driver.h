/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "agent.h"
#include "hooks/base/context.h"
#include "view.h"

/*
 * NVIDIA's driver, put into a guest through its agent: Debian's nvidia-driver, or what
 * ubuntu-drivers recommends. The work is done by the guest's own package manager; each step is
 * named before it runs, what it prints is shown while it runs, and the first that fails ends it.
 */

/* Where a guest keeps what the steps printed. */
#define GUEST_DRIVER_LOG "/var/log/gpu-ferry-driver.log"

/* 0 when there are steps for this guest, else -EOPNOTSUPP and what to do instead. */
int guest_driver_check(const struct guest_system *system, struct error *error);

/* Prints the steps, numbered (--dry-run). */
void guest_driver_print(const struct guest_system *system);

/*
 * Takes the steps, and restarts the guest: @agent is closed and opened again. 0 when nvidia-smi
 * answers in the end. A step that fails: -EREMOTEIO with its number, name, exit code and last line.
 * Otherwise as agent_run and agent_open.
 */
int guest_driver_install(struct context *context, unsigned int vmid, struct agent *agent,
	const struct guest_system *system, struct error *error);
