/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/hostpci.h"
#include "kmod-helper/base/cleanup.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const addresses[] = {"0000:01:00.0", "0000:01:00.1", "0001:01:00.0"};

static void check(const struct hostpci *hostpci)
{
	cleanup(names_done) struct names names = {0};
	struct error error;

	if (!hostpci->host != !hostpci->ids.count)
		abort();
	(void)hostpci_check(hostpci, &error);
	for (size_t i = 0; i < hostpci->ids.count; i++)
		(void)hostpci_find(hostpci->ids.names[i], addresses, 3, &names, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	cleanup(hostpci_done) struct hostpci hostpci = {0};
	struct error error;

	if (text && hostpci_parse(text, &hostpci, &error) == 0)
		check(&hostpci);
	return 0;
}
