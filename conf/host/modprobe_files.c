/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads the files of modprobe.d in the order in which modprobe reads them. */

#include "modprobe_files.h"

#include "kernel_arguments.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define BLANKS " \t"

/* An earlier folder hides the same file name in a later one. With a merged /usr the last two are
 * the same folder; a name is read only once. */
static const char *const folders[] = {
	"etc/modprobe.d",
	"run/modprobe.d",
	"usr/local/lib/modprobe.d",
	"usr/lib/modprobe.d",
	"lib/modprobe.d",
};

#define FOLDER_COUNT (sizeof(folders) / sizeof(folders[0]))

static const char *const kind_names[] = {
	[MODPROBE_ALIAS] = "alias",
	[MODPROBE_BLACKLIST] = "blacklist",
	[MODPROBE_INSTALL] = "install",
	[MODPROBE_OPTIONS] = "options",
	[MODPROBE_REMOVE] = "remove",
	[MODPROBE_SOFTDEP] = "softdep",
	[MODPROBE_WEAKDEP] = "weakdep",
};

#define KIND_COUNT (sizeof(kind_names) / sizeof(kind_names[0]))

const char *modprobe_kind_name(enum modprobe_kind kind)
{
	return kind_names[kind];
}

static void line_done(struct modprobe_line *line)
{
	free(line->module);
	free(line->arguments);
	free(line->path);
}

void modprobe_files_done(struct modprobe_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		line_done(&files->lines[i]);
	free(files->lines);
	names_done(&files->files);
	names_done(&files->unread);
	*files = (struct modprobe_files){0};
}

/* Copies one line, with continued lines joined, and moves @position past it. A backslash before
 * another character is dropped and the character kept. Returns how many lines of the file that was,
 * 0 at the end. */
static unsigned int line_take(const char **position, char *line)
{
	unsigned int count = 0;

	if (!**position)
		return 0;
	for (; **position; (*position)++) {
		if (**position == '\n') {
			(*position)++;
			break;
		}
		if (**position == '\\') {
			(*position)++;
			if (!**position)
				break;
			if (**position == '\n') {
				count++;
				continue;
			}
		}
		*line++ = **position;
	}
	*line = '\0';
	return count + 1;
}

/* As libkmod's underscores(), which leaves the brackets of a pattern alone. */
static void underscores(char *name)
{
	for (; *name; name++) {
		if (*name == '[')
			name += strcspn(name, "]");
		if (!*name)
			return;
		if (*name == '-')
			*name = '_';
	}
}

static int kind_find(const char *word)
{
	for (size_t i = 0; i < KIND_COUNT; i++) {
		if (strcmp(kind_names[i], word) == 0)
			return (int)i;
	}
	return -ENOENT;
}

/* libkmod ignores a line without a second word, unless it is a "blacklist" line. */
static bool line_is_whole(enum modprobe_kind kind, const char *arguments)
{
	return kind == MODPROBE_BLACKLIST || arguments[0];
}

static int line_copy(struct modprobe_files *files, const struct modprobe_line *line)
{
	struct modprobe_line *copy = LIST_ADD(files->lines, files->count);

	if (!copy)
		return -ENOMEM;
	*copy = *line;
	copy->module = strdup(line->module);
	copy->arguments = strdup(line->arguments);
	copy->path = strdup(line->path);
	return copy->module && copy->arguments && copy->path ? 0 : -ENOMEM;
}

static int line_add(struct modprobe_files *files, const struct modprobe_line *place, char *text)
{
	struct modprobe_line line = *place;
	char *rest = NULL;
	char *word = strtok_r(text, BLANKS, &rest);
	char *module = strtok_r(NULL, BLANKS, &rest);
	int kind = word && text[0] != '#' ? kind_find(word) : -ENOENT;

	if (kind < 0 || !module)
		return 0;
	rest = text_trim(rest);
	line.kind = (enum modprobe_kind)kind;
	if (!line_is_whole(line.kind, rest))
		return 0;
	underscores(module);
	line.module = module;
	line.arguments = rest;
	return line_copy(files, &line);
}

int modprobe_text_parse(const char *path, const char *text, struct modprobe_files *files)
{
	auto_free char *path_copy = strdup(path);
	auto_free char *buffer = malloc(strlen(text) + 1);
	struct modprobe_line place = {.path = path_copy, .line = 1};

	if (!path_copy || !buffer)
		return -ENOMEM;
	while ((place.line_count = line_take(&text, buffer))) {
		int r = line_add(files, &place, buffer);

		if (r < 0)
			return r;
		place.line += place.line_count;
	}
	return 0;
}

