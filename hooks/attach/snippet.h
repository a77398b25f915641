/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The names of our hookscript. */

#include <stdbool.h>

/* The volume ids of our hookscript. Both names mean the same file. The second one says that the VM
 * had a hookscript before, which runs together with ours (chain.h). The name is in the VM's config,
 * so it moves with the VM, also to nodes that have no record of it. */
#define SNIPPET_PLAIN "local:snippets/gpu-ferry"
#define SNIPPET_CHAIN "local:snippets/gpu-ferry-chain"

/* True for both names, on any storage; false for NULL. */
bool snippet_is_ours(const char *volume);

/* True for the second name, on any storage; false for NULL. */
bool snippet_is_chain(const char *volume);
