/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/quirks.h"
#include "kmod-helper/plan/plan.h"

/* Finds what the quirks say of this host's functions, drivers and kernel. plan, the hook and doctor
 * all ask here. */

/* What a quirk says of one function. The texts are the quirk's. */
struct known_quirk {
	struct plan_quirk plan;
	const char *reset_method; /* NULL: none */
};

struct known_quirks {
	struct known_quirk *items; /* by address, and then in the order of the quirks */
	size_t count;
};

/* Reads no file of a function beyond what the scan did. Free with known_quirks_done. 0 or -ENOMEM.
 */
int known_quirks_find(const struct kernel *kernel, const struct quirks *quirks,
	const struct pci_functions *host, struct known_quirks *ret, struct error *error);
void known_quirks_done(struct known_quirks *known);
