/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/line_edit.h"
#include "conf/host/modprobe_files.h"
#include "kmod-helper/base/cleanup.h"
#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};
	auto_free char *text = strndup((const char *)data, size);
	unsigned int last = 0;

	if (!text)
		return 0;
	assert(modprobe_text_parse("f", text, &files) == 0);
	for (size_t i = 0; i < files.count; i++) {
		char *without = NULL;

		free(modprobe_option_value(files.lines[i].arguments, "ids"));
		free(line_edit_remove(text, files.lines[i].line, files.lines[i].line_count));
		(void)line_edit_remove_word(text, files.lines[i].line, files.lines[i].line_count,
			files.lines[i].arguments, &without);
		free(without);
		assert(files.lines[i].line > last && files.lines[i].line_count > 0);
		last = files.lines[i].line + files.lines[i].line_count - 1;
	}
	assert(initramfs_modules_parse(text, &files) == 0);
	return 0;
}
