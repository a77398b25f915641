/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the values of a VM's config as Proxmox does. */

#include "vm_keys.h"

#include "conf/text.h"
#include "hostpci.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* As Proxmox's check_type: a plain string is not checked, not even against its enumeration. */
enum key_type {
	KEY_BOOLEAN,
	KEY_STRING,
	KEY_FORM,
	KEY_PROPERTIES,
	KEY_HOSTPCI,
};

struct vm_key {
	const char *name;
	enum key_type type;
	bool (*fits)(const char *value);
	const struct property_format *format;
};

#define LETTERS_DIGITS TEXT_LETTERS TEXT_DIGITS

/* "+pcid;-aes". Each version of Proxmox VE knows more models and flags than the one before: they
 * are not judged. */
static bool is_cpu_flag_list(const char *text)
{
	for (;; text++) {
		size_t length;

		if (*text != '+' && *text != '-')
			return false;
		length = strspn(text + 1, LETTERS_DIGITS "._-");
		text += 1 + length;
		if (length == 0 || *text != ';')
			return length && *text == '\0';
	}
}

static const struct property_rule cpu_rules[] = {
	{.name = "cputype", .is_default = true, .required = true},
	{.name = "hidden", .type = PROPERTY_BOOLEAN},
	{.name = "hv-vendor-id", .pattern = "^[a-zA-Z0-9]{1,12}$"},
	{.name = "flags", .fits = is_cpu_flag_list},
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

static bool skip_word(const char **text, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(*text, word, length) != 0)
		return false;
	*text += length;
	return true;
}

/* "-9.2", of two numbers or more */
static bool skip_version(const char **text)
{
	const char *end = *text;
	size_t numbers = 0;

	while (*end == (numbers ? '.' : '-') && strspn(end + 1, TEXT_DIGITS)) {
		end += 1 + strspn(end + 1, TEXT_DIGITS);
		numbers++;
	}
	if (numbers < 2)
		return false;
	*text = end;
	return true;
}

/* "+pve1" */
static void skip_revision(const char **text)
{
	const char *end = *text;

	if (skip_word(&end, "+pve") && strspn(end, TEXT_DIGITS))
		*text = end + strspn(end, TEXT_DIGITS);
}

/* "q35", "pc-q35-9.2+pve1", "virt-9.2": PVE/QemuServer/Machine.pm, $machine_fmt. */
static bool is_machine_type(const char *text)
{
	if (strcmp(text, "pc") == 0 || strcmp(text, "q35") == 0)
		return true;
	if (skip_word(&text, "virt")) {
		skip_version(&text);
		skip_revision(&text);
		return *text == '\0';
	}
	if (!skip_word(&text, "pc-q35") && !skip_word(&text, "pc-i440fx") &&
		!skip_word(&text, "pc"))
		return false;
	if (!skip_version(&text))
		return false;
	skip_revision(&text);
	skip_word(&text, ".pxe");
	return *text == '\0';
}

static const struct property_rule machine_rules[] = {
	{.name = "type", .is_default = true, .fits = is_machine_type, .max_length = 40},
	{.name = "viommu", .values = viommu_types},
	{.name = "aw-bits", .type = PROPERTY_NUMBER, .minimum = 32, .maximum = 64},
	{.name = "enable-s3", .type = PROPERTY_BOOLEAN},
	{.name = "enable-s4", .type = PROPERTY_BOOLEAN},
};

const struct property_format cpu_format = {cpu_rules, COUNT(cpu_rules)};
static const struct property_format vga_format = {vga_rules, COUNT(vga_rules)};
const struct property_format agent_format = {agent_rules, COUNT(agent_rules)};
const struct property_format machine_format = {machine_rules, COUNT(machine_rules)};

/* "host.example": labels of letters, digits and dashes, no dash at either end. */
static bool is_dns_name(const char *text)
{
	for (;; text++) {
		size_t length = strspn(text, LETTERS_DIGITS "-");

		if (length == 0 || text[0] == '-' || text[length - 1] == '-')
			return false;
		text += length;
		if (*text != '.')
			return *text == '\0';
	}
}

