/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/kernel/kernel.h"
#include "kmod-helper/loan/step.h"
#include <stdbool.h>

/* NVIDIA's driver waits in remove() as long as anybody has the card open. Before 580.105.08
 * nvidia_drm itself has every card open while it drives displays (modeset=1), because nothing told
 * it that a card leaves (kernel-open/nvidia/nv-pci.c, nvidia_modeset_remove(); nvidia-drm-drv.c,
 * nv_drm_load()). From that version on, or with modeset=0, a single card can be unbound. */

/* True when nvidia_drm keeps the cards of the driver nvidia. If it cannot be read, the answer is
 * yes, because an unbind that waits for nvidia_drm would never come back. */
bool nvidia_keeps_cards(const struct kernel *kernel);

/* Plans to unbind @leaving (the addresses of displays that nvidia has) where nvidia_drm keeps them:
 * adds steps that unload its modules, and load them again at the return. Call it before the
 * displays' own steps are added. 0, -ENOMEM, or -EBUSY when nvidia has another card too, or another
 * module uses these modules: the message says what to do. */
int nvidia_plan(const struct kernel *kernel, const struct names *leaving, struct steps *steps,
	struct error *error);
