/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks a VM's config: machine, firmware, hostpci entries, agent. */

#include "patient.h"

#include "conf/pve/node_name.h"
#include "conf/pve/vm_windows.h"
#include "hooks/base/devices.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/pci_resource.h"
#include <errno.h>
#include <string.h>

/* ---- the file itself */

/* Why the config cannot be read, with what to do about it. */
static void explain_unread(struct patient *patient, int status, const struct error *error)
{
	bool hidden = status == -EACCES || status == -EPERM;

	check_add(patient->list, hidden ? CHECK_SKIP : CHECK_FAIL, "vm_config", "%s%s",
		error->message, hidden ? ": run doctor as root" : "");
	if (hidden)
		return;
	if (status == -ETIMEDOUT)
		check_fix(patient->list, "systemctl restart pve-cluster");
	else
		check_fix(patient->list, "qm list  # then: gpu-ferry doctor VMID");
}

static void check_warnings(struct patient *patient)
{
	const struct names *warnings = &patient->config->warnings;
	const char *bios = vm_config_get(patient->config, "bios");

	for (size_t i = 0; i < warnings->count; i++) {
		check_add(patient->list, CHECK_WARN, "vm_config",
			"Proxmox VE ignores a line of the config: %s", warnings->names[i]);
		check_fix(patient->list, "editor /etc/pve/qemu-server/%u.conf", patient->vmid);
	}
	if (vm_config_is_template(patient->config))
		check_add(patient->list, CHECK_INFO, "vm_config",
			"it is a template, which never gets a card: look at the VMs that are made "
			"of it");
	else if (!warnings->count && !patient->config->ignored_count)
		check_add(patient->list, CHECK_PASS, "vm_config",
			"its config can be read: %s, %s, ostype %s",
			vm_config_is_q35(patient->config) ? "q35" : "i440fx",
			bios ? bios : "seabios", vm_config_ostype(patient->config));
}

/* ---- hostpci */

static const char *value_of(const struct patient *patient, const struct choice_entry *entry)
{
	const char *value = vm_config_hostpci(patient->config, entry->index);

	return value ? value : "";
}

/* Without it Proxmox asks nothing more of the entry. */
static void fix_legacy_igd(struct patient *patient, const struct choice_entry *entry)
{
	const char *value = value_of(patient, entry);
	const char *option = strstr(value, "legacy-igd=");
	const char *rest = option ? option + strcspn(option, ",") : "";
	int before = option ? (int)(option - value) : (int)strlen(value);

	if (before && option)
		before--;
	else if (*rest)
		rest++;
	check_fix(patient->list,
		"qm set %u --hostpci%u '%.*s%s'  # legacy-igd needs vga: none, a machine that is "
		"not q35, and the function 00:02.0 alone",
		patient->vmid, entry->index, before, value, rest);
}

static void fix_entry(struct patient *patient, const struct choice_entry *entry)
{
	const char *mapping = entry->hostpci.mapping;

	switch (entry->error.status) {
	case -EBUSY:
		check_fix(patient->list, "gpu-ferry status  # shut down the VM that has it");
		break;
	case -EREMOTE:
		check_fix(patient->list,
			"pvesh get /cluster/mapping/pci/%s  # then add a device of this node to "
			"it, or run the VM on that node",
			mapping ? mapping : "");
		break;
	case -ENODEV:
		check_fix(patient->list,
			"gpu-ferry list --all  # connect it or power it on; if it has another "
			"address now: qm set %u --hostpci%u ADDRESS,pcie=1",
			patient->vmid, entry->index);
		break;
	case -ESTALE:
	case -ENOENT:
		check_fix(patient->list, "pvesh get /cluster/mapping/pci/%s  # then correct it",
			mapping ? mapping : "");
		break;
	case -EINVAL:
		check_fix(
			patient->list, "qm set %u --delete hostpci%u", patient->vmid, entry->index);
		break;
	default:
		check_fix(patient->list,
			"gpu-ferry list --all  # then: qm set %u --hostpci%u ADDRESS,pcie=1",
			patient->vmid, entry->index);
	}
}

