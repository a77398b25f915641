/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the values of a VM's config as Proxmox does. */

#include "vm_keys.h"

#include "hostpci.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* check_type: a plain string is checked for nothing at all, not even for its enumeration. */
enum key_type {
	KEY_BOOLEAN,
	KEY_INTEGER,
	KEY_NUMBER,
	KEY_STRING,
	KEY_PATTERN,
	KEY_PROPERTIES,
	KEY_HOSTPCI,
	KEY_UNCHECKED, /* Proxmox checks it, and nobody here asks for it */
};

struct vm_key {
	const char *name;
	enum key_type type;
	unsigned int indices; /* 0: the name alone; else name0 … */
	const char *pattern;
	const struct property_format *format;
};

static const char *const cpu_models[] = {
	"486",
	"Broadwell",
	"Broadwell-IBRS",
	"Broadwell-noTSX",
	"Broadwell-noTSX-IBRS",
	"Cascadelake-Server",
	"Cascadelake-Server-noTSX",
	"Cascadelake-Server-v2",
	"Cascadelake-Server-v4",
	"Cascadelake-Server-v5",
	"ClearwaterForest",
	"Conroe",
	"Cooperlake",
	"Cooperlake-v2",
	"EPYC",
	"EPYC-Genoa",
	"EPYC-Genoa-v2",
	"EPYC-IBPB",
	"EPYC-Milan",
	"EPYC-Milan-v2",
	"EPYC-Milan-v3",
	"EPYC-Rome",
	"EPYC-Rome-v2",
	"EPYC-Rome-v3",
	"EPYC-Rome-v4",
	"EPYC-Rome-v5",
	"EPYC-Turin",
	"EPYC-v3",
	"EPYC-v4",
	"EPYC-v5",
	"GraniteRapids",
	"GraniteRapids-v2",
	"GraniteRapids-v3",
	"Haswell",
	"Haswell-IBRS",
	"Haswell-noTSX",
	"Haswell-noTSX-IBRS",
	"Icelake-Client",
	"Icelake-Client-noTSX",
	"Icelake-Server",
	"Icelake-Server-noTSX",
	"Icelake-Server-v3",
	"Icelake-Server-v4",
	"Icelake-Server-v5",
	"Icelake-Server-v6",
	"Icelake-Server-v7",
	"IvyBridge",
	"IvyBridge-IBRS",
	"KnightsMill",
	"Nehalem",
	"Nehalem-IBRS",
	"Opteron_G1",
	"Opteron_G2",
	"Opteron_G3",
	"Opteron_G4",
	"Opteron_G5",
	"Penryn",
	"SandyBridge",
	"SandyBridge-IBRS",
	"SapphireRapids",
	"SapphireRapids-v2",
	"SapphireRapids-v3",
	"SapphireRapids-v4",
	"SierraForest",
	"SierraForest-v2",
	"SierraForest-v3",
	"Skylake-Client",
	"Skylake-Client-IBRS",
	"Skylake-Client-noTSX-IBRS",
	"Skylake-Client-v4",
	"Skylake-Server",
	"Skylake-Server-IBRS",
	"Skylake-Server-noTSX-IBRS",
	"Skylake-Server-v4",
	"Skylake-Server-v5",
	"Westmere",
	"Westmere-IBRS",
	"a64fx",
	"athlon",
	"core2duo",
	"coreduo",
	"cortex-a35",
	"cortex-a53",
	"cortex-a55",
	"cortex-a57",
	"cortex-a710",
	"cortex-a72",
	"cortex-a76",
	"host",
	"kvm32",
	"kvm64",
	"max",
	"neoverse-n1",
	"neoverse-n2",
	"neoverse-v1",
	"pentium",
	"pentium2",
	"pentium3",
	"phenom",
	"qemu32",
	"qemu64",
	"x86-64-v2",
	"x86-64-v2-AES",
	"x86-64-v3",
	"x86-64-v4",
	NULL,
};

#define FLAG                                                                                        \
	"[+-](nested-virt|md-clear|pcid|spec-ctrl|ssbd|ibpb|virt-ssbd|amd-ssbd|amd-no-ssb|pdpe1gb|" \
	"hv-tlbflush|hv-evmcs|aes)"

