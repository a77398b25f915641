/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The start of a container that is given a card's device nodes. */

#include "container_start.h"

#include "conf/pve/container.h"
#include "conf/settings.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/device/device_nodes.h"
#include "kmod-helper/loan/loan.h"
#include "loan_life.h"
#include "stop_step.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/sysmacros.h>

#define AGAIN_MS 500

/* A card that is not at home, and what of it a container is given. */
struct need {
	struct loan_owner owner;
	char address[PCI_ADDRESS_SIZE];
	char node[128]; /* "dev/nvidia0", or a number: "226:128" */
	char since[32];
	bool is_returning; /* it will be at home in a moment */
};

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "dev/dri/by-path/pci-0000:2b:00.0-render": udev's link, which is gone with the card */
static bool is_by_path(const char *given, const char *address)
{
	char start[PCI_ADDRESS_SIZE + sizeof("pci--")];

	snprintf(start, sizeof(start), "pci-%s-", address);
	return strstr(given, "/by-path/") && strstr(given, start);
}

/* Does @given, from a container's config, give it @node? */
static bool is_node(const char *given, const struct node *node)
{
	char number[32];

	if (strncmp(given, "dev/", strlen("dev/")) == 0)
		return strcmp(last_part(given), last_part(node->name)) == 0;
	snprintf(number, sizeof(number), "%u:%u", major(node->device), minor(node->device));
	return strcmp(given, number) == 0;
}

static bool has_render_node(const struct names *names)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strncmp(names->names[i], "renderD", strlen("renderD")) == 0)
			return true;
	}
	return false;
}

static bool has_nvidia_card(const struct root *root)
{
	cleanup(names_done) struct names cards = {0};

	return folder_list(root, "proc/driver/nvidia/gpus", &cards) == 0 && cards.count;
}

/* Of all cards of a driver: the folder of DRM nodes, and NVIDIA's nodes. They go away with the last
 * card; while one is at home, those that are missing can be made. */
static bool is_missing(
	const struct root *root, const struct loan_function *function, const char *given)
{
	cleanup(names_done) struct names cards = {0};

	if (strcmp(given, "dev/dri") == 0)
		return strstr(function->nodes, "renderD") &&
			(folder_list(root, given, &cards) < 0 || !has_render_node(&cards));
	return strncmp(function->home_driver, "nvidia", strlen("nvidia")) == 0 &&
		strncmp(given, "dev/nvidia", strlen("dev/nvidia")) == 0 &&
		!file_exists(root, given) && !has_nvidia_card(root);
}

/* What of the container's nodes belongs to a lent function; NULL: nothing. */
static const char *find_node(const struct root *root, const struct loan_function *function,
	const struct container *container)
{
	cleanup(nodes_done) struct nodes nodes = {0};

	if (function->use != LOAN_TAKEN ||
		nodes_parse(function->nodes, function->address, &nodes) < 0)
		return NULL;
	for (size_t i = 0; i < container->nodes.count; i++) {
		const char *given = container->nodes.names[i];

		if (is_missing(root, function, given) || is_by_path(given, function->address))
			return given;
		for (size_t k = 0; k < nodes.count; k++) {
			if (is_node(given, &nodes.items[k]))
				return given;
		}
	}
	return NULL;
}

/* Of a loan that is owed in part, what is at home is not lent. */
static bool is_back(
	struct context *context, const struct loan *loan, const struct loan_function *function)
{
	return (loan->state == LOAN_OWED || loan->state == LOAN_OVERDUE) &&
		loan_life_is_home(&context->kernel, loan, function);
}

/* Finds the first card that the container needs and that is lent. 1 found, 0 none, or -errno. */
static int find_need(struct context *context, const struct container *container, struct need *ret,
	struct error *error)
{
	const struct root *root = &context->kernel.root;
	cleanup(loans_done) struct loans loans = {0};
	int r = loans_read(root, &loans, error);

	for (size_t i = 0; r == 0 && i < loans.count; i++) {
		const struct loan *loan = &loans.items[i];

		for (size_t k = 0; k < loan->function_count; k++) {
			const char *node = find_node(root, &loan->functions[k], container);

			if (!node || is_back(context, loan, &loan->functions[k]))
				continue;
			*ret = (struct need){.owner = loan->owner,
				.is_returning = loan_life_is_returning(context, loan) ||
					(loan->state != LOAN_OWED &&
						loan_life_is_due(context, loan))};
			strcpy(ret->address, loan->functions[k].address);
			snprintf(ret->node, sizeof(ret->node), "%s", node);
			snprintf(ret->since, sizeof(ret->since), "%s", loan->since);
			return 1;
		}
	}
	return r;
}

