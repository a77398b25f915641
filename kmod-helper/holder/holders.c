/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds who uses a function: processes, containers, VMs, and the kernel itself. */

#include "holders.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/device/driver_use.h"
#include <errno.h>
#include <string.h>

#define WAIT_STEP_MS 200
#define UDEV_QUEUE "run/udev/queue"
#define UDEV_UNIT "systemd-udevd.service"
#define UDEV_STEP_MS 20
#define UDEV_LOOKS 250
#define UDEV_WAIT_MS 5000u

/* The state of the pass over /proc: which nodes the process @pid has. */
struct search {
	const struct kernel *kernel;
	const struct nodes *nodes;
	bool *hits; /* one for each node */
	bool has_hits;
	pid_t pid;
	/* the last container that was named: it may have many processes */
	struct cgroup named;
	char name[CONTAINER_NAME_SIZE];
	struct holders holders;
};

void holders_done(struct holders *holders)
{
	free(holders->items);
	*holders = (struct holders){0};
}

int holders_add(struct holders *holders, const struct holder *holder)
{
	struct holder *place = LIST_ADD(holders->items, holders->count);

	if (!place)
		return -ENOMEM;
	*place = *holder;
	return 0;
}

void holders_drop(struct holders *holders, bool (*drops)(const void *data, const struct holder *),
	const void *data)
{
	size_t kept = 0;

	for (size_t i = 0; i < holders->count; i++) {
		if (!drops(data, &holders->items[i]))
			holders->items[kept++] = holders->items[i];
	}
	holders->count = kept;
}

static bool is_kernel(const void *nothing, const struct holder *holder)
{
	(void)nothing;
	return holder->kind == HOLDER_KERNEL;
}

void holders_drop_kernel(struct holders *holders)
{
	holders_drop(holders, is_kernel, NULL);
}

static void name_container(
	struct search *search, const struct cgroup *cgroup, struct holder *holder)
{
	if (!cgroup->engine)
		return;
	if (cgroup->engine != search->named.engine ||
		strcmp(cgroup->container, search->named.container) != 0) {
		container_name(&search->kernel->root, cgroup, search->name);
		search->named = *cgroup;
	}
	memcpy(holder->application, search->name, sizeof(holder->application));
}

static void read_cgroup(struct search *search, struct holder *holder)
{
	struct cgroup cgroup;

	cgroup_read(&search->kernel->root, holder->pid, &cgroup);
	if (cgroup.kind == CGROUP_CONTAINER)
		holder->kind = HOLDER_CONTAINER;
	else if (cgroup.kind == CGROUP_VM)
		holder->kind = HOLDER_VM;
	holder->guest = cgroup.guest;
	memcpy(holder->unit, cgroup.unit, sizeof(holder->unit));
	name_container(search, &cgroup, holder);
}

static int add_process(struct search *search, const struct node *node)
{
	struct holder holder = {.kind = HOLDER_PROCESS, .pid = search->pid};
	char path[64];

	snprintf(holder.node, sizeof(holder.node), "%s", node->name);
	snprintf(holder.address, sizeof(holder.address), "%s", node->address);
	snprintf(path, sizeof(path), "proc/%d/comm", (int)search->pid);
	if (kernel_read(search->kernel, path, holder.command, sizeof(holder.command)) <= 0)
		strcpy(holder.command, "?");
	read_cgroup(search, &holder);
	return holders_add(&search->holders, &holder);
}

static bool is_known(const struct search *search, const struct node *node)
{
	for (size_t i = 0; i < search->holders.count; i++) {
		const struct holder *holder = &search->holders.items[i];

		if (holder->pid == search->pid && strcmp(holder->address, node->address) == 0)
			return true;
	}
	return false;
}

/* A process that has a card's own node uses the shared nodes for that card. A process that has only
 * shared nodes may use any card through them: nvidia's remove() waits for it too. */
static bool counts(const struct search *search, const struct node *node)
{
	if (node->kind == NODE_OTHER)
		return false;
	for (size_t i = 0; node->kind == NODE_SHARED && i < search->nodes->count; i++) {
		enum node_kind kind = search->nodes->items[i].kind;

		if (search->hits[i] && (kind == NODE_CARD || kind == NODE_OTHER))
			return false;
	}
	return true;
}