/* Models of newer versions than the list are dropped like any unknown one. */
static const struct property_rule cpu_rules[] = {
	{.name = "cputype", .is_default = true, .required = true},
	{.name = "hidden", .type = PROPERTY_BOOLEAN},
	{.name = "hv-vendor-id", .pattern = "^[a-zA-Z0-9]{1,12}$"},
	{.name = "flags", .pattern = "^" FLAG "(;" FLAG ")*$"},
	{.name = "guest-phys-bits", .type = PROPERTY_INTEGER, .minimum = 32, .maximum = 64},
	{.name = "phys-bits", .pattern = "^(host|0?[89]|[1-5][0-9]|6[0-4])$"},
	{.name = "level", .type = PROPERTY_INTEGER, .maximum = UINT_MAX},
};

static const char *const vga_types[] = {"cirrus", "qxl", "qxl2", "qxl3", "qxl4", "none", "serial0",
	"serial1", "serial2", "serial3", "std", "virtio", "virtio-gl", "vmware", NULL};
static const char *const vga_clipboards[] = {"vnc", NULL};

static const struct property_rule vga_rules[] = {
	{.name = "type", .is_default = true, .values = vga_types},
	{.name = "memory", .type = PROPERTY_INTEGER, .minimum = 4, .maximum = 512},
	{.name = "clipboard", .values = vga_clipboards},
};

static const char *const agent_types[] = {"virtio", "isa", NULL};

static const struct property_rule agent_rules[] = {
	{.name = "enabled", .type = PROPERTY_BOOLEAN, .is_default = true, .required = true},
	{.name = "fstrim_cloned_disks", .type = PROPERTY_BOOLEAN},
	{.name = "freeze-fs", .type = PROPERTY_BOOLEAN},
	{.name = "freeze-fs-on-backup", .alias_of = "freeze-fs"},
	{.name = "guest-fsfreeze", .alias_of = "freeze-fs"},
	{.name = "type", .values = agent_types},
};

static const char *const viommu_types[] = {"intel", "virtio", NULL};

#define TYPE_VERSION "-[0-9]+(\\.[0-9]+)+"
#define REVISION "(\\+pve[0-9]+)?"

static const struct property_rule machine_rules[] = {
	{.name = "type",
		.is_default = true,
		.pattern = "^(pc|pc(-i440fx)?" TYPE_VERSION REVISION
			   "(\\.pxe)?|q35|pc-q35" TYPE_VERSION REVISION
			   "(\\.pxe)?|virt(" TYPE_VERSION ")?" REVISION ")$",
		.max_length = 40},
	{.name = "viommu", .values = viommu_types},
	{.name = "aw-bits", .type = PROPERTY_NUMBER, .minimum = 32, .maximum = 64},
	{.name = "enable-s3", .type = PROPERTY_BOOLEAN},
	{.name = "enable-s4", .type = PROPERTY_BOOLEAN},
};

const struct property_format cpu_format = {cpu_rules, COUNT(cpu_rules)};
static const struct property_format vga_format = {vga_rules, COUNT(vga_rules)};
const struct property_format agent_format = {agent_rules, COUNT(agent_rules)};
const struct property_format machine_format = {machine_rules, COUNT(machine_rules)};

#define LABEL "[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
#define DNS_NAME "^(" LABEL "\\.)*" LABEL "$"
#define VOLUME_ID "^[a-zA-Z][a-zA-Z0-9_.-]*[a-zA-Z0-9]:.+$"

