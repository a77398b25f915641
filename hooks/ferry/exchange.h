/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"

/* For post-start, because Proxmox chooses among a mapping's alternatives after pre-start. Compares
 * what the loan prepared with what QEMU got (the reservations), and corrects the differences: a
 * card that another VM had prepared changes owners with ours, what Proxmox bound itself is adopted,
 * and what QEMU did not take is returned. Does nothing for a VM without alternatives. */
int exchange_alternatives(struct context *context, unsigned int vmid, struct error *error);
