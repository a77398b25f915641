/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "operation.h"

/*
 * Drivers and devices (Documentation/ABI/testing/sysfs-bus-pci). Operations, each with a function's
 * address as its subject:
 *
 * load      loads the module @subject that brings the driver @argument; undone by nothing
 * override  driver_override = @argument; undone to @original
 * unbind    takes the function from its home driver @argument; undone by binding it there again
 *           (module @original loaded first if need be), driver_override aimed at it meanwhile
 * bind      drivers_probe, driver @argument; undone by unbinding it from there
 * id        Proxmox's bind added "vendor device" (@argument) to vfio-pci's new_id; undone by
 * remove_id
 *
 * Undone backwards, unbind leaves the override on the home driver and override restores it.
 */
extern const struct operation binding_operations[]; /* ends with a NULL name */

/* Appends the step `id` for a function that Proxmox bound itself, to be undone at return. None for
 * an id that the boot set-up gave vfio-pci (`options vfio-pci ids=`, vfio-pci.ids= on the kernel
 * command line): Proxmox found that there, and so will the next start. 0 or -ENOMEM. */
int binding_plan_id(const struct kernel *kernel, const char *address, struct steps *steps);

/* The deadline of a step by what its driver is known to need. */
unsigned int binding_deadline_ms(const struct step *step, const struct loan *loan);
