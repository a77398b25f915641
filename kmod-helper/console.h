/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kernel.h"
#include "loan.h"
#include "operation.h"
#include "pci.h"
#include "step.h"
#include <stdbool.h>

/*
 * The host's text console on a card. A DRM driver's framebuffer comes and goes with the driver, and
 * the kernel moves the console by itself; three things it does not do. Operations, each with a
 * function's address as its subject:
 *
 * framebuffer  takes the firmware's framebuffer @original (a platform device: it holds the card's
 *              memory) from its driver @argument; undone by binding it there again, where the
 *              kernel still has it: vfio-pci's bind of a VGA device removes it for good
 * blank        takes the console @argument ("vtcon1") off the framebuffers: nvidia_drm before
 *              580.105.08 is in use as long as it is there; undone by putting it back
 * show         puts the console back on the framebuffers that are left: to bind the VGA device that
 *              the host booted with, vfio-pci throws it off all of them (vga_remove_vgacon); undone
 *              by nothing, for the host's driver takes it back by itself
 */
extern const struct operation console_operations[]; /* ends with a NULL name */

/* What the console does of a function that is about to be lent. */
struct console_use {
	char framebuffer[64];	     /* the firmware's, "efi-framebuffer.0"; "" none */
	char framebuffer_driver[32]; /* "efi-framebuffer" */
	char blank[32];		     /* "vtcon1", when it must be taken off first; "" no */
	bool show;		     /* the console would be thrown off */
	bool framebuffer_ends;	     /* with the loan: the kernel removes it */
};

/* @standing: a loan of a handover that did not get to its end, whose steps count as what was there
 * at first; or NULL. */
void console_find_use(const struct kernel *kernel, const struct pci_function *function,
	const char *target, const struct loan *standing, struct console_use *ret);

/* Append the steps: the first before anything is unbound or unloaded, the second before and the
 * third after the function is bound. 0 or -ENOMEM. */
int console_plan_blank(const struct console_use *use, const char *address, struct steps *steps);
int console_plan_framebuffer(
	const struct console_use *use, const char *address, struct steps *steps);
int console_plan_show(const struct console_use *use, const char *address, struct steps *steps);
