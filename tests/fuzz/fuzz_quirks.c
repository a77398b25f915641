/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/quirks.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig's parser forgets the string it holds when it meets a syntax error. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

/* Whatever is accepted has a name, says something, and can be matched. */
static void check(const struct quirks *quirks)
{
	const struct quirk_device device = {
		.vendor_id = 0x10de, .device_id = 0x2704, .class_code = 0x0300, .driver = "nvidia"};

	for (size_t i = 0; i < quirks->count; i++) {
		const struct quirk *quirk = &quirks->items[i];

		if (!quirk->name || !*quirk->name || !quirk->place ||
			quirk->deadline_ms > 3600000 ||
			(quirk->unless_parameter && !strchr(quirk->unless_parameter, '=')))
			abort();
		(void)quirk_is_about(quirk, &device);
		(void)quirk_version_matches(&quirk->driver_versions, "570.124.04");
		(void)quirk_version_matches(&quirk->kernels, "6.14.8-1-pve");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(quirks_done) struct quirks quirks = {0};
	auto_free char *text = strndup((const char *)data, size);
	struct error error;

	if (!text)
		return 0;
	/* twice: the second time each entry replaces its own */
	if (quirks_parse(text, "f", &quirks, &error) == 0 &&
		quirks_parse(text, "g", &quirks, &error) < 0 && error.status != -ENOMEM)
		abort();
	check(&quirks);
	return 0;
}