static void list_addresses(const struct choice_entry *entry, char *buffer, size_t size)
{
	const struct names *addresses = choice_addresses(entry);

	buffer[0] = '\0';
	for (size_t i = 0; addresses && i < addresses->count; i++) {
		size_t used = strlen(buffer);

		snprintf(buffer + used, size - used, " %s", addresses->names[i]);
	}
}

static void check_entry(struct patient *patient, const struct choice_entry *entry)
{
	char addresses[512];

	/* Proxmox refuses this; check_pcie reports it */
	if (entry->hostpci.pcie && !vm_config_is_q35(patient->config))
		return;
	if (entry->error.status == -EBUSY) {
		check_add(patient->list, CHECK_WARN, "vm_hostpci", "hostpci%u: %s", entry->index,
			entry->error.message);
		fix_entry(patient, entry);
	} else if (entry->error.status < 0 || entry->notice) {
		check_add(patient->list, CHECK_FAIL, "vm_hostpci", "hostpci%u: %s", entry->index,
			entry->error.status < 0 ? entry->error.message : entry->notice);
		if (entry->error.status < 0)
			fix_entry(patient, entry);
		else
			fix_legacy_igd(patient, entry);
	} else if (entry->mediated) {
		check_add(patient->list, CHECK_INFO, "vm_hostpci",
			"hostpci%u: a mediated device: not handled by gpu-ferry", entry->index);
	} else {
		list_addresses(entry, addresses, sizeof(addresses));
		check_add(patient->list, CHECK_PASS, "vm_hostpci", "hostpci%u is there:%s",
			entry->index, addresses);
	}
}

static void check_ignored(struct patient *patient, const struct vm_config_entry *ignored)
{
	char text[ERROR_MESSAGE_SIZE], instead[HOSTPCI_MENDED_SIZE];

	vm_plan_tell_ignored(ignored, text, sizeof(text));
	check_add(patient->list, CHECK_FAIL, "vm_hostpci", "%s", text);
	if (hostpci_mend(ignored->value, instead, sizeof(instead)) &&
		strcmp(ignored->value, instead) != 0)
		check_fix(
			patient->list, "qm set %u --%s '%s'", patient->vmid, ignored->key, instead);
	else
		patient_fix_attach(patient);
}

static void check_hostpci(struct patient *patient)
{
	const struct choice *choice = &patient->guest.resolved.choice;
	const struct vm_config *config = patient->config;

	for (size_t i = 0; i < choice->count; i++)
		check_entry(patient, &choice->entries[i]);
	for (size_t i = 0; i < config->ignored_count; i++)
		check_ignored(patient, &config->ignored[i]);
	if (choice->count == 0 && !config->ignored_count) {
		check_add(patient->list, CHECK_FAIL, "vm_hostpci",
			"it has no hostpci: no card is passed to it");
		patient_fix_attach(patient);
	}
}

/* ---- machine and firmware of the guest */

static void check_pcie(struct patient *patient, const struct choice_entry *entry)
{
	bool is_q35 = vm_config_is_q35(patient->config);

	if (entry->hostpci.pcie && is_q35) {
		check_add(patient->list, CHECK_PASS, "vm_machine", "hostpci%u: pcie=1 with q35",
			entry->index);
	} else if (entry->hostpci.pcie) {
		check_add(patient->list, CHECK_FAIL, "vm_machine",
			"hostpci%u: pcie=1 needs the machine q35: Proxmox VE does not start the VM",
			entry->index);
		check_fix(patient->list, "qm set %u --machine q35", patient->vmid);
	} else {
		check_add(patient->list, CHECK_NOTICE, "vm_machine",
			"hostpci%u is without pcie=1: the guest sees the card as an old PCI card, "
			"which some drivers refuse",
			entry->index);
		check_fix(patient->list, "qm set %u%s --hostpci%u '%s,pcie=1'", patient->vmid,
			is_q35 ? "" : " --machine q35", entry->index, value_of(patient, entry));
	}
}

