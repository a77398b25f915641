/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/section_config.h"
#include "kmod-helper/base/cleanup.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Has a section begun and not ended? */
static bool is_inside;

static bool is_id(const char *text)
{
	return strcmp(text, "0") != 0;
}

static int begin(void *context, const char *type, const char *id)
{
	assert(!is_inside && *id && !type == !*(const bool *)context);
	is_inside = true;
	return 0;
}

static int set(void *context, const char *key, char *value)
{
	(void)context;
	assert(is_inside && *key && (!value || *value));
	if (value)
		memset(value, 'x', strlen(value));
	return 0;
}

static int end(void *context)
{
	(void)context;
	assert(is_inside);
	is_inside = false;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	for (int has_type = 0; has_type < 2; has_type++) {
		auto_free char *text = strndup((const char *)bytes, length);
		cleanup(names_done) struct names warnings = {0};
		struct section_reader reader = {.path = "f", .rest = text, .warnings = &warnings};
		struct section_handler handler = {.has_type = has_type,
			.is_id = is_id,
			.begin = begin,
			.set = set,
			.end = end};

		assert(sections_read(&reader, &handler, &handler.has_type) == 0 && !is_inside);
		for (size_t i = 0; i < warnings.count; i++)
			assert(strncmp(warnings.names[i], "f:", 2) == 0);
	}
	return 0;
}
