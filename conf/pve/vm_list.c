/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Lists the VMs of this node. */

#include "vm_list.h"

#include "cluster.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "etc/pve/qemu-server"
#define SUFFIX ".conf"

/* Writes the names, one per line. */
static int folder_get(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	cleanup(names_done) struct names names = {0};
	FILE *stream;
	int r = folder_list(root, FOLDER, &names);

	(void)context;
	if (r < 0 && r != -ENOENT)
		return error_set_errno(error, r, "list /" FOLDER);
	stream = open_memstream(ret_text, ret_length);
	if (!stream)
		return error_set_errno(error, -ENOMEM, "list /" FOLDER);
	for (size_t i = 0; i < names.count; i++)
		fprintf(stream, "%s\n", names.names[i]);
	return fclose(stream) == 0 ? 0 : error_set_errno(error, -ENOMEM, "list /" FOLDER);
}

static unsigned int vmid_of_name(char *name)
{
	char *dot = strrchr(name, '.');
	unsigned int vmid;

	if (!dot || strcmp(dot, SUFFIX) != 0)
		return 0;
	*dot = '\0';
	return parse_vmid(name, &vmid) == 0 ? vmid : 0;
}

static int compare_vmids(const void *left, const void *right)
{
	unsigned int a = *(const unsigned int *)left, b = *(const unsigned int *)right;

	return (a > b) - (a < b);
}

int vm_list_read(
	const struct root *root, unsigned int **ret_vmids, size_t *ret_count, struct error *error)
{
	struct cluster_request request = {.read = folder_get};
	auto_free char *text = NULL;
	unsigned int *vmids;
	size_t length = 0, count = 0;
	char *rest = NULL;
	int r = cluster_read(root, &request, &text, &length, error);

	if (r < 0)
		return r;
	/* no name is shorter than "100.conf\n" */
	vmids = calloc(length / 9 + 1, sizeof(*vmids));
	if (!vmids)
		return error_set_errno(error, -ENOMEM, "list /" FOLDER);
	for (char *name = strtok_r(text, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
		unsigned int vmid = vmid_of_name(name);

		if (vmid)
			vmids[count++] = vmid;
	}
	qsort(vmids, count, sizeof(*vmids), compare_vmids);
	*ret_vmids = vmids;
	*ret_count = count;
	return 0;
}
