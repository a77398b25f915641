/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/settings.h"
#include "kmod-helper/base/cleanup.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig's parser forgets the string it holds when it meets a syntax error. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

/* Whatever is accepted is within its range. */
static void check(const struct settings *settings)
{
	if (settings->write_deadline_seconds < 1 || settings->write_deadline_seconds > 3600 ||
		settings->slow_write_deadline_seconds > 3600 ||
		settings->return_wait_seconds > 3600 ||
		settings->boot_display > BOOT_DISPLAY_REFUSE)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(settings_done) struct settings settings = {0};
	auto_free char *text = strndup((const char *)data, size);
	struct error error;

	if (!text)
		return 0;
	if (settings_parse(text, "f", 104, &settings, &error) == 0)
		check(&settings);
	return 0;
}
