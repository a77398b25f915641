/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks a VM against the other VMs and containers of the node. */

#include "patient.h"

#include "conf/pve/container.h"
#include "conf/pve/vm_list.h"
#include "hooks/attach/snippet.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <string.h>

/* ---- what VMs have */

/* A VM of this node, and what its hostpci entries may mean. */
struct other_vm {
	unsigned int vmid;
	struct resolved resolved;
};

static void other_vm_done(struct other_vm *vm)
{
	resolved_done(&vm->resolved);
}

static int other_vm_read(struct doctor *doctor, unsigned int vmid, struct other_vm *ret)
{
	ret->vmid = vmid;
	return resolve_vm(doctor->context, vmid, NULL, &doctor->host, &doctor->loans, NULL,
		&ret->resolved, NULL);
}

typedef bool (*address_test)(const void *context, const char *address);

/* The first address that passes, among all alternatives of all entries; NULL: none. */
static const char *other_vm_find(
	const struct other_vm *vm, address_test passes, const void *context)
{
	const struct choice *choice = &vm->resolved.choice;

	for (size_t i = 0; i < choice->count; i++) {
		const struct alternatives *alternatives = &choice->entries[i].alternatives;

		for (size_t k = 0; !choice->entries[i].mediated && k < alternatives->count; k++) {
			const struct names *list = &alternatives->lists[k];

			for (size_t n = 0; n < list->count; n++) {
				if (passes(context, list->names[n]))
					return list->names[n];
			}
		}
	}
	return NULL;
}

/* ---- every VM that has a GPU must have the hookscript */

static bool is_of_a_gpu(const void *context, const char *address)
{
	const struct doctor *doctor = context;

	for (size_t i = 0; i < doctor->host.count; i++) {
		if (pci_is_display(&doctor->host.items[i]) && doctor_is_about(doctor, address) &&
			pci_same_card(doctor->host.items[i].address, address))
			return true;
	}
	return false;
}

static void check_hookscript(struct doctor *doctor, const struct other_vm *vm, const char *address)
{
	const char *hookscript = vm_config_get(&vm->resolved.config, "hookscript");
	struct checklist *list = &doctor->list;

	if (snippet_is_ours(hookscript)) {
		check_add(list, CHECK_PASS, "guest_hookscript",
			"VM %u, which is given %s, has the hookscript", vm->vmid, address);
	} else if (hookscript) {
		check_add(list, CHECK_WARN, "guest_hookscript",
			"VM %u is given %s and has another hookscript (%s): gpu-ferry does not "
			"know what that does to the card",
			vm->vmid, address, hookscript);
		check_fix(list, "gpu-ferry attach %u %.*s", vm->vmid, (int)strcspn(address, "."),
			address);
	} else {
		check_add(list, CHECK_WARN, "guest_hookscript",
			"VM %u is given %s without gpu-ferry: when it stops, the card stays on "
			"vfio-pci",
			vm->vmid, address);
		check_fix(list, "qm set %u --hookscript " SNIPPET_PLAIN, vm->vmid);
	}
}

static void check_vm(struct doctor *doctor, unsigned int vmid)
{
	cleanup(other_vm_done) struct other_vm vm = {0};
	const char *address;

	if (other_vm_read(doctor, vmid, &vm) < 0 || vm_config_is_template(&vm.resolved.config))
		return;
	address = other_vm_find(&vm, is_of_a_gpu, doctor);
	if (address)
		check_hookscript(doctor, &vm, address);
}

/* Reads the list of VMs. When that fails, adds a check that says so. */
static bool list_vms(struct doctor *doctor, unsigned int **ret, size_t *ret_count)
{
	struct error error = {0};
	int r = vm_list_read(&doctor->context->kernel.root, ret, ret_count, &error);

	if (r < 0)
		check_add(&doctor->list, CHECK_SKIP, "guests", "the VMs of this node: %s%s",
			error.message, r == -EACCES ? ": run doctor as root" : "");
	return r == 0;
}

/* ---- containers */

/* True when @node belongs to the card: the kernel lists it below the function. */
static bool has_drm_node(
	const struct doctor *doctor, const struct pci_function *function, const char *node)
{
	char path[PCI_PATH_SIZE];

	pci_path(function->address, "drm", path, sizeof(path));
	if (strcmp(node, "dev/dri") == 0)
		return kernel_has_folder(&doctor->context->kernel, path);
	snprintf(
		path + strlen(path), sizeof(path) - strlen(path), "/%.60s", strrchr(node, '/') + 1);
	return strncmp(node, "dev/dri/", strlen("dev/dri/")) == 0 &&
		(strstr(node, function->address) ||
			kernel_has_folder(&doctor->context->kernel, path));
}

