/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>

/* Which modules a kernel has on disk, from the texts that depmod writes into /lib/modules/RELEASE
 * (modules.dep, modules.builtin). This works for captured trees and for kernels that are not
 * running. For the running kernel's aliases, and for loading, see modules.h. */

struct module_files {
	char *dependencies; /* modules.dep; NULL: the kernel has no such file */
	char *builtin;	    /* modules.builtin */
};

/* 0, -ENOENT when the release has no modules folder, or -errno of the reading. */
int module_files_read(const struct root *root, const char *release, struct module_files *ret,
	struct error *error);
void module_files_done(struct module_files *files);

/* Writes - as _, which is how the kernel names a module. */
void module_name_underscores(char *name);

/* Is the module NAME.ko[.xz|.zst|.gz] there, or built in? - and _ are the same. */
bool module_files_have(const struct module_files *files, const char *name);

/* Appends the modules whose names are @name and more, with _ ("nvidia_current_open"), that are not
 * of the kernel's own tree and need no other module of such a name: the driver itself under a
 * distribution's name, and not its parts. 0 or -ENOMEM. */
int module_files_variants(const struct module_files *files, const char *name, struct names *ret);

/* The package of the kernel @release without that release: "proxmox-kernel", "linux-image". */
const char *kernel_package(const char *release);
