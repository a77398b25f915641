/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "agent.h"
#include "hooks/base/context.h"
#include "view.h"

/* Installs NVIDIA's driver in a guest through its agent: Debian's nvidia-driver, or what
 * ubuntu-drivers recommends. The guest's own package manager does the work. Each step is named
 * before it runs, its output is shown while it runs, and the first step that fails ends it. */

/* Where a guest keeps what the steps printed. */
#define GUEST_DRIVER_LOG "/var/log/gpu-ferry-driver.log"

/* 0 when we have steps for this guest, else -EOPNOTSUPP with a message that says what to do
 * instead. */
int guest_driver_check(const struct guest_system *system, struct error *error);

/* Prints the steps, numbered (--dry-run). */
void guest_driver_print(const struct guest_system *system);

/* Runs the steps, and restarts the guest: @agent is closed and opened again. 0 when nvidia-smi
 * answers in the end. -EREMOTEIO when a step fails, with its number, name, exit code and last line.
 * Otherwise the errors of agent_run and agent_open. */
int guest_driver_install(struct context *context, unsigned int vmid, struct agent *agent,
	const struct guest_system *system, struct error *error);
