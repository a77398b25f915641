/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/container.h"
#include "kmod-helper/base/cleanup.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a container's config says, its nodes are below /dev, or numbers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(names_done) struct names nodes = {0};
	auto_free char *text = strndup((const char *)data, size);

	if (!text || container_nodes_parse(text, &nodes) < 0)
		abort();
	for (size_t i = 0; i < nodes.count; i++) {
		const char *name = nodes.names[i];

		if (strchr(name, '\n') ||
			(strncmp(name, "dev/", 4) != 0 && name[strspn(name, "0123456789:")]))
			abort();
	}
	return 0;
}