int initramfs_modules_parse(const char *text, struct modprobe_files *files)
{
	char path[] = INITRAMFS_MODULES_PATH;
	auto_free char *copy = strdup(text);
	struct modprobe_line line = {.kind = MODPROBE_OPTIONS, .path = path, .line_count = 1};
	char *rest = copy, *next;
	int r = copy ? 0 : -ENOMEM;

	while (r == 0 && (next = strsep(&rest, "\n"))) {
		line.line++;
		line.module = strtok_r(next, BLANKS, &line.arguments);
		if (!line.module || line.module[0] == '#')
			continue;
		line.arguments = text_trim(line.arguments);
		underscores(line.module);
		if (line.arguments[0])
			r = line_copy(files, &line);
	}
	return r;
}

/* As libkmod's conf_files_filter_out, which skips hidden files and other endings. */
static bool name_counts(const char *name)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot && (strcmp(dot, ".conf") == 0 || strcmp(dot, ".alias") == 0);
}

/* A file: its name, which decides the order, and the folder that it is read from. */
struct found {
	char name[NAME_MAX + 1];
	size_t folder;
};

struct found_files {
	struct found *items;
	size_t count;
};

static void found_done(struct found_files *found)
{
	free(found->items);
}

static bool is_hidden(const struct found_files *found, const char *name)
{
	for (size_t i = 0; i < found->count; i++) {
		if (strcmp(found->items[i].name, name) == 0)
			return true;
	}
	return false;
}

static int folder_scan(const struct root *root, size_t folder, struct found_files *found)
{
	cleanup(names_done) struct names names = {0};

	if (folder_list(root, folders[folder], &names) == -ENOMEM)
		return -ENOMEM;
	for (size_t i = 0; i < names.count; i++) {
		struct found *item;

		if (!name_counts(names.names[i]) || is_hidden(found, names.names[i]))
			continue;
		item = LIST_ADD(found->items, found->count);
		if (!item)
			return -ENOMEM;
		snprintf(item->name, sizeof(item->name), "%s", names.names[i]);
		item->folder = folder;
	}
	return 0;
}

static int compare_found(const void *left, const void *right)
{
	const struct found *a = left;
	const struct found *b = right;

	return strcmp(a->name, b->name);
}

static int found_read(
	const struct root *root, const struct found *found, struct modprobe_files *files)
{
	struct file_read_options options = {.max = MODPROBE_FILE_MAX_BYTES};
	char path[NAME_MAX + sizeof("usr/local/lib/modprobe.d/")];
	auto_free char *text = NULL;
	struct error error = {0};
	int r;

	snprintf(path, sizeof(path), "%s/%s", folders[found->folder], found->name);
	r = file_read(root, path, &options, &text, NULL, &error);
	/* libkmod ignores a folder with such a name */
	if (r == -ENOMEM || r == -EISDIR)
		return r == -ENOMEM ? r : 0;
	if (r < 0)
		return names_add(&files->unread, error.message);
	r = names_add(&files->files, path);
	return r < 0 ? r : modprobe_text_parse(path, text, files);
}

static int files_fill(const struct root *root, struct modprobe_files *files)
{
	cleanup(found_done) struct found_files found = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < FOLDER_COUNT; i++)
		r = folder_scan(root, i, &found);
	if (r < 0)
		return r;
	if (found.count)
		qsort(found.items, found.count, sizeof(*found.items), compare_found);
	for (size_t i = 0; r == 0 && i < found.count; i++)
		r = found_read(root, &found.items[i], files);
	return r;
}

static int initramfs_modules_read(const struct root *root, struct modprobe_files *files)
{
	struct file_read_options options = {.max = MODPROBE_FILE_MAX_BYTES};
	auto_free char *text = NULL;
	struct error error = {0};
	int r = file_read(root, INITRAMFS_MODULES_PATH, &options, &text, NULL, &error);

	if (r == -ENOENT || r == -ENOMEM)
		return r == -ENOMEM ? r : 0;
	return r < 0 ? names_add(&files->unread, error.message)
		     : initramfs_modules_parse(text, files);
}

int modprobe_files_read(const struct root *root, struct modprobe_files *ret, struct error *error)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};
	int r = files_fill(root, &files);

	if (r == 0)
		r = initramfs_modules_read(root, &files);
	if (r < 0)
		return error_set_errno(error, r, "read the files of modprobe.d");
	*ret = files;
	files = (struct modprobe_files){0};
	return 0;
}

char *modprobe_option_value(const char *arguments, const char *name)
{
	cleanup(names_done) struct names words = {0};
	const char *value = NULL;

	if (kernel_arguments_split(arguments, &words) == 0)
		value = kernel_arguments_get(&words, name);
	return value ? strdup(value) : NULL;
}

bool modprobe_line_blocks(const struct modprobe_line *line)
{
	auto_free char *modeset = NULL;

	if (line->kind == MODPROBE_INSTALL)
		return strstr(line->arguments, "/false") || strstr(line->arguments, "/true");
	if (line->kind != MODPROBE_OPTIONS)
		return line->kind == MODPROBE_BLACKLIST;
	modeset = modprobe_option_value(line->arguments, "modeset");
	return modeset && strcmp(modeset, "0") == 0;
}
