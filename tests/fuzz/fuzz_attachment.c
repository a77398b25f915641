/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/attach/attachment.h"
#include "kmod-helper/base/cleanup.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* What was read must come back from what is written, and be written alike again. */
static void check_round_trip(const struct attachment *attachment)
{
	cleanup(attachment_done) struct attachment read = {0};
	auto_free char *text = NULL, *again = NULL;

	assert(attachment_format(attachment, &text, NULL) == 0);
	assert(attachment_parse(text, &read, NULL) == 0);
	assert(read.vmid == attachment->vmid);
	assert(read.key_count == attachment->key_count);
	assert(read.function_count == attachment->function_count);
	assert(attachment_format(&read, &again, NULL) == 0);
	assert(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	auto_free char *text = strndup((const char *)bytes, length);
	struct error error = {0};

	if (!text)
		return 0;
	if (attachment_parse(text, &attachment, &error) == 0)
		check_round_trip(&attachment);
	else
		assert(error.message[0]);
	return 0;
}
