/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "operation.h"

/*
 * Takes a driver's modules out of memory, and loads them again. The subject of each operation is
 * the module that brings the driver ("nvidia"). Its argument lists the modules to unload, in that
 * order ("nvidia_uvm nvidia_drm nvidia_modeset nvidia"):
 *
 * reload         does nothing; undone by loading them again, last first, with the parameters that
 *                they had (parameters.h; its `original`). What modprobe.d has against them by now
 *                is ignored, because they were loaded before. It comes
 *                before the steps of the functions, so its undo comes last, when the driver has
 *                the functions again: some modules do not load without a device.
 * unload         unloads them; it is an error when one is in use. Undone by reload.
 * unload_unused  the same where nothing depends on it: a module in use stays, with a remark. So
 *                does one that drives a device: unloading it would take that from the host.
 */
extern const struct operation unload_operations[]; /* ends with a NULL name */

/* Finds the loaded module @module and those of its family that use it (nvidia_uvm of nvidia), in
 * the order in which they can be unloaded. -EBUSY when a module outside the family uses one of
 * them, with both names; -ENOENT when @module is not loaded (built in, or missing), -E2BIG when
 * they do not fit into a step. */
int unload_find_modules(
	const struct kernel *kernel, const char *module, struct names *ret, struct error *error);

/* Puts a plan's reload step in front of a loan's steps. A reload that is already there for the same
 * driver stays, and gets the modules that it lacks, with their parameters: an earlier try, or that
 * of a gone VM, may have unloaded the others. 0 or -ENOMEM. */
int unload_record_reload(struct steps *steps, const struct step *reload);
bool unload_is_reload(const struct step *step);

/* Each adds a step of one of the operations above (unused: unload_unused) for the first @count of
 * the modules. The subject is the last of them all. A reload goes before the steps that are there.
 * 0 or -ENOMEM. */
int unload_plan_reload(const struct kernel *kernel, struct steps *steps,
	const struct names *modules, size_t count, const char *why);
int unload_plan_unload(
	struct steps *steps, const struct names *modules, size_t count, const char *why);
int unload_plan_unused(
	struct steps *steps, const struct names *modules, size_t count, const char *why);
