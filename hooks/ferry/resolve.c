/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the functions of this host that a VM's config asks for. */

#include "resolve.h"

#include "conf/pve/cluster.h"
#include "conf/pve/node_name.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/plan/executor.h"
#include "loan_life.h"
#include "make_room.h"
#include "return.h"
#include "vm_state.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

/* qemu-server: PVE/QemuServer/PCI.pm, print_hostpci_devices */
#define ROM_FOLDER "usr/share/kvm"

/* What the choice of devices asks about the host. */
struct surroundings {
	struct hardware hardware;
	unsigned int vmid;
	const struct loans *loans;
	const struct settings *settings; /* NULL: no VM makes room */
	struct reservations reservations;
	struct mappings mappings;
	char node[NODE_NAME_SIZE];
};

static int look_up(void *data, const char *address, struct mapping_device *ret)
{
	struct surroundings *around = data;

	return devices_look_up(&around->hardware, address, ret);
}

static bool will_yield(const struct surroundings *around, unsigned int vmid)
{
	return around->settings &&
		make_room_of_vm(&around->hardware.context->kernel.root, around->settings, vmid);
}

static int check_free(void *data, const char *address, struct error *error)
{
	const struct surroundings *around = data;
	struct context *context = around->hardware.context;
	unsigned int vmid = reservation_owner(&around->reservations, &context->kernel.root, address,
		around->vmid, time(NULL), NULL);

	for (size_t i = 0; i < around->loans->count; i++) {
		const struct loan *loan = &around->loans->items[i];
		const struct loan_function *function = loan_find(loan, address);

		if (!function || function->use == LOAN_ALTERNATIVE ||
			loan->owner.kind != LOAN_OWNER_VM || loan->owner.vmid == around->vmid)
			continue;
		if (will_yield(around, loan->owner.vmid))
			return 0;
		/* a device that is being returned will be free when Proxmox looks */
		if (!loan_life_is_returning(context, loan) &&
			(loan_is_busy(&context->kernel.root, loan) ||
				!vm_is_gone(&context->kernel, loan->owner.vmid)))
			return error_set(error, -EBUSY, "%s is lent (VM %u) since %s", address,
				loan->owner.vmid, loan->since);
	}
	return vmid && will_yield(around, vmid)
		? 0
		: reservation_check(&around->reservations, &context->kernel.root, address,
			  around->vmid, time(NULL), error);
}

/* Reads the mappings and the node's name, but only when the config names a mapping. */
static int read_mappings(
	const struct vm_config *config, struct surroundings *around, struct error *error)
{
	const struct root *root = &around->hardware.context->kernel.root;
	bool named = false;
	int r;

	for (unsigned int i = 0; i < HOSTPCI_MAX; i++) {
		const char *value = vm_config_hostpci(config, i);

		named = named || (value && strstr(value, "mapping="));
	}
	if (!named)
		return 0;
	r = node_name(root, around->node, sizeof(around->node), error);
	return r < 0 ? r : mappings_read(root, &around->mappings, error);
}

static int add_want(struct resolved *resolved, const char *address,
	const struct choice_entry *entry, bool alternative)
{
	struct plan_want *want = LIST_ADD(resolved->wants, resolved->want_count);

	if (!want)
		return -ENOMEM;
	*want = (struct plan_want){
		.keep = entry->hostpci.keep_driver,
		.alternative = alternative,
		.target = "vfio-pci",
	};
	snprintf(want->address, sizeof(want->address), "%s", address);
	return 0;
}

/* Adds the chosen functions, or with @alternatives the others. Chosen ones must be added first: an
 * address that one entry has chosen is taken, even when it is another entry's alternative. */
static int add_wants(struct resolved *resolved, bool alternatives)
{
	int r = 0;

	for (size_t i = 0; i < resolved->choice.count; i++) {
		const struct choice_entry *entry = &resolved->choice.entries[i];

		if (entry->mediated || entry->chosen < 0)
			continue;
		for (size_t k = 0; k < entry->alternatives.count; k++) {
			const struct names *list = &entry->alternatives.lists[k];

			if (((ptrdiff_t)k != entry->chosen) != alternatives)
				continue;
			for (size_t n = 0; r == 0 && n < list->count; n++)
				r = add_want(resolved, list->names[n], entry, alternatives);
		}
	}
	return r;
}

