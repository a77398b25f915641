/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/device/pci.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/loan.h"
#include "kmod-helper/loan/step.h"
#include "operation.h"
#include <stdbool.h>

/*
 * Moves the host's text console off a card and back. A DRM driver's framebuffer comes and goes with
 * the driver, and the kernel moves the console by itself. What it does not do is done by these
 * operations, each with a function's address as its subject:
 *
 * framebuffer  takes the firmware's framebuffer @original (a platform device: it holds the card's
 *              memory) from its driver @argument; undone by binding it there again, if the
 *              kernel still has it: vfio-pci's bind of a VGA device removes it for good
 * blank        takes the console @argument ("vtcon1") off the framebuffers, because a module that
 *              must be unloaded is in use as long as it is there; undone by putting it back
 * show         after a blank: puts the console on the framebuffers that are left; has no undo
 *
 * If the host booted in text mode, vfio-pci's bind of that VGA device also throws the console off
 * every framebuffer, and no file of sysfs puts it back: that needs a default console, and
 * vga_remove_vgacon leaves none (vt_bind in vt.c). The console comes back with the card's own
 * driver.
 */
extern const struct operation console_operations[]; /* ends with a NULL name */

/* How the host's console uses a function that is about to be lent. */
struct console_use {
	char framebuffer[64];	     /* the firmware's, "efi-framebuffer.0"; "" none */
	char framebuffer_driver[32]; /* "efi-framebuffer" */
	char blank[32];		     /* "vtcon1" if it must be taken off first, else "" */
	bool show;		     /* and then put on the other framebuffers */
	bool framebuffer_ends;	     /* it ends with the loan: the kernel removes it */
};

struct console_options {
	const char *target; /* the driver that the function gets */
	bool is_unloaded;   /* the modules of its driver must be unloaded first */
	/* the loan of an unfinished handover, whose steps say what was there first; or NULL */
	const struct loan *standing;
};

void console_find_use(const struct kernel *kernel, const struct pci_function *function,
	const struct console_options *options, struct console_use *ret);

/*
 * In the text of /proc/iomem, is the region @memory ("efifb") inside one of the function's own?
 * What is inside something else is indented there:
 *
 *   e0000000-efffffff : 0000:01:00.0
 *     e0000000-e07fffff : efifb
 *
 * @ret_anywhere is set when @memory is in the text at all.
 */
bool console_memory_is_inside(
	const char *iomem, const char *address, const char *memory, bool *ret_anywhere);

/* Append the steps: blank comes before anything is unbound or unloaded, framebuffer before the
 * function is bound, show after that. 0 or -ENOMEM. */
int console_plan_blank(const struct console_use *use, const char *address, struct steps *steps);
int console_plan_framebuffer(
	const struct console_use *use, const char *address, struct steps *steps);
int console_plan_show(const struct console_use *use, const char *address, struct steps *steps);