/* Adds the holders found in one process, once all of it has been seen. */
static int finish_process(struct search *search)
{
	int r = 0;

	for (size_t i = 0; search->has_hits && r == 0 && i < search->nodes->count; i++) {
		const struct node *node = &search->nodes->items[i];

		if (search->hits[i] && counts(search, node) && !is_known(search, node))
			r = add_process(search, node);
	}
	if (search->has_hits)
		memset(search->hits, 0, search->nodes->count * sizeof(*search->hits));
	search->has_hits = false;
	return r;
}

static int see_device(void *data, pid_t pid, dev_t device)
{
	struct search *search = data;

	if (pid != search->pid) {
		if (finish_process(search) < 0)
			return -ENOMEM;
		search->pid = pid;
	}
	for (size_t i = 0; i < search->nodes->count; i++) {
		if (search->nodes->items[i].device == device)
			search->hits[i] = search->has_hits = true;
	}
	return 0;
}

/* Who made the pass so long. */
static void say_unknown(const struct kernel *kernel, const struct open_devices_extent *extent,
	char *buffer, size_t size)
{
	char path[64], command[32], status[4096], reason[160];
	const char *user;
	ssize_t length;

	/* the kernel gives a name of 15 characters at most */
	snprintf(path, sizeof(path), "proc/%d/comm", (int)extent->pid);
	if (kernel_read(kernel, path, command, sizeof(command)) <= 0)
		strcpy(command, "?");
	snprintf(path, sizeof(path), "proc/%d/status", (int)extent->pid);
	length = kernel_read(kernel, path, status, sizeof(status));
	/* the groups make it as long as they like, behind the line that is looked for */
	if (length < 0 && length != -EFBIG)
		status[0] = '\0';
	user = strstr(status, "\nUid:\t");
	user = user ? user + strlen("\nUid:\t") : "?";
	if (extent->most)
		snprintf(reason, sizeof(reason),
			"has more than %zu descriptors and mappings: who uses the card is not known; "
			"end that process, then try again",
			extent->most - 1);
	else
		snprintf(reason, sizeof(reason),
			"was the last one: who uses the card is not known; the host is very busy, or "
			"that process does not answer: try again");
	snprintf(buffer, size,
		"looked at %zu processes in %u.%u s, and process %d (%s) of user %.*s %s",
		extent->processes, extent->milliseconds / 1000, extent->milliseconds / 100 % 10,
		(int)extent->pid, command, (int)strcspn(user, "\t"), user, reason);
}

int holders_of_nodes(const struct kernel *kernel, const struct nodes *nodes, struct holders *ret,
	struct error *error)
{
	auto_free bool *hits = calloc(nodes->count + 1, sizeof(*hits));
	auto_free dev_t *wanted = calloc(nodes->count + 1, sizeof(*wanted));
	struct search search = {.kernel = kernel, .nodes = nodes, .hits = hits};
	struct open_devices_extent extent = {0};
	int r = hits && wanted ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < nodes->count; i++)
		wanted[i] = nodes->items[i].device;
	if (r == 0 && nodes->count)
		r = kernel->ops->devices_in_use(
			kernel->context, wanted, nodes->count, see_device, &search, &extent);
	if (r == 0 && extent.is_partial)
		say_unknown(
			kernel, &extent, search.holders.unknown, sizeof(search.holders.unknown));
	if (r == 0)
		r = finish_process(&search);
	if (r < 0) {
		holders_done(&search.holders);
		return error_set_errno(error, r, "look for holders in /proc");
	}
	*ret = search.holders;
	return 0;
}

static const struct loan *find_stuck_loan(const struct loans *loans, const char *address)
{
	for (size_t i = 0; loans && i < loans->count; i++) {
		if (loan_find_stuck(&loans->items[i], address))
			return &loans->items[i];
	}
	return NULL;
}

/* Adds the recorded nodes: a driver in remove() has already taken its own off the kernel's list. */
static int add_recorded(const struct kernel *kernel, const struct loan *loan, const char *address,
	struct nodes *nodes)
{
	const struct loan_function *function = loan_find(loan, address);
	int r;

	if (!function)
		return 0;
	r = nodes_parse(function->nodes, address, nodes);
	return r < 0 ? r : nodes_collect_group(kernel, function->iommu_group, address, nodes);
}

int holders_of_stuck(const struct kernel *kernel, const struct loan *loan, const char *address,
	struct holders *ret, struct error *error)
{
	cleanup(nodes_done) struct nodes nodes = {0};

	if (add_recorded(kernel, loan, address, &nodes) < 0)
		return error_set_errno(error, -ENOMEM, "look for the nodes of %s", address);
	return holders_of_nodes(kernel, &nodes, ret, error);
}

