/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Compares the hookscript that Proxmox VE would run with the installed one. */

#include "conf/pve/storage.h"
#include "hooks/base/context.h"

/* Checks that Proxmox would run @volume, and that it is the hookscript of this version. Returns 0,
 * -ESTALE (it is another file), or the errors of storages_find_snippet and snippet_check. */
int snippet_check_ours(const struct context *context, const struct storages *storages,
	const char *volume, struct error *error);
