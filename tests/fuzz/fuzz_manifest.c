/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/manifest.h"
#include "kmod-helper/base/cleanup.h"
#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(manifest_done) struct manifest again = {0};
	auto_free char *written = NULL, *twice = NULL;
	struct error error = {0};

	if (!text || manifest_parse(text, &manifest, &error) < 0)
		return 0;
	assert(manifest_format(&manifest, &written, NULL) == 0);
	assert(manifest_parse(written, &again, &error) == 0);
	assert(again.count == manifest.count && again.pending == manifest.pending);
	assert(manifest_format(&again, &twice, NULL) == 0 && strcmp(written, twice) == 0);
	return 0;
}
