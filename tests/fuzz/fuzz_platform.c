/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/pci_resource.h"
#include "kmod-helper/device/platform.h"
#include "kmod-helper/kernel/module_files.h"
#include "kmod-helper/operation/binding.h"
#include "kmod-helper/operation/console.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The small readers of what the kernel tells about the machine. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	struct module_files files = {.dependencies = text};
	struct platform platform = {0};
	struct pci_resources resources;
	bool anywhere = false;

	if (!text)
		abort();
	platform_parse_processor(text, &platform);
	(void)module_files_have(&files, "vfio_pci");
	if (console_memory_is_inside(text, "0000:01:00.0", "efifb", &anywhere) && !anywhere)
		abort();
	(void)binding_options_have_id(text, 0x10de, 0x2704);
	if (pci_resources_parse(text, &resources) == 0 && resources.rom_is_shadowed &&
		!resources.rom.size)
		abort();
	return 0;
}
