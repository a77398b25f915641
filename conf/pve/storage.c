/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads storage.cfg and finds the file behind a volume such as local:snippets/gpu-ferry. */

#include "storage.h"

#include "cluster.h"
#include "conf/property.h"
#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "section_config.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PATH "etc/pve/storage.cfg"
#define LOCAL "local"
#define LOCAL_PATH "/var/lib/vz"
#define DIRECTORY_CONTENT "images,rootdir"
#define LOCAL_CONTENT "backup,images,iso,rootdir,snippets,vztmpl"

struct storages_parser {
	struct storages storages;
	struct storage storage; /* the section that is being read */
	struct section_reader reader;
};

/* PVE/JSONSchema.pm, parse_storage_id: m/^[a-z][a-z0-9\-\_\.]*[a-z0-9]$/i */
static bool is_storage_id(const char *text)
{
	size_t length = strlen(text);

	return length >= 2 && strspn(text, TEXT_LETTERS) &&
		strspn(text + length - 1, TEXT_LETTERS TEXT_DIGITS) &&
		text[strspn(text, TEXT_LETTERS TEXT_DIGITS "._-")] == '\0';
}

static void storage_done(struct storage *storage)
{
	free(storage->id);
	free(storage->type);
	free(storage->path);
	free(storage->content);
	free(storage->snippets);
	free(storage->nodes);
	*storage = (struct storage){0};
}

void storages_done(struct storages *storages)
{
	for (size_t i = 0; i < storages->count; i++)
		storage_done(&storages->items[i]);
	free(storages->items);
	names_done(&storages->warnings);
	*storages = (struct storages){0};
}

static void parser_done(struct storages_parser *parser)
{
	storages_done(&parser->storages);
	storage_done(&parser->storage);
}

/* Takes the folder of snippets from content-dirs ("iso=a,snippets=b"), if it names one. */
static int set_folders(struct storage *storage, char *value)
{
	static const char key[] = "snippets=";
	char *rest = NULL;
	int r = 0;

	for (char *part = strtok_r(value, ",; \t", &rest); part && r == 0;
		part = strtok_r(NULL, ",; \t", &rest)) {
		if (strncmp(part, key, strlen(key)) == 0 && part[strlen(key)])
			r = text_replace(&storage->snippets, part + strlen(key));
	}
	return r;
}

static int key_set(void *context, const char *key, char *value)
{
	struct storages_parser *parser = context;
	struct storage *storage = &parser->storage;

	if (strcmp(key, "disable") == 0) {
		storage->disabled = !value || strcmp(boolean_normalise(value), "0") != 0;
		return 0;
	}
	if (!value)
		return section_warn(&parser->reader, "'%s' has no value", key);
	if (strcmp(key, "path") == 0)
		return text_replace(&storage->path, value);
	if (strcmp(key, "content") == 0)
		return text_replace(&storage->content, value);
	if (strcmp(key, "nodes") == 0)
		return text_replace(&storage->nodes, value);
	/* the other properties of a storage are not needed here */
	return strcmp(key, "content-dirs") == 0 ? set_folders(storage, value) : 0;
}

static struct storage *find(const struct storages *storages, const char *id)
{
	for (size_t i = 0; i < storages->count; i++) {
		if (strcmp(storages->items[i].id, id) == 0)
			return &storages->items[i];
	}
	return NULL;
}

const struct storage *storages_find(const struct storages *storages, const char *id)
{
	return find(storages, id);
}

/* Each name is kept once: a later section replaces an earlier one. */
static int storage_keep(struct storages *storages, struct storage *storage)
{
	struct storage *place = find(storages, storage->id);

	if (place)
		storage_done(place);
	else
		place = LIST_ADD(storages->items, storages->count);
	if (!place)
		return -ENOMEM;
	*place = *storage;
	*storage = (struct storage){0};
	return 0;
}

static int section_begin(void *context, const char *type, const char *id)
{
	struct storage *storage = &((struct storages_parser *)context)->storage;

	storage->id = strdup(id);
	storage->type = strdup(type);
	return storage->id && storage->type ? 0 : -ENOMEM;
}

static int section_end(void *context)
{
	struct storages_parser *parser = context;

	return storage_keep(&parser->storages, &parser->storage);
}

static const struct section_handler handler = {
	.has_type = true,
	.is_id = is_storage_id,
	.begin = section_begin,
	.set = key_set,
	.end = section_end,
};

static bool local_is_reasonable(const struct storage *local)
{
	return local && strcmp(local->type, "dir") == 0 &&
		(!local->path || strcmp(local->path, LOCAL_PATH) == 0);
}

static int local_replace(struct storages *storages)
{
	cleanup(storage_done) struct storage local = {
		.id = strdup(LOCAL),
		.type = strdup("dir"),
		.path = strdup(LOCAL_PATH),
		.content = strdup(LOCAL_CONTENT),
	};

	if (!local.id || !local.type || !local.path || !local.content)
		return -ENOMEM;
	return storage_keep(storages, &local);
}

