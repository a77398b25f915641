/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Gives a container the device nodes of a card. */

#include "attach_nodes.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/device_nodes.h"
#include "kmod-helper/loan/loan.h"
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#define DRM_MAJOR 226
#define DEVICES_MAX 256 /* PVE/LXC/Config.pm, $MAX_DEVICES */

/* Proxmox makes a node of its own in the container, 0660 and root's (PVE/LXC.pm,
 * create_passthrough_device_node). The number of the group render differs between distributions, so
 * everybody there gets what renders and computes, as NVIDIA's driver has it everywhere. The group
 * video, for what switches displays, is 44 in Debian and Ubuntu. */
#define FOR_ALL ",mode=0666"
#define FOR_VIDEO ",gid=44"

struct request {
	struct context *context;
	const struct guest_config *config;
	struct changes *changes;
	size_t count; /* nodes that the devices have */
};

/* ---- the config */

/* True when the value of a devN entry, "[path=]/dev/dri/card0[,…]", is about the node @path. */
static bool is_about(const char *value, const char *path)
{
	const char *found = value ? strstr(value, path) : NULL;

	return found && (found == value || found[-1] == '=' || found[-1] == ',') &&
		(!found[strlen(path)] || found[strlen(path)] == ',');
}

/* Finds the devN that the next start gives the node with, or one that is only to be deleted when
 * the container stops. */
static bool find_entry(const struct request *request, const char *path, char *key, size_t size)
{
	for (unsigned int i = 0; i < DEVICES_MAX; i++) {
		const char *next;

		snprintf(key, size, "dev%u", i);
		next = changes_get(request->changes, request->config, key);
		if (is_about(next ? next : guest_config_now(request->config, key), path))
			return true;
	}
	return false;
}

/* True for a mount of the node, or of all of /dev/dri. */
static bool is_mounted(const struct request *request, const char *path)
{
	const struct names *nodes = &request->config->nodes;

	return names_have(nodes, path + 1) ||
		(strncmp(path, "/dev/dri/", strlen("/dev/dri/")) == 0 &&
			names_have(nodes, "dev/dri"));
}

/* Notes it, or keeps it from being deleted. */
static int keep_entry(
	const struct request *request, const char *key, const char *path, struct error *error)
{
	const struct guest_config *config = request->config;
	int r = 0;

	if (guest_config_get(config, key))
		r = changes_note(request->changes, "%s has %s already", key, path);
	else if (!changes_get(request->changes, config, key))
		r = changes_add(request->changes, config, key, guest_config_now(config, key), NULL);
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

static int add_entry(
	const struct request *request, const char *path, const char *rights, struct error *error)
{
	char key[32], value[128];
	int r = changes_free_key(
		request->changes, request->config, "dev", DEVICES_MAX, key, sizeof(key), error);

	if (r < 0)
		return r;
	snprintf(value, sizeof(value), "%s%s", path, rights);
	r = changes_add(request->changes, request->config, key, value, NULL);
	return r < 0 ? error_set_errno(error, r, "plan the changes") : 0;
}

static int plan_node(
	struct request *request, const char *path, const char *rights, struct error *error)
{
	char key[32];

	request->count++;
	if (find_entry(request, path, key, sizeof(key)))
		return keep_entry(request, key, path, error);
	if (!is_mounted(request, path))
		return add_entry(request, path, rights, error);
	return changes_note(request->changes, "the config mounts %s already", path) < 0
		? error_set_errno(error, -ENOMEM, "plan the changes")
		: 0;
}

/* ---- the card */

static bool is_there(const struct request *request, const char *path)
{
	return file_exists(&request->context->kernel.root, path + 1);
}

static int say_missing(const char *path, struct error *error)
{
	bool nvidia = strncmp(path, "/dev/nvidia", strlen("/dev/nvidia")) == 0;

	return error_set(error, -ENOENT,
		"%s is not there, and `pct set` takes only nodes that are%s", path,
		nvidia ? ": `nvidia-modprobe -c 0 -u` makes NVIDIA's" : "");
}

/* NVIDIA's nodes: its own program makes them, when something asks for them. */
static int plan_nvidia(struct request *request, const char *name, struct error *error)
{
	bool is_optional =
		strcmp(name, "nvidia-modeset") == 0 || strcmp(name, "nvidia-uvm-tools") == 0;
	char path[80];

	snprintf(path, sizeof(path), "/dev/%s", name);
	if (is_there(request, path))
		return plan_node(request, path, FOR_ALL, error);
	return is_optional ? 0 : say_missing(path, error);
}

static int plan_drm(struct request *request, const char *name, struct error *error)
{
	bool renders = strncmp(name, "renderD", strlen("renderD")) == 0;
	char path[80];

	snprintf(path, sizeof(path), "/dev/dri/%s", name);
	return is_there(request, path)
		? plan_node(request, path, renders ? FOR_ALL : FOR_VIDEO, error)
		: say_missing(path, error);
}

/* Plans the nodes that the driver has for one function; of others, as of sound, none. */
static int plan_listed(struct request *request, const struct nodes *nodes, struct error *error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < nodes->count; i++) {
		const struct node *node = &nodes->items[i];

		if (node->kind == NODE_CARD || node->kind == NODE_SHARED)
			r = plan_nvidia(request, node->name, error);
		else if (node->kind == NODE_OWN && major(node->device) == DRM_MAJOR)
			r = plan_drm(request, node->name, error);
	}
	return r;
}

