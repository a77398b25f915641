/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>

/* Kernel modules through libkmod, which is loaded on first use (kmod-helper/base/library.h); the
 * only user of libkmod. Names may be written with - or _. */

struct modules;

/* With the live @root: the running kernel's modules and modprobe.d. With a captured tree: the
 * modules folder and the modprobe.d folders of that tree. libkmod always reads the live
 * /proc/modules and /sys/module, so nothing is loaded there. Returns 0 or -errno. */
int modules_open(const struct root *root, struct modules **ret, struct error *error);
void modules_close(struct modules *modules);

/* As kernel_ops.module_load and module_unload. -EPERM for a blacklisted name
 * (KMOD_PROBE_APPLY_BLACKLIST_ALL on the module itself), and for one that an `install` line
 * replaces; the message says so and how to find the line. Never runs a shell. */
int module_load(struct modules *modules, const char *name, struct error *error);
int module_unload(struct modules *modules, const char *name, struct error *error);

/* Loads a module that was loaded before, as `modprobe NAME` does: the blacklist is ignored, and an
 * install line that replaces the module is run by modprobe itself (Debian's package of nvidia's
 * driver has such lines). @parameters ("modeset=1 fbdev=0"; may be NULL) must hold nothing that a
 * shell knows: the install line is run by one. 0 (also when it is already loaded), -ENODEV when the
 * driver wants a device and finds none, or -errno. */
int module_reload(
	struct modules *modules, const char *name, const char *parameters, struct error *error);

/* Would module_load work? Returns 0 or the error that it would give (-EPERM, -ENOENT); loads
 * nothing. */
int module_check(struct modules *modules, const char *name, struct error *error);

/* The names of the modules that @alias ("pci:v000010DE…", or a module's name) resolves to: first
 * what an alias line of modprobe.d says, then the modules that such a line hides. The blacklist is
 * not applied. Empty when there are none. 0 or -errno. */
int module_lookup(
	struct modules *modules, const char *alias, struct names *ret, struct error *error);

/* The options that modprobe.d and the kernel command line give a module ("ids=10de:2704 …"); ""
 * when there are none. 0 or -errno (-ENAMETOOLONG: more than @size). */
int module_options(
	struct modules *modules, const char *name, char *buffer, size_t size, struct error *error);