static const struct vm_key keys[] = {
	{.name = "acpi", .type = KEY_BOOLEAN},
	{.name = "affinity", .type = KEY_UNCHECKED},
	{.name = "agent", .type = KEY_PROPERTIES, .format = &agent_format},
	{.name = "allow-ksm", .type = KEY_BOOLEAN},
	{.name = "amd-sev", .type = KEY_UNCHECKED},
	{.name = "arch", .type = KEY_STRING},
	{.name = "args", .type = KEY_STRING},
	{.name = "audio0", .type = KEY_UNCHECKED},
	{.name = "autostart", .type = KEY_BOOLEAN},
	{.name = "balloon", .type = KEY_INTEGER},
	{.name = "bios", .type = KEY_STRING},
	{.name = "boot", .type = KEY_UNCHECKED},
	{.name = "bootdisk", .type = KEY_UNCHECKED},
	{.name = "cdrom", .type = KEY_UNCHECKED},
	{.name = "cicustom", .type = KEY_UNCHECKED},
	{.name = "cipassword", .type = KEY_STRING},
	{.name = "citype", .type = KEY_STRING},
	{.name = "ciupgrade", .type = KEY_BOOLEAN},
	{.name = "ciuser", .type = KEY_STRING},
	{.name = "cores", .type = KEY_INTEGER},
	{.name = "cpu", .type = KEY_PROPERTIES, .format = &cpu_format},
	{.name = "cpulimit", .type = KEY_NUMBER},
	{.name = "cpuunits", .type = KEY_INTEGER},
	{.name = "description", .type = KEY_STRING},
	{.name = "efidisk0", .type = KEY_UNCHECKED},
	{.name = "freeze", .type = KEY_BOOLEAN},
	{.name = "hookscript", .type = KEY_PATTERN, .pattern = VOLUME_ID},
	{.name = "hostpci", .type = KEY_HOSTPCI, .indices = HOSTPCI_MAX},
	{.name = "hotplug", .type = KEY_UNCHECKED},
	{.name = "hugepages", .type = KEY_STRING},
	{.name = "ide", .type = KEY_UNCHECKED, .indices = 4},
	{.name = "intel-tdx", .type = KEY_UNCHECKED},
	{.name = "ipconfig", .type = KEY_UNCHECKED, .indices = 32},
	{.name = "ivshmem", .type = KEY_UNCHECKED},
	{.name = "keephugepages", .type = KEY_BOOLEAN},
	{.name = "keyboard", .type = KEY_STRING},
	{.name = "kvm", .type = KEY_BOOLEAN},
	{.name = "localtime", .type = KEY_BOOLEAN},
	{.name = "lock", .type = KEY_STRING},
	{.name = "machine", .type = KEY_PROPERTIES, .format = &machine_format},
	{.name = "memory", .type = KEY_UNCHECKED},
	{.name = "meta", .type = KEY_UNCHECKED},
	{.name = "migrate_downtime", .type = KEY_NUMBER},
	{.name = "migrate_speed", .type = KEY_INTEGER},
	{.name = "name", .type = KEY_PATTERN, .pattern = DNS_NAME},
	{.name = "nameserver", .type = KEY_UNCHECKED},
	{.name = "net", .type = KEY_UNCHECKED, .indices = 32},
	{.name = "numa", .type = KEY_BOOLEAN},
	{.name = "numa", .type = KEY_UNCHECKED, .indices = 8},
	{.name = "onboot", .type = KEY_BOOLEAN},
	{.name = "ostype", .type = KEY_STRING},
	{.name = "parallel", .type = KEY_STRING, .indices = 3},
	{.name = "parent", .type = KEY_PATTERN, .pattern = PATTERN_CONFIG_ID},
	{.name = "protection", .type = KEY_BOOLEAN},
	{.name = "reboot", .type = KEY_BOOLEAN},
	{.name = "rng0", .type = KEY_UNCHECKED},
	{.name = "running-nets-host-mtu", .type = KEY_STRING},
	{.name = "runningcpu", .type = KEY_STRING},
	{.name = "runningmachine", .type = KEY_PROPERTIES, .format = &machine_format},
	{.name = "sata", .type = KEY_UNCHECKED, .indices = 6},
	{.name = "scsi", .type = KEY_UNCHECKED, .indices = 31},
	{.name = "scsihw", .type = KEY_STRING},
	{.name = "searchdomain", .type = KEY_STRING},
	{.name = "serial", .type = KEY_STRING, .indices = 4},
	{.name = "shares", .type = KEY_INTEGER},
	{.name = "smbios1", .type = KEY_UNCHECKED},
	{.name = "smp", .type = KEY_INTEGER},
	{.name = "snaptime", .type = KEY_INTEGER},
	{.name = "sockets", .type = KEY_INTEGER},
	{.name = "spice_enhancements", .type = KEY_UNCHECKED},
	{.name = "sshkeys", .type = KEY_UNCHECKED},
	{.name = "startdate", .type = KEY_STRING},
	{.name = "startup", .type = KEY_UNCHECKED},
	{.name = "tablet", .type = KEY_BOOLEAN},
	{.name = "tags", .type = KEY_UNCHECKED},
	{.name = "tdf", .type = KEY_BOOLEAN},
	{.name = "template", .type = KEY_BOOLEAN},
	{.name = "tpmstate0", .type = KEY_UNCHECKED},
	{.name = "unused", .type = KEY_UNCHECKED, .indices = 256},
	{.name = "usb", .type = KEY_UNCHECKED, .indices = 14},
	{.name = "vcpus", .type = KEY_INTEGER},
	{.name = "vga", .type = KEY_PROPERTIES, .format = &vga_format},
	{.name = "virtio", .type = KEY_UNCHECKED, .indices = 16},
	{.name = "virtiofs", .type = KEY_UNCHECKED, .indices = 10},
	{.name = "vmgenid", .type = KEY_STRING},
	{.name = "vmstate", .type = KEY_PATTERN, .pattern = VOLUME_ID},
	{.name = "vmstatestorage", .type = KEY_UNCHECKED},
	{.name = "watchdog", .type = KEY_UNCHECKED},
};