bool holders_have(const struct holders *holders, const char *address)
{
	for (size_t i = 0; i < holders->count; i++) {
		if (strcmp(holders->items[i].address, address) == 0)
			return true;
	}
	return false;
}

static bool is_leaving(const struct loan *loan, const char *address)
{
	for (size_t i = 0; i < loan->steps.count; i++) {
		const struct step *step = &loan->steps.items[i];

		if ((step->state == STEP_STARTED || step->state == STEP_STUCK) &&
			strcmp(step->subject, address) == 0)
			return true;
	}
	return false;
}

/* True when a function of the same driver is in remove(), or stuck there. It is no longer one of
 * the driver's devices, but its users still count in the module: so the count says nothing about
 * @address. */
static bool is_leaving_elsewhere(
	const struct kernel *kernel, const struct loans *loans, const char *address)
{
	char driver[PCI_DRIVER_SIZE];

	if (!loans || !loans->count || pci_read_driver(kernel, address, driver, sizeof(driver)) < 0)
		return false;
	for (size_t i = 0; i < loans->count; i++) {
		const struct loan *loan = &loans->items[i];

		for (size_t k = 0; k < loan->function_count; k++) {
			if (strcmp(loan->functions[k].home_driver, driver) == 0 &&
				is_leaving(loan, loan->functions[k].address))
				return true;
		}
	}
	return false;
}

static int add_kernel_users(const struct kernel *kernel, const struct loans *loans,
	const char *const *addresses, size_t count, struct holders *holders)
{
	int r = 0;

	/* that no process explains the count is not known either */
	for (size_t i = 0; r == 0 && i < count && !*holders->unknown; i++) {
		struct holder holder = {.kind = HOLDER_KERNEL};

		if (holders_have(holders, addresses[i]) ||
			is_leaving_elsewhere(kernel, loans, addresses[i]) ||
			!driver_is_used(
				kernel, addresses[i], holder.command, sizeof(holder.command)))
			continue;
		snprintf(holder.address, sizeof(holder.address), "%s", addresses[i]);
		r = holders_add(holders, &holder);
	}
	return r;
}

/* Collects the nodes of all functions, and in @well the functions whose driver is not stuck: no
 * files of the others may be read. */
static int collect(const struct kernel *kernel, const struct loans *loans,
	const char *const *addresses, size_t count, const char **well, size_t *ret_well_count,
	struct nodes *nodes)
{
	size_t well_count = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct loan *stuck = find_stuck_loan(loans, addresses[i]);

		if (stuck)
			r = add_recorded(kernel, stuck, addresses[i], nodes);
		else
			well[well_count++] = addresses[i];
	}
	*ret_well_count = well_count;
	return r < 0 ? r : nodes_collect(kernel, well, well_count, nodes);
}

int holders_of_functions(const struct kernel *kernel, const struct loans *loans,
	const char *const *addresses, size_t count, struct nodes *nodes, struct holders *ret,
	struct error *error)
{
	auto_free const char **well = calloc(count + 1, sizeof(*well));
	cleanup(nodes_done) struct nodes unwanted = {0};
	struct holders holders = {0};
	size_t well_count = 0;
	int r = -ENOMEM;

	nodes = nodes ? nodes : &unwanted;
	if (well)
		r = collect(kernel, loans, addresses, count, well, &well_count, nodes);
	if (r < 0)
		return error_set_errno(error, r, "look for the devices' nodes");
	r = holders_of_nodes(kernel, nodes, &holders, error);
	if (r == 0 && add_kernel_users(kernel, loans, well, well_count, &holders) < 0)
		r = error_set_errno(error, -ENOMEM, "look for holders");
	if (r < 0)
		holders_done(&holders);
	else
		*ret = holders;
	return r;
}

static bool udev_is_busy(const struct kernel *kernel)
{
	char nothing[2];

	return kernel_read(kernel, UDEV_QUEUE, nothing, sizeof(nothing)) >= 0;
}

/* True when the holders may go away by themselves: udev's own, or a module's count that differs
 * because somebody came or went between the pass over /proc and the reading of the count. */
static bool may_pass(const struct kernel *kernel, const struct holders *holders, unsigned int look)
{
	for (size_t i = 0; i < holders->count; i++) {
		const struct holder *holder = &holders->items[i];

		if (holder->kind == HOLDER_PROCESS && strcmp(holder->unit, UDEV_UNIT) == 0)
			continue;
		if (holder->kind != HOLDER_KERNEL || (look > 0 && !udev_is_busy(kernel)))
			return false;
	}
	return holders->count > 0;
}

