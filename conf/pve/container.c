/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads which device nodes the containers of this node are given. */

#include "container.h"

#include "cluster.h"
#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "etc/pve/lxc"
#define SUFFIX ".conf"
#define CONFIG_MAX (1024 * 1024)
/* A word in a message is not worth a long wait. */
#define NOUN_DEADLINE_MS 1000

/* Adds "/dev/nvidia0" or "/dev/dri/" without the outer slashes; a path outside /dev is ignored. */
static int add_node(const char *path, size_t length, struct names *ret)
{
	auto_free char *node = NULL;

	while (length && path[length - 1] == '/')
		length--;
	if (length <= strlen("/dev/") || strncmp(path, "/dev/", strlen("/dev/")) != 0)
		return 0;
	node = strndup(path + 1, length - 1);
	return node ? names_add(ret, node) : -ENOMEM;
}

/* devN: [path=]/dev/nvidia0[,mode=0666] */
static int add_device(const char *value, struct names *ret)
{
	while (*value) {
		size_t length = strcspn(value, ",");
		const char *path = strncmp(value, "path=", 5) == 0 ? value + 5 : value;

		if (*path == '/')
			return add_node(path, length - (size_t)(path - value), ret);
		value += length + (value[length] == ',');
	}
	return 0;
}

/* "c 226:128 rwm"; a number with a * is no certain device. */
static int add_number(const char *value, struct names *ret)
{
	static const char digits[] = "0123456789";
	char number[32];
	size_t major, length;

	if (strncmp(value, "c ", 2) != 0)
		return 0;
	value += 2 + strspn(value + 2, TEXT_WHITE);
	major = strspn(value, digits);
	if (!major || value[major] != ':')
		return 0;
	length = major + 1 + strspn(value + major + 1, digits);
	if (length == major + 1 || length >= sizeof(number) || !strchr(TEXT_WHITE, value[length]))
		return 0;
	snprintf(number, sizeof(number), "%.*s", (int)length, value);
	return names_add(ret, number);
}

/* The value of the line `KEY[N]: VALUE` or `KEY = VALUE`; NULL for any other line. */
static const char *value_of(const char *line, const char *key, const char *digits)
{
	size_t length = strlen(key);

	if (strncmp(line, key, length) != 0)
		return NULL;
	line += length;
	line += strspn(line, digits);
	line += strspn(line, TEXT_WHITE);
	if (*line != ':' && *line != '=')
		return NULL;
	return line + 1 + strspn(line + 1, TEXT_WHITE);
}

static int take_line(char *line, struct names *ret)
{
	const char *device, *mount, *allowed;

	line = text_trim(line);
	device = value_of(line, "dev", "0123456789");
	mount = value_of(line, "lxc.mount.entry", "");
	allowed = value_of(line, "lxc.cgroup2.devices.allow", "");
	if (!allowed)
		allowed = value_of(line, "lxc.cgroup.devices.allow", "");
	if (device)
		return add_device(device, ret);
	if (allowed)
		return add_number(allowed, ret);
	return mount ? add_node(mount, strcspn(mount, TEXT_WHITE), ret) : 0;
}

int container_nodes_parse(char *text, struct names *ret)
{
	char *line;
	int r = 0;

	while (r == 0 && (line = strsep(&text, "\n")) && *line != '[')
		r = take_line(line, ret);
	return r;
}

/* Writes a line "CTID NODE" for each node of one container. */
static int tell_container(const struct root *root, const char *name, FILE *stream)
{
	const struct file_read_options options = {.max = CONFIG_MAX, .refuse_nul = true};
	cleanup(names_done) struct names nodes = {0};
	char path[PATH_MAX];
	auto_free char *text = NULL;
	size_t length;

	snprintf(path, sizeof(path), FOLDER "/%s", name);
	if (file_read(root, path, &options, &text, &length, NULL) < 0)
		return 0;
	if (container_nodes_parse(text, &nodes) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < nodes.count; i++)
		fprintf(stream, "%.*s %s\n", (int)strcspn(name, "."), name, nodes.names[i]);
	return 0;
}

static bool is_config(const char *name)
{
	const char *dot = strchr(name, '.');

	return dot && strcmp(dot, SUFFIX) == 0;
}

static int tell_all(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	cleanup(names_done) struct names names = {0};
	int r = folder_list(root, FOLDER, &names);
	FILE *stream;

	(void)context;
	if (r < 0 && r != -ENOENT)
		return error_set_errno(error, r, "list /" FOLDER);
	stream = open_memstream(ret_text, ret_length);
	r = stream ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		if (is_config(names.names[i]))
			r = tell_container(root, names.names[i], stream);
	}
	if (stream && fclose(stream) != 0)
		r = -ENOMEM;
	return r < 0 ? error_set_errno(error, r, "read /" FOLDER) : 0;
}

/* The container @ctid. It is the last of the list or a new one, because the lines are in order. */
static struct container *container_get(struct containers *containers, unsigned int ctid)
{
	struct container *container;

	if (containers->count && containers->items[containers->count - 1].ctid == ctid)
		return &containers->items[containers->count - 1];
	container = LIST_ADD(containers->items, containers->count);
	if (container)
		container->ctid = ctid;
	return container;
}

static int take_told(struct containers *containers, char *line)
{
	char *node = strchr(line, ' ');
	struct container *container;
	unsigned int ctid;

	if (!node)
		return 0;
	*node++ = '\0';
	if (parse_vmid(line, &ctid) < 0)
		return 0;
	container = container_get(containers, ctid);
	return container ? names_add(&container->nodes, node) : -ENOMEM;
}

int containers_read(const struct root *root, struct containers *ret, struct error *error)
{
	struct cluster_request request = {.read = tell_all};
	cleanup(containers_done) struct containers containers = {0};
	auto_free char *text = NULL;
	char *rest, *line;
	size_t length = 0;
	int r = cluster_read(root, &request, &text, &length, error);

	if (r < 0)
		return r;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		if (take_told(&containers, line) < 0)
			return error_set_errno(error, -ENOMEM, "read /" FOLDER);
	}
	*ret = containers;
	containers = (struct containers){0};
	return 0;
}

void containers_done(struct containers *containers)
{
	for (size_t i = 0; i < containers->count; i++)
		names_done(&containers->items[i].nodes);
	free(containers->items);
	*containers = (struct containers){0};
}

static int look(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	const char *path = context;

	if (!file_exists(root, path))
		return error_set_errno(error, -ENOENT, "read /%s", path);
	*ret_text = NULL;
	*ret_length = 0;
	return 0;
}

bool container_exists(const struct root *root, unsigned int ctid)
{
	char path[64];
	const struct cluster_request request = {.read = look,
		.context = path,
		.context_size = sizeof(path),
		.deadline_ms = NOUN_DEADLINE_MS};
	struct error ignored;
	char *text;
	size_t length;

	snprintf(path, sizeof(path), FOLDER "/%u" SUFFIX, ctid);
	return cluster_read(root, &request, &text, &length, &ignored) == 0;
}

const char *guest_noun(const struct root *root, unsigned int vmid)
{
	return container_exists(root, vmid) ? "container" : "VM";
}