static int refuse(const struct need *need, struct error *error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(const struct need *need, struct error *error, const char *format, ...)
{
	bool is_path = strncmp(need->node, "dev/", strlen("dev/")) == 0;
	char owner[32], advice[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(advice, sizeof(advice), format, arguments);
	va_end(arguments);
	loan_owner_format(&need->owner, owner, sizeof(owner));
	return error_set(error, -EBUSY, "it needs %s%s of %s, which is lent (%s) since %s: %s",
		is_path ? "/" : "the device ", need->node, need->address, owner, need->since,
		advice);
}

/* Records in the loan that the container is started when the card is home. -EAGAIN when the loan
 * is gone by now. */
static int remember(struct context *context, unsigned int ctid, const struct need *need,
	const struct settings *settings, struct error *error)
{
	cleanup(loan_done) struct loan loan = {0};
	auto_close int lock = loan_life_lock(context, &need->owner, error);
	struct step step;
	char number[16];
	int r = lock < 0 ? lock : loan_read(&context->kernel.root, &need->owner, &loan, error);

	if (r < 0)
		return r == -ENOENT ? -EAGAIN : r;
	snprintf(number, sizeof(number), "%u", ctid);
	step = stop_step_make(STOP_CONTAINER, number, settings->busy_wait_seconds, need->address);
	step.state = STEP_DONE;
	if (stop_steps_add(&loan.steps, &step) < 0)
		return error_set_errno(error, -ENOMEM, "record the start of container %u", ctid);
	return loan_write(&context->kernel.root, &loan, error);
}

static int start_later(struct context *context, unsigned int ctid, const struct need *need,
	const struct settings *settings, struct error *error)
{
	int r = remember(context, ctid, need, settings, error);

	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	return refuse(need, error, "it is started when the card is home");
}

/* One more look (0), or the refusal. */
static int wait_or_refuse(struct context *context, unsigned int ctid, const struct need *need,
	const struct settings *settings, unsigned long long end, struct error *error)
{
	bool waits = need->is_returning || settings->container_start == CONTAINER_START_WAIT;

	if (stop_requested)
		return error_set(error, -EINTR, "stopped by a signal");
	if (waits && clock_milliseconds() < end) {
		poll(NULL, 0, AGAIN_MS);
		return 0;
	}
	if (settings->container_start == CONTAINER_START_LATER)
		return start_later(context, ctid, need, settings, error);
	if (waits)
		return refuse(
			need, error, "it is not at home after %u s", settings->busy_wait_seconds);
	if (need->owner.kind == LOAN_OWNER_HAND)
		return refuse(need, error, "`gpu-ferry unbind` it first");
	return refuse(need, error,
		"stop that VM first, or set container_start = \"later\" in /" SETTINGS_PATH);
}

/* Makes what is missing of NVIDIA's nodes. Proxmox says it when one is still missing. */
static void make_nvidia_nodes(struct context *context, const struct container *container)
{
	struct error why = {0};

	for (size_t i = 0; i < container->nodes.count; i++) {
		const char *node = container->nodes.names[i];
		const char *number = node + strlen("dev/nvidia");
		int r;

		if (strncmp(node, "dev/nvidia", strlen("dev/nvidia")) != 0 ||
			file_exists(&context->kernel.root, node))
			continue;
		r = nodes_make_nvidia(&context->kernel,
			*number >= '0' && *number <= '9' ? number : "0", true, &why);
		if (r < 0 && r != -ENOENT && r != -EIO)
			log_write(&context->log, LOG_WARNING, "make /%s: %s", node, why.message);
	}
}

static const struct container *find_container(
	const struct containers *containers, unsigned int ctid)
{
	for (size_t i = 0; i < containers->count; i++) {
		if (containers->items[i].ctid == ctid)
			return &containers->items[i];
	}
	return NULL;
}

/* Returns 0 once the container needs no card that is lent, or the refusal. Only then do the
 * settings matter: a fault in them is no reason to refuse any other start. */
static int await_home(struct context *context, const struct container *container, struct need *need,
	struct error *error)
{
	cleanup(settings_done) struct settings settings = {0};
	int r = settings_read(&context->kernel.root, container->ctid, &settings, error);
	unsigned long long end = clock_milliseconds() + settings.busy_wait_seconds * 1000ull;

	if (r < 0)
		return r;
	do {
		r = wait_or_refuse(context, container->ctid, need, &settings, end, error);
		if (r == 0)
			r = find_need(context, container, need, error);
	} while (r > 0);
	return r;
}

int container_start(struct context *context, unsigned int ctid, struct error *error)
{
	cleanup(containers_done) struct containers containers = {0};
	const struct container *container;
	struct need need = {0};
	int r = containers_read(&context->kernel.root, &containers, error);

	container = r == 0 ? find_container(&containers, ctid) : NULL;
	if (!container)
		return r;
	r = find_need(context, container, &need, error);
	if (r > 0)
		r = await_home(context, container, &need, error);
	if (r == 0)
		make_nvidia_nodes(context, container);
	return r;
}
