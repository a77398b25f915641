/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The names that our hookscript has in a VM's config. */

#include "snippet.h"

#include <string.h>

/* True for this name on any storage: a shared storage may have a copy. */
static bool is_named(const char *volume, const char *name)
{
	const char *colon = volume ? strchr(volume, ':') : NULL;

	return colon && strcmp(colon + 1, name) == 0;
}

bool snippet_is_chain(const char *volume)
{
	return is_named(volume, "snippets/gpu-ferry-chain");
}

bool snippet_is_ours(const char *volume)
{
	return is_named(volume, "snippets/gpu-ferry") || snippet_is_chain(volume);
}
