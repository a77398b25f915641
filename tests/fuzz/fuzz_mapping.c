/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/mapping.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look_up(void *context, const char *address, struct mapping_device *ret)
{
	(void)context;
	if (strncmp(address, "0000:01:", strlen("0000:01:")) != 0)
		return -ENODEV;
	*ret = (struct mapping_device){"10de", "1b80", "1458", "3702", 14, false, false};
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(mappings_done) struct mappings mappings = {0};
	struct error error;

	if (mappings_parse((const char *)data, size, &mappings, &error) < 0)
		abort();
	for (size_t i = 0; i < mappings.count; i++) {
		cleanup(alternatives_done) struct alternatives alternatives = {0};
		int r = mapping_find(&mappings, mappings.items[i].name, "n1", look_up, NULL,
			&alternatives, &error);

		if (r == 0 && !alternatives.count)
			abort();
	}
	return 0;
}