/* The storage that the VM's first disk is on. */
static void find_storage(const struct vm_config *config, char *ret, size_t size)
{
	static const char *const keys[] = {"scsi0", "virtio0", "sata0", "ide0"};

	snprintf(ret, size, "local-lvm");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = vm_config_get(config, keys[i]);
		size_t length = value ? strcspn(value, ":/,") : 0;

		if (!value || value[length] != ':' || strstr(value, "media=cdrom"))
			continue;
		snprintf(ret, size, "%.*s", (int)length, value);
		return;
	}
}

static void check_bios(struct patient *patient)
{
	const char *bios = vm_config_get(patient->config, "bios");
	char storage[64];

	if (bios && strcmp(bios, "ovmf") == 0) {
		check_add(patient->list, CHECK_PASS, "vm_bios", "it boots with UEFI (ovmf)");
		return;
	}
	check_add(patient->list, CHECK_WARN, "vm_bios",
		"it boots with SeaBIOS: the ROMs of today's cards are made for UEFI, and their "
		"large memory windows may not fit");
	find_storage(patient->config, storage, sizeof(storage));
	if (vm_config_get(patient->config, "efidisk0"))
		check_fix(patient->list, "qm set %u --bios ovmf", patient->vmid);
	else
		check_fix(patient->list,
			"qm set %u --bios ovmf --efidisk0 %s:1,efitype=4m,pre-enrolled-keys=1  # "
			"for a newly installed guest: one installed for BIOS does not boot with "
			"UEFI",
			patient->vmid, storage);
}

/* ---- what kind of guest it is */

static void check_windows(struct patient *patient)
{
	const char *ostype = vm_config_ostype(patient->config);

	switch (patient->doctor->settings.windows_blacklist) {
	case WINDOWS_BLACKLIST_WHILE_RUNNING:
		check_add(patient->list, CHECK_PASS, "vm_ostype",
			"%s: the host's display driver is blacklisted while it runs", ostype);
		break;
	case WINDOWS_BLACKLIST_PERMANENT:
		check_add(patient->list, CHECK_WARN, "vm_ostype",
			"%s: with windows_blacklist = \"permanent\" the host never gets the card",
			ostype);
		fix_setting(patient->doctor, "windows_blacklist", "\"while-running\"",
			"then: gpu-ferry setup --mode share --apply");
		break;
	case WINDOWS_BLACKLIST_OFF:
		check_add(patient->list, CHECK_NOTICE, "vm_ostype",
			"%s: with windows_blacklist = \"off\" the host's display driver stays "
			"loaded; if the guest's driver stops with code 43, set \"while-running\"",
			ostype);
		break;
	}
}

static void check_ostype(struct patient *patient)
{
	const char *ostype = vm_config_ostype(patient->config);
	const char *windows;
	const char *sign = vm_config_sign_of_windows(patient->config, &windows);

	if (vm_config_is_windows(patient->config)) {
		check_windows(patient);
	} else if (sign) {
		check_add(patient->list, CHECK_WARN, "vm_ostype",
			"ostype is %s, and %s: a Windows guest needs a Windows ostype", ostype,
			sign);
		check_fix(patient->list, "qm set %u --ostype %s", patient->vmid, windows);
	} else if (strcmp(ostype, "other") == 0) {
		check_add(patient->list, CHECK_WARN, "vm_ostype",
			"ostype is other, which does not say whether the guest is Windows");
		check_fix(
			patient->list, "qm set %u --ostype l26  # or win11, win10", patient->vmid);
	} else {
		check_add(patient->list, CHECK_PASS, "vm_ostype",
			"ostype is %s: no blacklist is needed", ostype);
	}
}

/* ---- agent, mapping, ROM */

static void check_agent(struct patient *patient)
{
	if (vm_config_has_agent(patient->config)) {
		check_add(patient->list, CHECK_PASS, "vm_agent", "the guest agent is on");
		return;
	}
	check_add(patient->list, CHECK_NOTICE, "vm_agent",
		"the guest agent is off: `gpu-ferry guest %u` cannot ask the guest", patient->vmid);
	check_fix(patient->list, "qm set %u --agent enabled=1", patient->vmid);
}