static int make_choice(struct surroundings *around, struct resolved *resolved, struct error *error)
{
	auto_free const char **addresses =
		calloc(around->hardware.host->count + 1, sizeof(*addresses));
	const struct choice_host choice_host = {
		.addresses = addresses,
		.count = around->hardware.host->count,
		.node = around->node,
		.mappings = &around->mappings,
		.look_up = look_up,
		.check_free = check_free,
		.context = around,
	};
	int r;

	if (!addresses)
		return error_set_errno(error, -ENOMEM, "resolve the devices");
	for (size_t i = 0; i < around->hardware.host->count; i++)
		addresses[i] = around->hardware.host->items[i].address;
	r = choice_make(&resolved->config, &choice_host, &resolved->choice, error);
	for (size_t i = 0; r == 0 && i < resolved->choice.count; i++) {
		struct choice_entry *entry = &resolved->choice.entries[i];

		if (entry->error.status == -ENOENT && entry->hostpci.mapping)
			mapping_explain_absence(&around->mappings, entry->hostpci.mapping,
				around->node, &entry->error);
	}
	if (r < 0 || vm_config_is_template(&resolved->config))
		return r;
	r = add_wants(resolved, false);
	if (r == 0)
		r = add_wants(resolved, true);
	return r < 0 ? error_set_errno(error, r, "resolve the devices") : 0;
}

static void surroundings_done(struct surroundings *around)
{
	reservations_done(&around->reservations);
	mappings_done(&around->mappings);
}

int resolve_vm(struct context *context, unsigned int vmid, const char *migrated_from,
	const struct pci_functions *host, const struct loans *loans,
	const struct settings *settings, struct resolved *ret, struct error *error)
{
	const struct vm_config_read_options options = {
		.vmid = vmid,
		.migrated_from = migrated_from,
		.deadline_ms = CLUSTER_DEADLINE_MS,
	};
	cleanup(surroundings_done) struct surroundings around = {
		.hardware = {context, host}, .vmid = vmid, .loans = loans, .settings = settings};
	cleanup(resolved_done) struct resolved resolved = {0};
	int r = vm_config_read(&context->kernel.root, &options, &resolved.config, error);

	if (r == 0)
		r = reservations_read(&context->kernel.root, &around.reservations, error);
	if (r == 0)
		r = read_mappings(&resolved.config, &around, error);
	if (r == 0)
		r = make_choice(&around, &resolved, error);
	if (r < 0)
		return r;
	*ret = resolved;
	resolved = (struct resolved){0};
	return 0;
}

bool resolved_equal(const struct resolved *left, const struct resolved *right)
{
	if (left->want_count != right->want_count)
		return false;
	for (size_t i = 0; i < left->want_count; i++) {
		if (strcmp(left->wants[i].address, right->wants[i].address) != 0 ||
			left->wants[i].alternative != right->wants[i].alternative)
			return false;
	}
	return true;
}

void resolved_done(struct resolved *resolved)
{
	vm_config_done(&resolved->config);
	choice_done(&resolved->choice);
	free(resolved->wants);
	*resolved = (struct resolved){0};
}

static enum blocker_code blocker_of(int status)
{
	switch (status) {
	case -ENODEV:
		return BLOCKER_NO_DEVICE;
	case -EBUSY:
		return BLOCKER_RESERVED;
	case -ESTALE:
		return BLOCKER_IDENTITY;
	default:
		return BLOCKER_CONFIG;
	}
}

/* Proxmox looks for a romfile in ROM_FOLDER; QEMU does not start without it. */
static int block_romfile(
	const struct root *root, const struct choice_entry *entry, struct plan *plan)
{
	char path[PATH_MAX];
	auto_close int folder = -1, fd = -1;

	if (!entry->hostpci.romfile || entry->mediated)
		return 0;
	folder = file_open(root, ROM_FOLDER, O_PATH);
	if (folder < 0)
		return 0;
	snprintf(path, sizeof(path), ROM_FOLDER "/%s", entry->hostpci.romfile);
	fd = file_open(root, path, O_PATH);
	return fd == -ENOENT ? plan_block(plan, BLOCKER_ROMFILE,
				       "hostpci%u: the romfile /%s does not exist: copy the card's "
				       "ROM there, or take romfile= out of the entry",
				       entry->index, path)
			     : 0;
}

int resolved_add_blockers(
	const struct root *root, const struct resolved *resolved, struct plan *plan)
{
	const struct choice *choice = &resolved->choice;
	int r = 0;

	for (size_t i = 0; r == 0 && i < choice->count; i++) {
		const struct choice_entry *entry = &choice->entries[i];

		/* another VM has the only choice: the plan reports that in more detail */
		if (entry->error.status == -EBUSY && entry->chosen >= 0)
			continue;
		if (entry->error.status < 0)
			r = plan_block(plan, blocker_of(entry->error.status), "hostpci%u: %s%s",
				entry->index, entry->error.message,
				entry->error.status == -ENODEV
					? ": it is not on this host now; connect it or power it "
					  "on, or take it out of the VM's config"
					: "");
		else if (entry->notice)
			r = plan_block(plan, BLOCKER_CONFIG,
				"hostpci%u: Proxmox VE does not start the VM: %s", entry->index,
				entry->notice);
		if (r == 0)
			r = block_romfile(root, entry, plan);
	}
	return r;
}