/* hostpci01 is no key, hostpci1 is. */
static bool index_fits(const char *text, unsigned int indices)
{
	unsigned long long index;

	if (text[0] == '0' && text[1] != '\0')
		return false;
	return parse_unsigned(text, 10, indices - 1, &index) == 0;
}

static bool key_is_named(const struct vm_key *key, const char *name)
{
	size_t length = strlen(key->name);

	if (strncmp(key->name, name, length) != 0)
		return false;
	return key->indices ? index_fits(name + length, key->indices) : name[length] == '\0';
}

const struct vm_key *vm_key_find(const char *name)
{
	for (size_t i = 0; i < COUNT(keys); i++) {
		if (key_is_named(&keys[i], name))
			return &keys[i];
	}
	return NULL;
}

static int check_boolean(const char *value, const char **ret_value, struct error *error)
{
	const char *normal = boolean_normalise(value);

	if (strcmp(normal, "0") != 0 && strcmp(normal, "1") != 0)
		return error_set(error, -EINVAL, "'%s' is neither yes nor no", value);
	*ret_value = normal;
	return 0;
}

static int check_integer(const char *value, const char **ret_value, struct error *error)
{
	size_t zeros = strspn(value, "0");

	if (value[strspn(value, "0123456789")] != '\0')
		return error_set(error, -EINVAL, "'%s' is no whole number", value);
	*ret_value = value[zeros] == '\0' ? "0" : value + zeros;
	return 0;
}

static int check_pattern(const char *pattern, const char *value, struct error *error)
{
	if (!pattern_matches(pattern, value))
		return error_set(error, -EINVAL, "'%s' is not of the right form", value);
	return 0;
}

/* s/^"(.*)"$/$1/ */
static const char *unquote(char *value)
{
	size_t length = strlen(value);

	if (length < 2 || value[0] != '"' || value[length - 1] != '"')
		return value;
	value[length - 1] = '\0';
	return value + 1;
}

static bool cpu_model_is_known(const char *model)
{
	if (strncmp(model, "custom-", strlen("custom-")) == 0)
		return true;
	for (const char *const *known = cpu_models; *known; known++) {
		if (strcmp(*known, model) == 0)
			return true;
	}
	return false;
}

static int check_properties(
	const struct property_format *property_format, const char *value, struct error *error)
{
	cleanup(property_set_done) struct property_set set = {0};
	int r = property_parse(property_format, value, &set, error);

	if (r < 0)
		return r;
	if (property_format == &cpu_format && !cpu_model_is_known(property_get(&set, "cputype")))
		return error_set(error, -EINVAL, "'%s' is no CPU model that Proxmox knows",
			property_get(&set, "cputype"));
	return 0;
}

static int check_hostpci(const char *value, struct error *error)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};

	return hostpci_parse(value, &hostpci, error);
}

int vm_key_check(const struct vm_key *key, char *value, const char **ret_value, struct error *error)
{
	if (strchr(value, '\r'))
		return error_set(error, -EINVAL, "the value holds a carriage return");
	*ret_value = value;
	switch (key->type) {
	case KEY_BOOLEAN:
		return check_boolean(value, ret_value, error);
	case KEY_INTEGER:
		return check_integer(value, ret_value, error);
	case KEY_NUMBER:
		return check_pattern("^[0-9]+(\\.[0-9]+)?$", value, error);
	case KEY_STRING:
		*ret_value = unquote(value);
		return 0;
	case KEY_PATTERN:
		return check_pattern(key->pattern, value, error);
	case KEY_PROPERTIES:
		return check_properties(key->format, value, error);
	case KEY_HOSTPCI:
		return check_hostpci(value, error);
	case KEY_UNCHECKED:
		break;
	}
	return 0;
}