static size_t count_nodes(const struct doctor *doctor)
{
	cleanup(names_done) struct names nodes = {0};

	(void)folder_list(&doctor->context->kernel.root, "etc/pve/nodes", &nodes);
	return nodes.count;
}

/* "gpu", or "gpu2" and so on: a name that no mapping has. */
static void find_free_name(const struct mappings *mappings, char *ret, size_t size)
{
	snprintf(ret, size, "gpu");
	for (unsigned int i = 2; mapping_by_name(mappings, ret); i++)
		snprintf(ret, size, "gpu%u", i);
}

/* A mapping that means this card alone on @node; NULL: none. */
static const char *find_mapping_of(const struct patient *patient, const struct mappings *mappings,
	const char *node, const char *address)
{
	struct hardware hardware = {patient->doctor->context, &patient->doctor->host};

	for (size_t i = 0; i < mappings->count; i++) {
		cleanup(alternatives_done) struct alternatives found = {0};
		const char *name = mappings->items[i].name;
		int r = mapping_find(
			mappings, name, node, devices_look_up, &hardware, &found, NULL);

		if (r == 0 && found.count == 1 && found.lists[0].count == 1 &&
			pci_device_has(found.lists[0].names[0], address))
			return name;
	}
	return NULL;
}

/* The fix for a raw entry: the mapping that has its first function, or a `pvesh` command that makes
 * one. */
static void fix_mapping(struct patient *patient, const struct choice_entry *entry)
{
	cleanup(mappings_done) struct mappings mappings = {0};
	const struct names *addresses = choice_addresses(entry);
	const struct pci_function *function = addresses && addresses->count
		? patient_function(patient, addresses->names[0])
		: NULL;
	const struct root *root = &patient->doctor->context->kernel.root;
	const char *pcie = entry->hostpci.pcie ? ",pcie=1" : "", *known;
	char node[NODE_NAME_SIZE], name[16];

	if (!function || node_name(root, node, sizeof(node), NULL) < 0 ||
		mappings_read(root, &mappings, NULL) < 0)
		return;
	known = find_mapping_of(patient, &mappings, node, function->address);
	if (known) {
		check_fix(patient->list, "qm set %u --hostpci%u mapping=%s%s", patient->vmid,
			entry->index, known, pcie);
		return;
	}
	find_free_name(&mappings, name, sizeof(name));
	check_fix(patient->list,
		"pvesh create /cluster/mapping/pci --id %s --map "
		"node=%s,path=%.*s,id=%04x:%04x,subsystem-id=%04x:%04x,iommugroup=%ld && qm set %u "
		"--hostpci%u mapping=%s%s",
		name, node, (int)strcspn(function->address, "."), function->address,
		function->vendor_id, function->device_id, function->subsystem_vendor_id,
		function->subsystem_device_id, function->iommu_group, patient->vmid, entry->index,
		name, pcie);
}

static void check_mapping(struct patient *patient)
{
	const struct choice *choice = &patient->guest.resolved.choice;

	if (count_nodes(patient->doctor) < 2)
		return;
	for (size_t i = 0; i < choice->count; i++) {
		const struct choice_entry *entry = &choice->entries[i];

		if (entry->hostpci.mapping || !choice_addresses(entry))
			continue;
		check_add(patient->list, CHECK_NOTICE, "vm_mapping",
			"hostpci%u uses an address, and on another node of the cluster that may "
			"be another device: use a resource mapping",
			entry->index);
		fix_mapping(patient, entry);
	}
}

static bool has_shadowed_rom(const struct patient *patient, const char *address)
{
	struct pci_resources resources;

	return pci_resources_read(&patient->doctor->context->kernel, address, &resources) == 0 &&
		resources.rom_is_shadowed;
}

