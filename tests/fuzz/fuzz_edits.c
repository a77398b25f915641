/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/grub_defaults.h"
#include "conf/host/kernel_arguments.h"
#include "conf/host/line_edit.h"
#include "conf/host/manifest.h"
#include "conf/host/modprobe_files.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/names.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#define TEXT_MAX 2000u
#define PATH "etc/f"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* One file that is edited again and again, as by several runs of setup. */
struct file {
	const char *first;
	char *now;
	struct manifest manifest;
};

/* Whatever was edited so far, an undo gives the first bytes back. */
static void check_undo(const struct file *file)
{
	cleanup(manifest_done) struct manifest read = {0};
	auto_free char *written = NULL, *original = NULL;

	assert(manifest_format(&file->manifest, &written, NULL) == 0);
	assert(manifest_parse(written, &read, NULL) == 0);
	assert(manifest_original(manifest_find(&read, PATH), file->now, &original, NULL) == 0);
	assert(strcmp(original, file->first) == 0);
}

/* Takes ownership of @text. */
static void edit(struct file *file, char *text)
{
	assert(text);
	if (strcmp(text, file->now) != 0) {
		assert(manifest_note(&file->manifest, PATH, 0644, file->now, text, NULL) == 0);
		free(file->now);
		file->now = text;
		check_undo(file);
	} else {
		free(text);
	}
}

/* Each argument of each variable goes, one after the other. */
static void edit_grub(struct file *file)
{
	cleanup(grub_defaults_done) struct grub_defaults defaults = {0};

	assert(grub_defaults_parse(&defaults, PATH, file->first) == 0);
	for (size_t i = 0; i < defaults.count; i++) {
		const struct grub_variable *variable = &defaults.items[i];
		cleanup(names_done) struct names words = {0};

		if (!variable->value)
			continue;
		assert(kernel_arguments_split(variable->value, &words) == 0);
		for (size_t k = 0; k < words.count; k++) {
			char *text = NULL;

			if (line_edit_remove_word(file->now, variable->line, variable->line_count,
				    words.names[k], &text) == 0)
				edit(file, text);
		}
	}
	edit(file, line_edit_append_word(file->now, "iommu=pt"));
}

/* Each line of modprobe's goes, the last one first. */
static void edit_modprobe(struct file *file)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};

	assert(modprobe_text_parse(PATH, file->first, &files) == 0);
	for (size_t i = files.count; i-- > 0;)
		edit(file,
			line_edit_remove(
				file->now, files.lines[i].line, files.lines[i].line_count));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	auto_free char *text = strndup((const char *)bytes, length < TEXT_MAX ? length : TEXT_MAX);
	static void (*const kinds[])(struct file * file) = {edit_grub, edit_modprobe};

	for (size_t i = 0; i < 2 && text; i++) {
		struct file file = {.first = text, .now = strdup(text)};

		kinds[i](&file);
		manifest_done(&file.manifest);
		free(file.now);
	}
	return 0;
}
