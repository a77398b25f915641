/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/step.h"
#include <stdbool.h>

/*
 * nvidia's driver waits in remove() for as long as anybody has the card open, and before 580.105.08
 * nvidia_drm has every card open while it drives displays (modeset=1): nothing told it then that a
 * card leaves (kernel-open/nvidia/nv-pci.c, nvidia_modeset_remove(); nvidia-drm-drv.c,
 * nv_drm_load()). From there on, or with modeset=0, a card can be unbound alone.
 */

/* True when nvidia_drm keeps the cards of the driver nvidia. What cannot be read counts as yes:
 * an unbind that waits for it would never come back. */
bool nvidia_keeps_cards(const struct kernel *kernel);

/*
 * Adds to @steps, before those of the displays, what it takes to unbind @leaving (the addresses of
 * displays that nvidia has) where nvidia_drm keeps them: its modules are unloaded, and loaded again
 * at the return. 0, -ENOMEM, or -EBUSY where another card is nvidia's, or the modules are somebody
 * else's too: the message says what to do.
 */
int nvidia_plan(const struct kernel *kernel, const struct names *leaving, struct steps *steps,
	struct error *error);
