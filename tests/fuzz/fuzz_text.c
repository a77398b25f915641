/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/stop_step.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* As long as before, UTF-8 without control characters but @kept, and the same when it is cleaned
 * again. */
static void check_clean(const char *text, void (*make_clean)(char *text), const char *kept)
{
	auto_free char *clean = strdup(text), *again = NULL;
	size_t left;

	assert(clean);
	make_clean(clean);
	left = strlen(clean);
	assert(left == strlen(text));
	for (const char *at = clean; left;) {
		size_t character = text_character_length(at, left);

		assert(character && character <= left);
		assert((unsigned char)*at >= 0x20 || strchr(kept, *at));
		assert(*at != 0x7f &&
			(character != 2 || strncmp(at, "\xc2\x80", 2) < 0 ||
				strncmp(at, "\xc2\xa0", 2) >= 0));
		at += character;
		left -= character;
	}
	again = strdup(clean);
	assert(again);
	make_clean(again);
	assert(strcmp(clean, again) == 0);
}

/* What is cleaned where it leaves, and the words of pct and systemctl. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	auto_free char *text = strndup((const char *)bytes, length);
	auto_free char *reply = strndup((const char *)bytes, length);
	unsigned int vmid;

	if (!text || !reply)
		return 0;
	check_clean(text, text_make_line, "");
	check_clean(text, text_make_lines, "\t\n");
	if (parse_vmid(text, &vmid) == 0)
		assert(vmid >= 100 && vmid <= VMID_MAX);
	assert(!strchr(stop_step_reason(reply), '\n'));
	(void)text_trim(text);
	return 0;
}
