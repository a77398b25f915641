/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the names of Docker's and Podman's containers. */

#include "container_name.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/record/record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)
#define SHORT_ID 12

struct container {
	char id[CGROUP_CONTAINER_SIZE];
	struct names names;
};

struct containers {
	struct container *items;
	size_t count;
};

struct docker_container {
	char name[64]; /* "/ollama" */
};

static const struct record_field docker_fields[] = {
	{"Name", RECORD_TEXT, RECORD_MEMBER(struct docker_container, name), .required = true},
};
static const struct record_format docker_format = {
	RECORD_FIELDS(docker_fields), .size = sizeof(struct docker_container), .max = FILE_MAX};

static bool may_be_missing(const void *container)
{
	(void)container;
	return false;
}

static const struct record_field podman_fields[] = {
	{"id", RECORD_TEXT, RECORD_MEMBER(struct container, id), .required = true},
	{"names", RECORD_NAMES, RECORD_MEMBER(struct container, names), .is_there = may_be_missing},
};
static const struct record_format podman_format = {
	RECORD_FIELDS(podman_fields), .size = sizeof(struct container)};
static const struct record_field podman_list_fields[] = {
	{"list", RECORD_LIST, RECORD_MEMBER(struct containers, items),
		.count = offsetof(struct containers, count), .format = &podman_format},
};
static const struct record_format podman_list_format = {
	RECORD_FIELDS(podman_list_fields), .size = sizeof(struct containers), .max = FILE_MAX};

static void containers_done(struct containers *containers)
{
	for (size_t i = 0; i < containers->count; i++)
		names_done(&containers->items[i].names);
	free(containers->items);
}

static void read_docker(const struct root *root, const char *id, char *ret, size_t size)
{
	struct docker_container container = {0};
	auto_free char *text = NULL;
	char path[160];

	snprintf(path, sizeof(path), "var/lib/docker/containers/%s/config.v2.json", id);
	if (record_read_file(root, path, &docker_format, &text, NULL) == 0 &&
		record_parse(&docker_format, text, &container, NULL) == 0)
		snprintf(ret, size, "%s", container.name + (container.name[0] == '/'));
}

static void read_podman(const struct root *root, const char *id, char *ret, size_t size)
{
	cleanup(containers_done) struct containers containers = {0};
	auto_free char *text = NULL;
	auto_free char *object = NULL;

	if (record_read_file(root, "var/lib/containers/storage/overlay-containers/containers.json",
		    &podman_list_format, &text, NULL) < 0)
		return;
	/* the file is a list, and a record is an object */
	if (asprintf(&object, "{\"list\": %s}", text) < 0) {
		object = NULL;
		return;
	}
	(void)record_parse(&podman_list_format, object, &containers, NULL);
	for (size_t i = 0; i < containers.count; i++) {
		const struct container *container = &containers.items[i];

		if (strcmp(container->id, id) == 0 && container->names.count)
			snprintf(ret, size, "%s", container->names.names[0]);
	}
}

void container_name(
	const struct root *root, const struct cgroup *cgroup, char ret[static CONTAINER_NAME_SIZE])
{
	char name[64] = "";

	if (strcmp(cgroup->engine, "Docker") == 0)
		read_docker(root, cgroup->container, name, sizeof(name));
	else
		read_podman(root, cgroup->container, name, sizeof(name));
	if (!*name)
		snprintf(name, sizeof(name), "%.*s", SHORT_ID, cgroup->container);
	snprintf(ret, CONTAINER_NAME_SIZE, "%s container %s", cgroup->engine, name);
}
