/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The names of our hookscript. */

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
