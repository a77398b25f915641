/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "operation.h"

/*
 * The parameters that a module was given by hand (`modprobe nvidia-drm modeset=1`), which no file
 * has. They are recorded while the module is loaded, in the form of the kernel's command line:
 * "nvidia_drm.modeset=Y nvidia_drm.fbdev=N". Nobody can tell which of them were given, so all that
 * can be read are recorded. At the return a module is loaded without them, as everybody loads it,
 * and anew only when one of them is not as it was: giving all of them back would mark the kernel
 * as tainted for some drivers (i915), and a driver that was updated may refuse one.
 */

/* Adds those of @module to @text, as many as fit. Left out: what cannot be read (permissions 0, as
 * all of nvidia's own), what is empty or unset ("(null)"), and values with blanks or with
 * characters that a shell knows: an install line of modprobe.d is run by one. */
void parameters_add(const struct kernel *kernel, const char *module, char *text, size_t size);

/* Adds to @to those of @module in @from: both are a step's `original`. */
void parameters_copy(const char *from, const char *module, char to[static STEP_ORIGINAL_SIZE]);

/* Loads @module, which is loaded, once more when parameters of @text are not as they were. It stays
 * as it is when it is in use or drives a device. 0, with a remark in @error when they are not as
 * they were; or the error of a load that has failed. */
int parameters_restore(
	const struct kernel *kernel, const char *module, const char *text, struct error *error);
