/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/three_way.h"
#include "kmod-helper/base/cleanup.h"
#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What nobody else has changed must come back to the letter; and what we did not change must stay.
 */
static void check_pair(const char *one, const char *two)
{
	auto_free char *back = NULL;
	auto_free char *kept = NULL;

	assert(revision_revert(one, two, two, &back, NULL) == 0 && strcmp(back, one) == 0);
	assert(revision_revert(two, two, one, &kept, NULL) == 0 && strcmp(kept, one) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size < 2000 ? size : 2000);
	const char *parts[3] = {"", "", ""};
	char *rest = text;

	for (size_t i = 0; i < 3 && rest; i++)
		parts[i] = strsep(&rest, "\1");
	for (size_t i = 0; i < 3; i++) {
		auto_free char *merged = NULL;
		auto_free char *diff = NULL;
		auto_free char *left = NULL;

		check_pair(parts[i], parts[(i + 1) % 3]);
		(void)revision_revert(
			parts[i], parts[(i + 1) % 3], parts[(i + 2) % 3], &merged, NULL);
		assert(revision_diff("f", parts[i], parts[(i + 1) % 3], &diff, NULL) == 0);
		assert(revision_remove(parts[i], parts[(i + 1) % 3], &left, NULL) == 0);
	}
	return 0;
}
