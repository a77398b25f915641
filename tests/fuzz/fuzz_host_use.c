/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/holder/host_use.h"
#include "tests/fuzz/answers.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Folders of sysfs, capabilities of input devices, mountinfo, swaps and udev's data, with anything
 * in them. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct answers answers;
	struct kernel kernel = answers_kernel(&answers);
	char text[256] = "";

	answers_init(&answers, bytes, length);
	if (host_use_find(&kernel, "0000:01:00.0", text, sizeof(text)))
		assert(*text);
	if (host_use_find_claimed(&kernel, "0000:01:00.0", text, sizeof(text)))
		assert(*text);
	answers_done(&answers);
	return 0;
}
