/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "plan.h"

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
 * Adds to @plan, before the steps of the displays, what it takes to unbind those that nvidia_drm
 * keeps: its modules are unloaded, and loaded again at the return. Where another card is nvidia's
 * they are not, and that is a blocker. 0 or -ENOMEM.
 */
int nvidia_plan(const struct kernel *kernel, struct plan *plan);
