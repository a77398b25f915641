/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/boot_loader.h"
#include "conf/host/kernel_arguments.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/names.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The EFI variable of the boot loader, and a kernel command line. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	auto_free char *text = strndup((const char *)bytes, length);
	cleanup(names_done) struct names arguments = {0};
	struct boot_loader loader = {0};

	boot_loader_info_parse((const char *)bytes, length, loader.info, sizeof(loader.info));
	assert(!boot_loader_is_systemd_boot(&loader) || *loader.info);
	assert(text && kernel_arguments_split(text, &arguments) == 0);
	for (size_t i = 0; i < arguments.count; i++) {
		const char *value = kernel_argument_value(arguments.names[i], "vfio-pci.ids");

		assert(*arguments.names[i]);
		assert(!value || strstr(arguments.names[i], value));
		assert(kernel_arguments_give(&arguments, arguments.names[i]) ||
			strchr(arguments.names[i], ','));
	}
	return 0;
}
