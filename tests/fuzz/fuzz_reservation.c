/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/reservation.h"
#include "kmod-helper/base/cleanup.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(reservations_done) struct reservations reservations = {0};
	struct root nowhere = ROOT_NONE;
	struct error error;

	if (reservations_parse((const char *)data, size, &reservations, &error) < 0)
		abort();
	for (size_t i = 0; i < reservations.count; i++)
		(void)reservation_check(
			&reservations, &nowhere, reservations.items[i].address, 0, 1000, &error);
	return 0;
}
