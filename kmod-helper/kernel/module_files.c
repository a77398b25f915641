/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads which modules a kernel has on disk. */

#include "module_files.h"

#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

#define INDEX_MAX_BYTES (8 * 1024 * 1024)

static int read_index(const struct root *root, const char *release, const char *name, char **ret,
	struct error *error)
{
	const struct file_read_options options = {.max = INDEX_MAX_BYTES};
	char path[PATH_MAX];
	size_t length;

	snprintf(path, sizeof(path), "lib/modules/%s/%s", release, name);
	return file_read(root, path, &options, ret, &length, error);
}

int module_files_read(
	const struct root *root, const char *release, struct module_files *ret, struct error *error)
{
	cleanup(module_files_done) struct module_files files = {0};
	int r = read_index(root, release, "modules.dep", &files.dependencies, error);

	if (r < 0)
		return r;
	r = read_index(root, release, "modules.builtin", &files.builtin, error);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = files;
	files = (struct module_files){0};
	return 0;
}

void module_files_done(struct module_files *files)
{
	free(files->dependencies);
	free(files->builtin);
	*files = (struct module_files){0};
}

void module_name_underscores(char *name)
{
	while ((name = strchr(name, '-')))
		*name = '_';
}

static char normal(char character)
{
	return character == '-' ? '_' : character;
}

/* The module's name in the path at the start of a line, "kernel/drivers/vfio/pci/vfio-pci.ko.zst:
 * …", up to its ".ko". */
static const char *line_module(const char *line, size_t length, size_t *ret_length)
{
	const char *path_end = memchr(line, ':', length);
	const char *base = line, *end;

	if (path_end)
		length = (size_t)(path_end - line);
	for (const char *slash = line;
		(slash = memchr(slash, '/', length - (size_t)(slash - line)));)
		base = ++slash;
	length -= (size_t)(base - line);
	end = memmem(base, length, ".ko", 3);
	*ret_length = end ? (size_t)(end - base) : 0;
	return base;
}

/* The number of bytes that both begin with; - and _ are the same. */
static size_t same_length(const char *base, size_t length, const char *name)
{
	size_t i = 0;

	while (i < length && name[i] && normal(base[i]) == normal(name[i]))
		i++;
	return i;
}

static bool line_is_of(const char *line, size_t length, const char *name)
{
	size_t base_length;
	const char *base = line_module(line, length, &base_length);

	return base_length && base_length == strlen(name) &&
		same_length(base, base_length, name) == base_length;
}

static bool index_has(const char *text, const char *name)
{
	while (text && *text) {
		size_t length = strcspn(text, "\n");

		if (line_is_of(text, length, name))
			return true;
		text += length + (text[length] == '\n');
	}
	return false;
}

bool module_files_have(const struct module_files *files, const char *name)
{
	return index_has(files->dependencies, name) || index_has(files->builtin, name);
}

/* Is it @name and a separator and more, at the start of a path's last part? */
static bool is_variant(const char *base, size_t length, const char *name)
{
	size_t same = same_length(base, length, name);

	return !name[same] && same < length && normal(base[same]) == '_';
}

/* Does the line, after its ":", name a module that is @name or begins so? */
static bool needs_family(const char *line, size_t length, const char *name)
{
	const char *needed = memchr(line, ':', length);
	const char *end = line + length;

	while (needed && needed < end) {
		const char *word = needed + 1;
		size_t word_length = strcspn(word, " \n"), base_length;
		const char *base = line_module(word, word_length, &base_length);

		if (base_length && !name[same_length(base, base_length, name)])
			return true;
		needed = word + word_length;
	}
	return false;
}

static int add_variant(const char *base, size_t length, struct names *ret)
{
	auto_free char *name = strndup(base, length);

	if (!name)
		return -ENOMEM;
	module_name_underscores(name);
	return names_add_once(ret, name);
}

int module_files_variants(const struct module_files *files, const char *name, struct names *ret)
{
	const char *line = files->dependencies;
	int r = 0;

	for (size_t length; r == 0 && line && *line; line += length + (line[length] == '\n')) {
		size_t base_length;
		const char *base;

		length = strcspn(line, "\n");
		base = line_module(line, length, &base_length);
		if (strncmp(line, "kernel/", 7) != 0 && is_variant(base, base_length, name) &&
			!needs_family(line, length, name))
			r = add_variant(base, base_length, ret);
	}
	return r;
}

const char *kernel_package(const char *release)
{
	return strstr(release, "-pve") ? "proxmox-kernel" : "linux-image";
}
