/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/holder/holders.h"
#include "operation.h"

/*
 * Drivers and devices (Documentation/ABI/testing/sysfs-bus-pci). Operations, each with a function's
 * address as its subject:
 *
 * load      loads the module @subject that brings the driver @argument; undone by nothing
 * override  driver_override = @argument; undone to @original
 * unbind    takes the function from its home driver @argument; undone by binding it there again
 *           (module @original loaded first if need be), driver_override aimed at it meanwhile
 * unbind-counted  the same where a module's count of users is no obstacle
 * bind      drivers_probe, driver @argument; undone by unbinding it from there
 * id        Proxmox's bind added "vendor device" (@argument) to vfio-pci's new_id; undone by
 * remove_id
 *
 * Undone backwards, unbind leaves the override on the home driver and override restores it.
 */
extern const struct operation binding_operations[]; /* ends with a NULL name */

/* Appends the steps that take a function: override, unbind (where it has a home driver), bind.
 * 0 or -ENOMEM. */
int binding_plan_steps(
	const struct loan_function *function, enum step_state state, struct steps *steps);

/* Appends the step `load` for the module of @driver, by the driver's name. 0 or -ENOMEM. */
int binding_plan_load(const char *driver, struct steps *steps);

/* Appends the step `id` for a function that Proxmox bound itself, to be undone at return. None for
 * an id that the boot set-up gave vfio-pci (`options vfio-pci ids=`, vfio-pci.ids= on the kernel
 * command line): Proxmox found that there, and so will the next start. 0 or -ENOMEM. */
int binding_plan_id(const struct kernel *kernel, const char *address, struct steps *steps);

/* A module's count of users is looked at once more right before an unbind. Where there is one now
 * that is not among the plan's @holders (`allow`, or another card's stuck driver explains it), it
 * stays unheeded then, too. */
void binding_accept_counts(
	const struct kernel *kernel, const struct holders *holders, struct steps *steps);

/* Does a module's options line ("disable_vga=1 ids=10de:2704,10de:22bb") name this id, and does a
 * list of ids. With subsystem ids behind it or without. */
bool binding_options_have_id(const char *options, unsigned int vendor, unsigned int device);
bool binding_list_has_id(const char *list, unsigned int vendor, unsigned int device);