/* Plans what no function's folder lists. */
static int plan_unlisted(
	struct request *request, const struct pci_function *function, struct error *error)
{
	/* it is among the listed ones once its module is loaded */
	if (strcmp(function->driver, "nvidia") == 0 && !is_there(request, "/dev/nvidia-uvm"))
		return say_missing("/dev/nvidia-uvm", error);
	if (strcmp(function->driver, "amdgpu") == 0 && is_there(request, "/dev/kfd"))
		return plan_node(request, "/dev/kfd", FOR_ALL, error);
	return 0;
}

static int say_no_nodes(
	const struct request *request, const struct pci_function *function, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	int r = loans_read(&request->context->kernel.root, &loans, error);
	const struct loan *loan = r == 0 ? loans_find(&loans, function->address) : NULL;
	char owner[32];

	if (r < 0)
		return r;
	if (loan) {
		loan_owner_format(&loan->owner, owner, sizeof(owner));
		return error_set(error, -ENODEV,
			"%s is lent (%s) since %s, so it has no device nodes, and `pct set` takes "
			"only nodes that are there: attach it when it is home",
			function->address, owner, loan->since);
	}
	if (pci_driver_is_vfio(function->driver))
		return error_set(error, -ENODEV,
			"%s is on %s, so it has no device nodes for a container: `gpu-ferry unbind "
			"%s` gives it to its own driver",
			function->address, function->driver, function->address);
	if (!*function->driver)
		return error_set(error, -ENODEV, "%s has no driver, so it has no device nodes",
			function->address);
	return error_set(error, -ENODEV, "%s has no device nodes: its driver, %s, made none",
		function->address, function->driver);
}

static int plan_function(
	struct request *request, const struct pci_function *function, struct error *error)
{
	cleanup(nodes_done) struct nodes nodes = {0};
	const char *address = function->address;
	size_t before = request->count;
	int r = nodes_collect(&request->context->kernel, &address, 1, &nodes);

	if (r < 0)
		return error_set_errno(error, r, "look for the device nodes of %s", address);
	r = plan_listed(request, &nodes, error);
	if (r == 0 && request->count == before && pci_is_display(function))
		return say_no_nodes(request, function, error);
	return r < 0 ? r : plan_unlisted(request, function, error);
}

static int plan_device(struct request *request, const struct pci_functions *host,
	const struct attach_device *device, struct error *error)
{
	size_t before = request->count;
	int r = 0;

	for (size_t i = 0; r == 0 && i < device->addresses.count; i++)
		r = plan_function(request, pci_find(host, device->addresses.names[i]), error);
	if (r == 0 && request->count == before)
		r = error_set(error, -ENODEV,
			"%s is no GPU: it has no device nodes for a container", device->argument);
	return r;
}

int attach_nodes_plan(struct context *context, const struct guest_config *config,
	const struct attach_devices *devices, struct changes *changes, struct error *error)
{
	struct request request = {.context = context, .config = config, .changes = changes};
	int r = 0;

	for (size_t i = 0; r == 0 && i < devices->count; i++)
		r = plan_device(&request, &devices->host, &devices->items[i], error);
	return r;
}