/* The kernel lists NVIDIA's own nodes and AMD's kfd below no function: they may belong to any card
 * of their maker. */
static bool may_be_node_of(
	const struct doctor *doctor, const struct pci_function *function, const char *node)
{
	if (strncmp(node, "dev/", strlen("dev/")) != 0)
		return false;
	if (strncmp(node, "dev/nvidia", strlen("dev/nvidia")) == 0)
		return function->vendor_id == PCI_VENDOR_NVIDIA;
	if (strcmp(node, "dev/kfd") == 0)
		return function->vendor_id == 0x1002;
	return has_drm_node(doctor, function, node);
}

static const char *find_node(const struct doctor *doctor, const struct pci_function *function,
	const struct container *container)
{
	for (size_t i = 0; i < container->nodes.count; i++) {
		if (may_be_node_of(doctor, function, container->nodes.names[i]))
			return container->nodes.names[i];
	}
	return NULL;
}

/* Reports each container that is given a node of this GPU. */
static void check_containers(struct doctor *doctor, const struct containers *containers,
	const struct pci_function *function, const char *id)
{
	for (size_t i = 0; i < containers->count; i++) {
		const struct container *container = &containers->items[i];
		const char *node = find_node(doctor, function, container);

		if (node)
			check_add(&doctor->list, CHECK_NOTICE, id,
				"container %u is given /%s, which may belong to %s: while the "
				"container uses it, no VM gets the card",
				container->ctid, node, function->address);
	}
}

static bool list_containers(struct doctor *doctor, struct containers *ret)
{
	struct error error = {0};
	int r = containers_read(&doctor->context->kernel.root, ret, &error);

	if (r < 0)
		check_add(&doctor->list, CHECK_SKIP, "guests", "the containers of this node: %s%s",
			error.message, r == -EACCES ? ": run doctor as root" : "");
	return r == 0;
}

static void check_all_containers(struct doctor *doctor)
{
	cleanup(containers_done) struct containers containers = {0};

	if (!list_containers(doctor, &containers))
		return;
	for (size_t i = 0; i < doctor->host.count; i++) {
		if (is_gpu(doctor, &doctor->host.items[i]) &&
			doctor_is_about(doctor, doctor->host.items[i].address))
			check_containers(
				doctor, &containers, &doctor->host.items[i], "guest_container");
	}
}

void doctor_check_guests(struct doctor *doctor, unsigned int except)
{
	auto_free unsigned int *vmids = NULL;
	size_t count = 0, before;

	checklist_section(&doctor->list, "GUESTS");
	before = doctor->list.count;
	if (!list_vms(doctor, &vmids, &count))
		return;
	for (size_t i = 0; i < count; i++) {
		if (vmids[i] != except)
			check_vm(doctor, vmids[i]);
	}
	check_all_containers(doctor);
	if (doctor->list.count == before && !doctor->vm_functions.count)
		check_add(&doctor->list, CHECK_PASS, "guests", "no other guest is given a GPU");
}

/* ---- for one VM: who else has its cards */

static bool is_family(const struct pci_function *left, const struct pci_function *right)
{
	return strcmp(left->parent, right->address) == 0 ||
		strcmp(right->parent, left->address) == 0;
}

/* True when a VM that has @left keeps another VM from having @right. */
static bool collide(const struct doctor *doctor, const char *left, const char *right)
{
	const struct pci_function *one = pci_find(&doctor->host, left);
	const struct pci_function *two = pci_find(&doctor->host, right);

	if (!one || !two)
		return pci_same_card(left, right);
	if (one->iommu_group == two->iommu_group && one->iommu_group != PCI_NO_GROUP)
		return true;
	return is_family(one, two) ||
		(!*one->parent && !*two->parent && pci_same_card(left, right));
}

static bool is_of_patient(const void *context, const char *address)
{
	const struct patient *patient = context;
	const struct choice *choice = &patient->guest.resolved.choice;

	for (size_t i = 0; i < choice->count; i++) {
		const struct names *addresses = choice_addresses(&choice->entries[i]);

		for (size_t k = 0; addresses && k < addresses->count; k++) {
			if (collide(patient->doctor, addresses->names[k], address))
				return true;
		}
	}
	return false;
}

