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

static char normal(char character)
{
	return character == '-' ? '_' : character;
}

/* "kernel/drivers/vfio/pci/vfio-pci.ko.zst: …" is vfio_pci's line. */
static bool line_is_of(const char *line, size_t length, const char *name)
{
	const char *path_end = memchr(line, ':', length);
	const char *base = line;
	size_t i = 0;

	if (path_end)
		length = (size_t)(path_end - line);
	for (const char *slash = line;
		(slash = memchr(slash, '/', length - (size_t)(slash - line)));)
		base = ++slash;
	length -= (size_t)(base - line);
	while (i < length && name[i] && normal(base[i]) == normal(name[i]))
		i++;
	return !name[i] && length - i >= 3 && strncmp(base + i, ".ko", 3) == 0;
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

const char *kernel_package(const char *release)
{
	return strstr(release, "-pve") ? "proxmox-kernel" : "linux-image";
}
