/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "operation.h"

/*
 * Taking a driver's modules out of memory, and back. Operations, each with the module that brings
 * the driver as its subject ("nvidia"), and as its argument those to unload, in that order
 * ("nvidia_uvm nvidia_drm nvidia_modeset nvidia"):
 *
 * reload         nothing; undone by loading them again, last first, whatever modprobe.d has against
 *                them by now: they were there before. It stands before the steps of the functions,
 *                so that their driver has them again by then: some do not load without a device.
 * unload         unloads them; that one is in use is an error. Undone by reload.
 * unload_unused  the same where nothing depends on it: what is in use stays, with a remark. Also
 *                what drives a device: unloading would take it from the host.
 */
extern const struct operation unload_operations[]; /* ends with a NULL name */

/*
 * The loaded module @module and those of its family that use it (nvidia_uvm of nvidia), in the
 * order in which they can be unloaded. -EBUSY when a stranger uses one of them, with both names;
 * -ENOENT when @module is not a loaded one (built in, or not there), -E2BIG when a step cannot hold
 * them.
 */
int unload_find_modules(
	const struct kernel *kernel, const char *module, struct names *ret, struct error *error);

/* A device other than those in @ignored (addresses) that a driver of @module has now: its name in
 * @ret. False when there is none. */
bool unload_find_device(const struct kernel *kernel, const char *module,
	const struct names *ignored, char *ret, size_t size);

/* Puts a reload step of a plan into a loan's steps, first of all. One that stands there for the
 * same driver stays, and what it has not yet is added: an earlier try, or a gone VM's, may have
 * unloaded the rest. 0 or -ENOMEM. */
int unload_record_reload(struct steps *steps, const struct step *reload);
bool unload_is_reload(const struct step *step);

/* Each adds a step of one of the operations above (unused: unload_unused) for the first @count of
 * the modules. The subject is the last of them all. A reload goes before the steps that are there.
 * 0 or -ENOMEM. */
int unload_plan_reload(
	struct steps *steps, const struct names *modules, size_t count, const char *why);
int unload_plan_unload(
	struct steps *steps, const struct names *modules, size_t count, const char *why);
int unload_plan_unused(
	struct steps *steps, const struct names *modules, size_t count, const char *why);