int holders_that_stay(const struct kernel *kernel, const struct loans *loans,
	const char *const *addresses, size_t count, struct nodes *nodes, struct holders *ret,
	struct error *error)
{
	unsigned long long end = clock_milliseconds() + UDEV_WAIT_MS;

	for (unsigned int look = 0;; look++) {
		int r = holders_of_functions(kernel, loans, addresses, count, nodes, ret, error);

		if (r < 0 || look == UDEV_LOOKS || clock_milliseconds() >= end || *ret->unknown ||
			!may_pass(kernel, ret, look))
			return r;
		holders_done(ret);
		if (nodes)
			nodes_done(nodes);
		kernel->ops->wait_close(kernel->context, UDEV_QUEUE, UDEV_STEP_MS);
	}
}

int holders_of_group(
	const struct kernel *kernel, long iommu_group, struct holders *ret, struct error *error)
{
	cleanup(nodes_done) struct nodes nodes = {0};

	*ret = (struct holders){0};
	if (driver_vfio_is_unused(kernel))
		return 0;
	if (nodes_collect_group(kernel, iommu_group, "", &nodes) < 0)
		return error_set_errno(
			error, -ENOMEM, "look for users of /dev/vfio/%ld", iommu_group);
	return holders_of_nodes(kernel, &nodes, ret, error);
}

int holders_await_group(const struct kernel *kernel, long iommu_group, unsigned int deadline_ms,
	struct error *error)
{
	unsigned long long end = clock_milliseconds() + deadline_ms;
	char path[80], text[HOLDERS_TEXT_SIZE];

	for (;;) {
		cleanup(holders_done) struct holders holders = {0};
		unsigned long long now;
		int r = holders_of_group(kernel, iommu_group, &holders, error);

		if (r < 0 || holders.count == 0)
			return r;
		snprintf(path, sizeof(path), "dev/%s", holders.items[0].node);
		now = clock_milliseconds();
		if (now >= end) {
			holders_format(&holders, text, sizeof(text));
			return error_set(error, -EBUSY, "/%s is still open after %u s: %s", path,
				(deadline_ms + 500) / 1000, text);
		}
		kernel->ops->wait_close(kernel->context, path,
			end - now < WAIT_STEP_MS ? (unsigned int)(end - now) : WAIT_STEP_MS);
	}
}

const char *holder_kind_name(enum holder_kind kind)
{
	static const char *const names[] = {
		[HOLDER_PROCESS] = "process",
		[HOLDER_CONTAINER] = "container",
		[HOLDER_VM] = "vm",
		[HOLDER_KERNEL] = "kernel",
	};

	return names[kind];
}

bool holder_is_repeated(const struct holders *holders, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (holders->items[index].pid && holders->items[i].pid == holders->items[index].pid)
			return true;
	}
	return false;
}

static int format_one(const struct holder *holder, char *buffer, size_t size)
{
	const char *within;

	switch (holder->kind) {
	case HOLDER_CONTAINER:
		return snprintf(buffer, size, "container %u (%s, PID %d)", holder->guest,
			holder->command, (int)holder->pid);
	case HOLDER_VM:
		return snprintf(buffer, size, "VM %u (%s, PID %d)", holder->guest, holder->command,
			(int)holder->pid);
	case HOLDER_KERNEL:
		return snprintf(buffer, size,
			"the kernel (a user of the module %s that no process lists)",
			holder->command);
	case HOLDER_PROCESS:
	default:
		within = *holder->application ? holder->application : holder->unit;
		return snprintf(buffer, size, "%s (PID %d, %s)%s%s", holder->command,
			(int)holder->pid, holder->node, *within ? " of " : "", within);
	}
}

void holders_text_add(struct holders_text *text, const char *one)
{
	static const char and_more[] = ", and 1000000 more";
	char *end = text->buffer + text->used;
	size_t room = text->size - text->used;

	if (text->left_out || strlen(", ") + strlen(one) + sizeof(and_more) > room)
		snprintf(end, room, "%s%zu more", text->used ? ", and " : "", ++text->left_out);
	else
		text->used += (size_t)snprintf(end, room, "%s%s", text->used ? ", " : "", one);
}

void holders_format(const struct holders *holders, char *buffer, size_t size)
{
	struct holders_text text = {.buffer = buffer, .size = size};

	buffer[0] = '\0';
	for (size_t i = 0; i < holders->count; i++) {
		char one[400];

		if (holder_is_repeated(holders, i))
			continue;
		format_one(&holders->items[i], one, sizeof(one));
		holders_text_add(&text, one);
	}
}