/* "local:snippets/gpu-ferry": a storage's id, and something after the colon. */
static bool is_volume_id(const char *text)
{
	size_t length = strspn(text, LETTERS_DIGITS "_.-");

	return length >= 2 && strspn(text, TEXT_LETTERS) > 0 &&
		strspn(text + length - 1, LETTERS_DIGITS) == 1 && text[length] == ':' &&
		text[length + 1] != '\0';
}

static const struct vm_key keys[] = {
	{.name = "agent", .type = KEY_PROPERTIES, .format = &agent_format},
	{.name = "args", .type = KEY_STRING},
	{.name = "bios", .type = KEY_STRING},
	{.name = "cpu", .type = KEY_PROPERTIES, .format = &cpu_format},
	{.name = "description", .type = KEY_STRING},
	{.name = "hookscript", .type = KEY_FORM, .fits = is_volume_id},
	{.name = "lock", .type = KEY_STRING},
	{.name = "machine", .type = KEY_PROPERTIES, .format = &machine_format},
	{.name = "name", .type = KEY_FORM, .fits = is_dns_name},
	{.name = "onboot", .type = KEY_BOOLEAN},
	{.name = "ostype", .type = KEY_STRING},
	{.name = "parent", .type = KEY_FORM, .fits = is_config_id},
	{.name = "template", .type = KEY_BOOLEAN},
	{.name = "vga", .type = KEY_PROPERTIES, .format = &vga_format},
};

static const struct vm_key hostpci = {.name = "hostpci", .type = KEY_HOSTPCI};

static bool is_hostpci(const char *name)
{
	size_t length = strlen(hostpci.name);

	return strncmp(name, hostpci.name, length) == 0 &&
		!name[length + strspn(name + length, "0123456789")];
}

/* hostpci01 is no key, hostpci1 is. */
static bool index_fits(const char *text)
{
	unsigned long long index;

	if (text[0] == '0' && text[1] != '\0')
		return false;
	return parse_unsigned(text, 10, HOSTPCI_MAX - 1, &index) == 0;
}

int vm_key_find(const char *name, const struct vm_key **ret)
{
	*ret = NULL;
	if (is_hostpci(name)) {
		*ret = &hostpci;
		return index_fits(name + strlen(hostpci.name)) ? 0 : -EINVAL;
	}
	for (size_t i = 0; i < COUNT(keys); i++) {
		if (strcmp(keys[i].name, name) == 0)
			*ret = &keys[i];
	}
	return 0;
}

static int check_boolean(const char *value, const char **ret_value, struct error *error)
{
	const char *normal = boolean_normalise(value);

	if (strcmp(normal, "0") != 0 && strcmp(normal, "1") != 0)
		return error_set(error, -EINVAL, "'%s' is neither yes nor no", value);
	*ret_value = normal;
	return 0;
}

static int check_form(bool (*fits)(const char *value), const char *value, struct error *error)
{
	if (!fits(value))
		return error_set(error, -EINVAL, "'%s' does not have the right format", value);
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

static int check_properties(
	const struct property_format *property_format, const char *value, struct error *error)
{
	cleanup(property_set_done) struct property_set set = {0};

	return property_parse(property_format, value, &set, error);
}

static int check_hostpci(const char *value, struct error *error)
{
	cleanup(hostpci_done) struct hostpci parsed = {0};

	return hostpci_parse(value, &parsed, error);
}

int vm_key_check(const struct vm_key *key, char *value, const char **ret_value, struct error *error)
{
	if (strchr(value, '\r'))
		return error_set(error, -EINVAL, "the value contains a carriage return");
	*ret_value = value;
	switch (key->type) {
	case KEY_BOOLEAN:
		return check_boolean(value, ret_value, error);
	case KEY_STRING:
		*ret_value = unquote(value);
		return 0;
	case KEY_FORM:
		return check_form(key->fits, value, error);
	case KEY_PROPERTIES:
		return check_properties(key->format, value, error);
	case KEY_HOSTPCI:
		return check_hostpci(value, error);
	}
	return 0;
}
