/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the name that this node has in the cluster. */

#include "node_name.h"

#include "cluster.h"
#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

bool node_name_is_valid(const char *name)
{
	size_t length = strspn(name, TEXT_LETTERS TEXT_DIGITS "-");

	return length && length < NODE_NAME_SIZE && !name[length] && name[0] != '-' &&
		name[length - 1] != '-';
}

static int name_from_hostname(const struct root *root, char *ret, size_t size)
{
	ssize_t length = file_read_attribute(root, "etc/hostname", ret, size);

	return length < 0 ? (int)length : 0;
}

static int name_from_kernel(char *ret, size_t size)
{
	struct utsname names;

	if (uname(&names) < 0)
		return -errno;
	if (strlen(names.nodename) >= size)
		return -ENAMETOOLONG;
	strcpy(ret, names.nodename);
	return 0;
}

static int name_get(const struct root *root, char *ret, size_t size)
{
	int r = link_read_name(root, "etc/pve/local", ret, size);

	if (r < 0 && !root->live)
		r = name_from_hostname(root, ret, size);
	if (r < 0)
		r = name_from_kernel(ret, size);
	return r;
}

int node_find(const struct root *root, char *ret, size_t size, struct error *error)
{
	char name[NODE_NAME_SIZE];
	int r = name_get(root, name, sizeof(name));

	if (r < 0)
		return error_set_errno(error, r, "find this node's name");
	name[strcspn(name, ". \t\r\n")] = '\0';
	if (!node_name_is_valid(name))
		return error_set(error, -EINVAL,
			"find this node's name: '%.80s' is not a node name (see /etc/pve/local)",
			name);
	if (strlen(name) >= size)
		return error_set_errno(error, -ENAMETOOLONG, "find this node's name");
	strcpy(ret, name);
	return 0;
}

static int node_get(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	char name[NODE_NAME_SIZE];
	int r = node_find(root, name, sizeof(name), error);

	(void)context;
	if (r < 0)
		return r;
	*ret_text = strdup(name);
	if (!*ret_text)
		return error_set_errno(error, -ENOMEM, "find this node's name");
	*ret_length = strlen(name);
	return 0;
}

int node_name(const struct root *root, char *ret, size_t size, struct error *error)
{
	struct cluster_request request = {.read = node_get};
	auto_free char *text = NULL;
	size_t length = 0;
	int r = cluster_read(root, &request, &text, &length, error);

	if (r < 0)
		return r;
	if (length >= size)
		return error_set_errno(error, -ENAMETOOLONG, "find this node's name");
	strcpy(ret, text);
	return 0;
}
