/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/host/boot_loader.h"
#include "conf/host/edits.h"
#include "conf/host/modprobe_files.h"
#include "hooks/base/context.h"
#include "kmod-helper/device/platform.h"
#include "obstacles.h"
#include "setup_devices.h"

/* Finds the set-up that the host needs for a mode, and the changes that lead to it: files of our
 * own, and lines that somebody has put into other files by hand, after a guide, which are moved
 * into ours or removed. Nothing is written here. */

struct host_setup {
	struct boot_loader loader;
	struct boot_command_line line;
	const char *needed; /* from boot_iommu_argument() */
	struct modprobe_files modprobe;
	struct obstacles obstacles; /* of these two */
	struct manifest manifest;
	struct file_edits edits;
	struct names notices;	/* what a person should know, one line each */
	unsigned int refreshes; /* for these edits */
};

/* Returns 0, -ENODEV or -EBUSY (a device of the wish cannot be dedicated), -EEXIST (a file with our
 * name is not ours, or was changed since), -ENOSYS (an argument is needed and the boot loader is
 * unknown), or the errors of manifest_read and file_edits_open. @ret must be zeroed; free with
 * host_setup_done also on failure. */
int host_setup_find(struct context *context, const struct setup_wish *wish,
	const struct pci_functions *host, struct host_setup *ret, struct error *error);
/* Why nothing that setup does gives the host an IOMMU, as a sentence of setup and doctor into @why;
 * false: setup can help, or the IOMMU is on. */
bool host_iommu_is_missing(const struct platform *platform, char *why, size_t size);

/* True for a kernel argument that setup takes out of files that are not its own: one that the guide
 * has a person set, or one that switches off what it needs. */
bool host_setup_takes_argument(const char *argument);
void host_setup_done(struct host_setup *setup);

/* What has to be refreshed after @path has changed: REFRESH_… bits. */
unsigned int host_setup_refresh_of(const char *path);