/* True when the entry has a choice with which @addresses collide in nothing. */
static bool has_room(const struct doctor *doctor, const struct choice_entry *entry,
	const struct names *addresses)
{
	for (size_t k = 0; k < entry->alternatives.count; k++) {
		const struct names *choice = &entry->alternatives.lists[k];
		bool collides = false;

		for (size_t i = 0; i < choice->count; i++) {
			for (size_t n = 0; n < addresses->count; n++)
				collides |= collide(doctor, choice->names[i], addresses->names[n]);
		}
		if (!collides)
			return true;
	}
	return false;
}

/* True when @later finds a free card for every entry, whatever @first took before. */
static bool can_follow(
	const struct doctor *doctor, const struct choice *first, const struct choice *later)
{
	for (size_t i = 0; i < first->count; i++) {
		const struct choice_entry *taken = &first->entries[i];

		for (size_t n = 0; n < later->count; n++) {
			const struct choice_entry *entry = &later->entries[n];

			if (taken->mediated || entry->mediated || !entry->alternatives.count)
				continue;
			for (size_t k = 0; k < taken->alternatives.count; k++) {
				if (!has_room(doctor, entry, &taken->alternatives.lists[k]))
					return false;
			}
		}
	}
	return true;
}

static bool is_same_card(const void *context, const char *address)
{
	return pci_same_card(context, address);
}

bool patient_shares(const struct patient *patient, const char *address)
{
	auto_free unsigned int *vmids = NULL;
	size_t count = 0;
	bool found = false;

	if (vm_list_read(&patient->doctor->context->kernel.root, &vmids, &count, NULL) < 0)
		return false;
	for (size_t i = 0; i < count && !found; i++) {
		cleanup(other_vm_done) struct other_vm vm = {0};

		found = vmids[i] != patient->vmid &&
			other_vm_read(patient->doctor, vmids[i], &vm) == 0 &&
			!vm_config_is_template(&vm.resolved.config) &&
			other_vm_find(&vm, is_same_card, address);
	}
	return found;
}

static bool starts_at_boot(const struct vm_config *config)
{
	const char *value = vm_config_get(config, "onboot");

	return value && strcmp(value, "1") == 0;
}

static void check_other_vm(struct patient *patient, unsigned int vmid)
{
	cleanup(other_vm_done) struct other_vm vm = {0};
	const char *address;
	bool own_first, other_first;

	if (other_vm_read(patient->doctor, vmid, &vm) < 0 ||
		vm_config_is_template(&vm.resolved.config))
		return;
	address = other_vm_find(&vm, is_of_patient, patient);
	if (!address)
		return;
	own_first =
		can_follow(patient->doctor, &patient->guest.resolved.choice, &vm.resolved.choice);
	other_first =
		can_follow(patient->doctor, &vm.resolved.choice, &patient->guest.resolved.choice);
	if (own_first && other_first) {
		check_add(patient->list, CHECK_INFO, "vm_others",
			"VM %u may be given %s too: both can run, each with a card of its own",
			vmid, address);
	} else if (own_first || other_first) {
		check_add(patient->list, CHECK_NOTICE, "vm_others",
			"VM %u may be given %s too: both can run only when VM %u starts first",
			vmid, address, own_first ? patient->vmid : vmid);
	} else if (starts_at_boot(&vm.resolved.config) && starts_at_boot(patient->config)) {
		check_add(patient->list, CHECK_WARN, "vm_others",
			"VM %u is given %s too, and both start at boot: only the first one gets it",
			vmid, address);
		check_fix(patient->list, "qm set %u --onboot 0", vmid);
	} else {
		check_add(patient->list, CHECK_NOTICE, "vm_others",
			"VM %u is given %s too: only one of them can run at a time", vmid, address);
	}
}

void patient_check_others(struct patient *patient)
{
	cleanup(containers_done) struct containers containers = {0};
	struct doctor *doctor = patient->doctor;
	auto_free unsigned int *vmids = NULL;
	size_t count = 0, before = patient->list->count;

	if (!list_vms(doctor, &vmids, &count) || !list_containers(doctor, &containers))
		return;
	for (size_t i = 0; i < count; i++) {
		if (vmids[i] != patient->vmid)
			check_other_vm(patient, vmids[i]);
	}
	for (size_t i = 0; i < doctor->host.count; i++) {
		if (is_gpu(doctor, &doctor->host.items[i]) &&
			is_of_patient(patient, doctor->host.items[i].address))
			check_containers(doctor, &containers, &doctor->host.items[i], "vm_others");
	}
	if (patient->list->count == before)
		check_add(patient->list, CHECK_PASS, "vm_others",
			"no other VM and no container of this node is given its cards");
}