static void check_rom(struct patient *patient)
{
	const struct choice *choice = &patient->guest.resolved.choice;

	for (size_t i = 0; i < choice->count; i++) {
		const struct choice_entry *entry = &choice->entries[i];
		const struct names *addresses = choice_addresses(entry);

		if (!addresses || !addresses->count || entry->hostpci.romfile ||
			!entry->hostpci.rombar || !has_shadowed_rom(patient, addresses->names[0]))
			continue;
		check_add(patient->list, CHECK_WARN, "vm_rom",
			"hostpci%u: the card's ROM is a copy that the firmware has already used "
			"(shadowed), and the entry has no romfile",
			entry->index);
		check_fix(patient->list,
			"qm set %u --hostpci%u '%s,romfile=gpu.rom'  # the card's ROM as "
			"/usr/share/kvm/gpu.rom: read where the card is not the boot display",
			patient->vmid, entry->index, value_of(patient, entry));
	}
}

/* The blockers that stop every start and that no other check reports. The rest only says who has
 * the card at this moment. */
struct lasting_blocker {
	enum blocker_code code;
	const char *fix; /* NULL: change the setting boot_display */
};

static const struct lasting_blocker lasting_blockers[] = {
	{BLOCKER_BOOT_DISPLAY, NULL},
	{BLOCKER_FOREIGN_MEMBER,
		"gpu-ferry list --all  # take another slot, or another card; only where the host "
		"can do without them: `allow` in /" SETTINGS_PATH},
	{BLOCKER_ROMFILE,
		"ls /usr/share/kvm  # copy the card's ROM there, or take romfile= out of the entry"},
	{BLOCKER_DEAD, "poweroff  # a reboot is often not enough"},
	{BLOCKER_OVERDUE, "gpu-ferry reconcile  # after its user has ended: see gpu-ferry status"},
};

static void check_blocker(struct patient *patient, const struct blocker *blocker)
{
	if (blocker->code == BLOCKER_HELD || blocker->code == BLOCKER_HOST_USE ||
		blocker->code == BLOCKER_RESERVED || blocker->code == BLOCKER_VFS)
		check_add(patient->list, CHECK_NOTICE, "vm_plan",
			"a start now would be refused: %s", blocker->message);
	for (size_t i = 0; i < sizeof(lasting_blockers) / sizeof(lasting_blockers[0]); i++) {
		if (lasting_blockers[i].code != blocker->code ||
			(blocker->code == BLOCKER_FOREIGN_MEMBER &&
				check_raise(patient->list, "card_group",
					"VM %u would not start: %s", patient->vmid,
					blocker->message)))
			continue;
		check_add(patient->list, CHECK_FAIL, "vm_plan", "it would not start: %s",
			blocker->message);
		if (lasting_blockers[i].fix)
			check_fix(patient->list, "%s", lasting_blockers[i].fix);
		else
			fix_setting(patient->doctor, "boot_display", "\"allow\"", "");
	}
}

static void check_plan(struct patient *patient)
{
	const struct plan *plan = &patient->guest.plan;

	for (size_t i = 0; i < plan->blocker_count; i++)
		check_blocker(patient, &plan->blockers[i]);
}

static void check_config(struct patient *patient)
{
	const struct choice *choice = &patient->guest.resolved.choice;

	check_warnings(patient);
	if (vm_config_is_template(patient->config))
		return;
	patient_check_hookscript(patient);
	check_hostpci(patient);
	for (size_t i = 0; i < choice->count; i++) {
		if (!choice->entries[i].mediated)
			check_pcie(patient, &choice->entries[i]);
	}
	check_bios(patient);
	check_rom(patient);
	check_ostype(patient);
	patient_check_cpu(patient);
	check_agent(patient);
	check_mapping(patient);
	patient_check_others(patient);
	check_plan(patient);
}

void doctor_check_vm(struct doctor *doctor, unsigned int vmid)
{
	struct patient patient = {.doctor = doctor, .list = &doctor->list, .vmid = vmid};
	struct error error = {0};
	int r;

	snprintf(doctor->vm_title, sizeof(doctor->vm_title), "VM %u", vmid);
	checklist_section(&doctor->list, doctor->vm_title);
	checklist_subject(&doctor->list, doctor->vm_title);
	r = vm_plan_make(doctor->context, vmid, NULL, &patient.guest, &error);
	patient.config = &patient.guest.resolved.config;
	if (r < 0)
		explain_unread(&patient, r, &error);
	else
		check_config(&patient);
	vm_plan_done(&patient.guest);
}