/* Fills in Proxmox's defaults: `local` is the same on every node. */
static int defaults_fill(struct storages *storages)
{
	struct storage *local = find(storages, LOCAL);
	int r = 0;

	if (!local_is_reasonable(local)) {
		r = local_replace(storages);
	} else {
		free(TAKE_PTR(local->nodes));
		r = local->path ? 0 : text_replace(&local->path, LOCAL_PATH);
	}
	for (size_t i = 0; r == 0 && i < storages->count; i++) {
		struct storage *storage = &storages->items[i];

		if (!storage->content && strcmp(storage->type, "dir") == 0)
			r = text_replace(&storage->content, DIRECTORY_CONTENT);
	}
	return r;
}

int storages_parse(const char *text, size_t length, struct storages *ret, struct error *error)
{
	cleanup(parser_done) struct storages_parser parser = {0};
	auto_free char *copy = strndup(text, length);

	parser.reader = (struct section_reader){
		.path = "/" PATH, .rest = copy, .warnings = &parser.storages.warnings};
	if (!copy || sections_read(&parser.reader, &handler, &parser) < 0 ||
		defaults_fill(&parser.storages) < 0)
		return error_set_errno(error, -ENOMEM, "read /" PATH);
	*ret = parser.storages;
	parser.storages = (struct storages){0};
	return 0;
}

static int file_get(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	struct file_read_options options = {.max = STORAGE_MAX_BYTES, .refuse_nul = true};

	(void)context;
	return file_read(root, PATH, &options, ret_text, ret_length, error);
}

int storages_read(const struct root *root, struct storages *ret, struct error *error)
{
	struct cluster_request request = {.read = file_get};
	auto_free char *text = NULL;
	size_t length = 0;
	int r = cluster_read(root, &request, &text, &length, error);

	if (r == -ENOENT)
		return storages_parse("", 0, ret, error);
	return r < 0 ? r : storages_parse(text, length, ret, error);
}

static bool list_has(const char *list, const char *word)
{
	static const char separators[] = ",; \t";

	for (list += strspn(list, separators); *list; list += strspn(list, separators)) {
		size_t length = strcspn(list, separators);

		if (length == strlen(word) && strncmp(list, word, length) == 0)
			return true;
		list += length;
	}
	return false;
}

bool storage_holds(const struct storage *storage, const char *content)
{
	return storage->content && list_has(storage->content, content);
}

bool storage_contents_equal(const char *left, const char *right)
{
	auto_free char *copy = strdup(left);
	char *rest = NULL;

	if (!copy || strlen(left) != strlen(right))
		return false;
	for (char *part = strtok_r(copy, ",; \t", &rest); part;
		part = strtok_r(NULL, ",; \t", &rest)) {
		if (!list_has(right, part))
			return false;
	}
	return true;
}

int storages_find_snippet(const struct storages *storages, const char *volume, char *ret,
	size_t size, struct error *error)
{
	static const char folder[] = "snippets/";
	const char *colon = strchr(volume, ':');
	const char *name = colon ? colon + 1 : "";
	const struct storage *storage;
	auto_free char *id = colon ? strndup(volume, (size_t)(colon - volume)) : NULL;
	int length;

	if (!id || !is_storage_id(id) || strncmp(name, folder, strlen(folder)) != 0 ||
		!name[strlen(folder)] || strchr(name + strlen(folder), '/'))
		return error_set(error, -EINVAL,
			"'%.200s' is not a snippet (STORAGE:snippets/NAME)", volume);
	storage = storages_find(storages, id);
	if (!storage)
		return error_set(error, -ENOENT, "the storage '%s' does not exist (/" PATH ")", id);
	if (!storage->path || storage->path[0] != '/')
		return error_set(error, -EINVAL,
			"the storage '%s' has no folder for snippets (/" PATH ")", id);
	length = snprintf(ret, size, "%s/%s/%s", storage->path + 1,
		storage->snippets ? storage->snippets : "snippets", name + strlen(folder));
	if (length < 0 || (size_t)length >= size)
		return error_set_errno(error, -ENAMETOOLONG, "find the snippet '%.200s'", volume);
	return 0;
}

int snippet_check(
	const struct root *root, const char *volume, const char *path, struct error *error)
{
	auto_close int fd = file_open(root, path, O_PATH);
	struct stat status;

	if (fd == -ENOENT)
		return error_set(error, -ENOENT, "%s does not exist (no file /%s)", volume, path);
	if (fd < 0)
		return error_set_errno(error, fd, "look at /%s (%s)", path, volume);
	if (fstat(fd, &status) < 0)
		return error_set_errno(error, -errno, "look at /%s (%s)", path, volume);
	if (!S_ISREG(status.st_mode))
		return error_set(error, -ENOENT, "%s is not a file (/%s)", volume, path);
	/* for root any x bit is enough, as for perl's -x and for execve */
	if (!(status.st_mode & 0111))
		return error_set(
			error, -EACCES, "%s is not executable: chmod +x /%s", volume, path);
	return 0;
}
