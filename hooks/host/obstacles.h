/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The lines that keep the host from its GPUs, wherever they stand: in modprobe.d, in the list of
 * the initramfs, on the kernel command line. setup removes those that it may; doctor tells them. */

#include "conf/host/boot_loader.h"
#include "conf/host/modprobe_files.h"
#include "gpu_drivers.h"
#include "hooks/base/context.h"
#include "kmod-helper/device/pci.h"

enum obstacle_kind {
	OBSTACLE_IDS,	    /* ids=: vfio-pci takes them at boot, before their drivers can */
	OBSTACLE_BLACKLIST, /* a GPU's driver is not loaded */
	OBSTACLE_MODESET,   /* modeset=0: a GPU's driver is loaded, and takes no card */
	OBSTACLE_NOMODESET, /* the same of all drivers but NVIDIA's */
	OBSTACLE_COMPANION, /* the driver of a card's audio or USB function is not loaded */
};

struct obstacle {
	enum obstacle_kind kind;
	/* Where it stands: one of the two; none where only the running kernel was given it. */
	const struct modprobe_line *line;
	const struct boot_argument *argument;
	bool running;	     /* an argument of the kernel that runs */
	char *text;	     /* "blacklist nouveau", "modprobe.blacklist=nouveau,pcspkr" */
	char *module;	     /* the driver; one obstacle for each that a list names */
	char *ids;	     /* OBSTACLE_IDS: "10de:2704,10de:22bb", as it stands there */
	bool is_ours;	     /* in a file that gpu-ferry writes */
	bool is_linked;	     /* in a file behind a link, as those of update-alternatives are */
	bool is_mixed;	     /* a list that names more than what keeps the host from its GPUs */
	const char *instead; /* the driver that its GPUs have instead, so that nothing is kept from
				them; NULL: none */
};

struct obstacles {
	struct obstacle *items;
	size_t count;
	struct gpu_driver_files files; /* as far as they were looked at */
};

/* Finds them all: those of @files in their order, then those of @line. The obstacles point into
 * both. 0 or -ENOMEM; @ret must be zeroed; free with obstacles_done also on failure. */
int obstacles_find(const struct context *context, const struct pci_functions *host,
	const struct modprobe_files *files, const struct boot_command_line *line,
	struct obstacles *ret, struct error *error);
void obstacles_done(struct obstacles *obstacles);

#define OBSTACLE_WHY_SIZE 96

/* True when setup takes it out for the host to own its cards; else it says why not in @why, ""
 * where there is nothing to say. */
bool obstacle_setup_removes(const struct obstacle *obstacle, char *why, size_t size);

/* What setup goes by for a whole argument, which may be several obstacles; NULL: it is none. */
const struct obstacle *obstacles_find_argument(
	const struct obstacles *obstacles, const struct boot_argument *argument);
const struct obstacle *obstacles_find_line(
	const struct obstacles *obstacles, const struct modprobe_line *line);
