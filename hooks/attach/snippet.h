/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The names of our hookscript and where its file is. */

#include "conf/pve/storage.h"
#include "hooks/base/context.h"
#include <stdbool.h>

/*
 * Our hookscript as Proxmox knows it. Two names of one file: the second says that the VM had a
 * hookscript before, which runs with ours (chain.h). The name stands in the VM's config and so goes
 * where the VM goes, to nodes too that have no record of it.
 */
#define SNIPPET_PLAIN "local:snippets/gpu-ferry"
#define SNIPPET_CHAIN "local:snippets/gpu-ferry-chain"

/* True for both names, on any storage; false for NULL. */
bool snippet_is_ours(const char *volume);

/* True for the second one. */
bool snippet_is_chain(const char *volume);

/* Would Proxmox run @volume, and is that this version's hookscript? 0, or the errors of
 * storages_find_snippet and snippet_check, -ESTALE when it is another file. */
int snippet_check_ours(const struct context *context, const struct storages *storages,
	const char *volume, struct error *error);
