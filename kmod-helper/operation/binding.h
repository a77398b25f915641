/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/holder/holders.h"
#include "operation.h"

/*
 * Binds devices to drivers (Documentation/ABI/testing/sysfs-bus-pci). Operations, each with a
 * function's address as its subject, except load:
 *
 * load      loads the module @subject, which brings the driver @argument; has no undo
 * override  sets driver_override to @argument; undone to @original
 * unbind    takes the function from its home driver @argument; undone by binding it there again
 *           (the module @original is loaded first if need be), with driver_override set to it
 *           meanwhile
 * unbind-counted  the same, where a module's count of users is no obstacle
 * bind      gives it to the driver @argument; undone by unbinding it from there
 * id        Proxmox's bind added "vendor device" (@argument) to vfio-pci's new_id; undone by
 *           remove_id
 *
 * The undo goes backwards: that of unbind leaves driver_override on the home driver, and that of
 * override restores it.
 */
extern const struct operation binding_operations[]; /* ends with a NULL name */

/* Appends the steps that take a function: override, unbind (where it has a home driver), bind.
 * 0 or -ENOMEM. */
int binding_plan_steps(
	const struct loan_function *function, enum step_state state, struct steps *steps);

/* Appends the step `load` for the module of @driver, by the driver's name. 0 or -ENOMEM. */
int binding_plan_load(const char *driver, struct steps *steps);

/* Is there a step that binds the function to its target? */
bool binding_has_step(const struct steps *steps, const char *address);

/* Appends the step `id` for a function that Proxmox bound itself, so that the return undoes it,
 * unless there is one. Not for an id that the boot set-up gave vfio-pci (`options vfio-pci ids=`,
 * vfio-pci.ids= on the kernel command line): it was there before Proxmox came, and must be there
 * for the next start. 0 or -ENOMEM. */
int binding_plan_id(const struct kernel *kernel, const char *address, struct steps *steps);

/* Has the boot set-up given vfio-pci the id of this function? Also true when it cannot be known. */
bool binding_id_is_from_boot(const struct kernel *kernel, const char *address);

/* A module's count of users is checked once more right before an unbind. If a module has users now
 * that are not among the plan's @holders, something explains them (`allow`, or another card's stuck
 * driver): the step becomes unbind-counted, so that the count is ignored then too. */
void binding_accept_counts(
	const struct kernel *kernel, const struct holders *holders, struct steps *steps);

/* Does a module's options line ("disable_vga=1 ids=10de:2704,10de:22bb") name this id; does a list
 * of ids? Subsystem ids may follow the id; ffffffff is any. */
bool binding_options_have_id(const char *options, unsigned int vendor, unsigned int device);
bool binding_list_has_id(const char *list, unsigned int vendor, unsigned int device);
