/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/grub_defaults.h"
#include "kmod-helper/base/cleanup.h"
#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(grub_defaults_done) struct grub_defaults defaults = {0};
	auto_free char *text = strndup((const char *)data, size);

	if (!text)
		return 0;
	assert(grub_defaults_parse(&defaults, "f", text) == 0);
	for (size_t i = 0; i < defaults.count; i++)
		assert(defaults.items[i].line > 0);
	return 0;
}
