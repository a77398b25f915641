/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Tells from a process's control group which guest or service it belongs to. */

#include "cgroup.h"

#include "parse.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIGITS "0123456789"

/* The number between @before and @after, which is the end of a part; 0 when there is none. */
static unsigned int find_number(const char *path, const char *before, const char *after)
{
	char digits[16];
	unsigned int number;
	size_t length;

	if (strncmp(path, before, strlen(before)) != 0)
		return 0;
	path += strlen(before);
	length = strspn(path, DIGITS);
	if (length >= sizeof(digits))
		return 0;
	memcpy(digits, path, length);
	digits[length] = '\0';
	path += length;
	if (strncmp(path, after, strlen(after)) != 0 || !strchr("/", path[strlen(after)]))
		return 0;
	return parse_vmid(digits, &number) < 0 ? 0 : number;
}

static bool has_suffix(const char *part, size_t length, const char *suffix)
{
	size_t suffix_length = strlen(suffix);

	return length > suffix_length &&
		strncmp(part + length - suffix_length, suffix, suffix_length) == 0;
}

/* "/system.slice/nvidia-persistenced.service/…": the service that has nothing but slices above it.
 * Slices and services are the system manager's; in a scope others may make groups. */
static void find_unit(const char *path, char *ret, size_t size)
{
	while (*path == '/') {
		const char *part = path + 1;
		size_t length = strcspn(part, "/");

		if (has_suffix(part, length, ".service") && length < size)
			snprintf(ret, size, "%.*s", (int)length, part);
		if (!has_suffix(part, length, ".slice"))
			return;
		path = part + length;
	}
}

/* Is it @prefix, the 64 digits of an id and @suffix? */
static bool is_application(const char *part, size_t length, const char *prefix, const char *suffix)
{
	size_t before = strlen(prefix), after = strlen(suffix);

	return length == before + 64 + after && strncmp(part, prefix, before) == 0 &&
		strspn(part + before, "0123456789abcdef") == 64 &&
		strncmp(part + before + 64, suffix, after) == 0;
}

/* The container of Docker or Podman that root's engine has made. */
static void find_application(const char *path, struct cgroup *ret)
{
	static const struct {
		const char *parent, *prefix, *suffix, *engine; /* no parent: below slices */
	} forms[] = {
		{NULL, "docker-", ".scope", "Docker"},
		{NULL, "libpod-", ".scope", "Podman"},
		{"/docker/", "", "", "Docker"},
		{"/libpod_parent/", "libpod-", "", "Podman"},
	};
	const char *below = path;

	while (*below == '/' && has_suffix(below + 1, strcspn(below + 1, "/"), ".slice"))
		below += 1 + strcspn(below + 1, "/");
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const char *parent = forms[i].parent ? forms[i].parent : "/";
		const char *part = forms[i].parent ? path : below;

		if (strncmp(part, parent, strlen(parent)) != 0)
			continue;
		part += strlen(parent);
		if (is_application(part, strcspn(part, "/"), forms[i].prefix, forms[i].suffix)) {
			ret->engine = forms[i].engine;
			snprintf(ret->container, sizeof(ret->container), "%.64s",
				part + strlen(forms[i].prefix));
		}
	}
}

/* "/lxc/105/ns/system.slice/ollama.service": the service that the container's own systemd shows. */
static void find_inner_unit(const char *path, char *ret, size_t size)
{
	const char *inner = strstr(path, "/lxc/");

	if (!inner)
		return;
	inner += strlen("/lxc/");
	inner += strspn(inner, DIGITS);
	if (strncmp(inner, "/ns/", strlen("/ns/")) == 0)
		inner += strlen("/ns");
	*ret = '\0';
	find_unit(inner, ret, size);
}

/* The path of "12:devices:/lxc/105"; "" when the line is none of those. */
static const char *find_path(const char *line)
{
	const char *colon = strchr(line, ':');

	colon = colon ? strchr(colon + 1, ':') : NULL;
	return colon ? colon + 1 : "";
}

void cgroup_parse(char *text, struct cgroup *ret)
{
	struct cgroup cgroup = {0};
	char *line;

	while ((line = strsep(&text, "\n")) && !cgroup.guest) {
		const char *path = find_path(line);

		if ((cgroup.guest = find_number(path, "/lxc/", ""))) {
			cgroup.kind = CGROUP_CONTAINER;
			find_inner_unit(path, cgroup.unit, sizeof(cgroup.unit));
		} else if ((cgroup.guest = find_number(path, "/qemu.slice/", ".scope")))
			cgroup.kind = CGROUP_VM;
		else if (!*cgroup.unit)
			find_unit(path, cgroup.unit, sizeof(cgroup.unit));
		if (!cgroup.engine)
			find_application(path, &cgroup);
	}
	if (cgroup.guest)
		cgroup.engine = NULL;
	if (cgroup.kind == CGROUP_VM)
		cgroup.unit[0] = '\0';
	else if (*cgroup.unit && !cgroup.guest)
		cgroup.kind = CGROUP_SERVICE;
	*ret = cgroup;
}

void cgroup_read(const struct root *root, pid_t pid, struct cgroup *ret)
{
	char path[64], text[4096];
	ssize_t length;

	snprintf(path, sizeof(path), "proc/%ld/cgroup", (long)pid);
	length = file_read_attribute(root, path, text, sizeof(text));
	/* groups far below can make it longer: the last part may then be cut off */
	if (length == -EFBIG && strrchr(text, '/'))
		*strrchr(text, '/') = '\0';
	else if (length < 0)
		text[0] = '\0';
	cgroup_parse(text, ret);
}
