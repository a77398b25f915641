/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "conf/settings.h"
#include "kmod-helper/loan/loan.h"
#include "known_quirks.h"

/* What the plan is told beside the request: from the settings and the quirks, in the form that
 * kmod-helper takes. */
struct wishes {
	struct attribute_wish *attributes;
	size_t attribute_count;
	struct plan_quirk *quirks;
	size_t quirk_count;
	struct known_quirks known;
};

struct wishes_source {
	const struct settings *settings;
	const struct quirks *quirks; /* NULL: none are known */
	const struct pci_functions *host;
	const struct loans *loans;
};

/* Free with wishes_done also on failure. 0 or -ENOMEM. */
int wishes_make(const struct kernel *kernel, const struct wishes_source *source, struct wishes *ret,
	struct error *error);
void wishes_done(struct wishes *wishes);
