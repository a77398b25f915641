/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/pci.h"
#include "tests/fuzz/answers.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The files of functions, among them their modalias. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	cleanup(pci_functions_done) struct pci_functions functions = {0};
	struct answers answers;
	struct kernel kernel = answers_kernel(&answers);

	answers_init(&answers, bytes, length);
	if (pci_scan(&kernel, &functions, NULL) == 0) {
		for (size_t i = 0; i < functions.count; i++) {
			const struct pci_function *function = &functions.items[i];
			char device[PCI_ADDRESS_SIZE];

			assert(pci_device_parse(function->address, device, sizeof(device)) == 0);
			assert(function->iommu_group >= PCI_NO_GROUP);
			assert(!function->boot_display || pci_is_display(function));
		}
	}
	answers_done(&answers);
	return 0;
}
