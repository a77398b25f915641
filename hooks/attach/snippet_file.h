/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Is the hookscript that Proxmox VE would run the installed one? */

#include "conf/pve/storage.h"
#include "hooks/base/context.h"

/* Would Proxmox run @volume, and is that this version's hookscript? 0, or the errors of
 * storages_find_snippet and snippet_check, -ESTALE when it is another file. */
int snippet_check_ours(const struct context *context, const struct storages *storages,
	const char *volume, struct error *error);
