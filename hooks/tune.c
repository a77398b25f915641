/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tune.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VENDOR "proxmox"
#define WHY_CPU                                                                                    \
	"NVIDIA's Windows driver is not to see that it runs in a VM; in Proxmox VE's own form, "   \
	"which keeps its Hyper-V settings"
#define WHY_ARGS                                                                                   \
	"-cpu replaced Proxmox VE's whole CPU line, its Hyper-V settings too; `cpu` says the same"
#define WHY_AGENT "lets the host look into the guest, once qemu-guest-agent is installed there"

/* `-cpu VALUE` inside of `args`, as a part of that text. */
struct cpu_argument {
	size_t start, length; /* of both words */
	char value[256];      /* without its quotes */
	char vendor[64];      /* hv_vendor_id; "" when it has none */
	bool is_convertible;  /* says nothing that `cpu` could not say */
};

static bool part_is_known(struct cpu_argument *argument, const char *part)
{
	static const char vendor[] = "hv_vendor_id=", other_vendor[] = "hv-vendor-id=";

	if (strcmp(part, "kvm=off") == 0)
		return true;
	if (strncmp(part, vendor, strlen(vendor)) != 0 &&
		strncmp(part, other_vendor, strlen(other_vendor)) != 0)
		return false;
	snprintf(argument->vendor, sizeof(argument->vendor), "%s", part + strlen(vendor));
	return strlen(argument->vendor) <= 12 && argument->vendor[0];
}

static void parts_read(struct cpu_argument *argument)
{
	char text[sizeof(argument->value)];
	char *rest = NULL;
	const char *part;

	strcpy(text, argument->value);
	part = strtok_r(text, ",", &rest);
	argument->is_convertible = part && strcmp(part, "host") == 0;
	while (argument->is_convertible && (part = strtok_r(NULL, ",", &rest)))
		argument->is_convertible = part_is_known(argument, part);
}

/* The first -cpu that is a word of its own. */
static const char *option_find(const char *arguments)
{
	static const char option[] = "-cpu ";
	const char *found = arguments;

	while ((found = strstr(found, option))) {
		if (found == arguments || found[-1] == ' ')
			return found;
		found++;
	}
	return NULL;
}

static bool argument_find(const char *arguments, struct cpu_argument *ret)
{
	const char *found = arguments ? option_find(arguments) : NULL;
	const char *value;
	size_t length;
	bool quoted;

	if (!found)
		return false;
	value = found + strlen("-cpu ");
	value += strspn(value, " ");
	quoted = *value == '\'' || *value == '"';
	length = quoted ? strcspn(value + 1, (char[]){*value, '\0'}) : strcspn(value, " ");
	*ret = (struct cpu_argument){.start = (size_t)(found - arguments)};
	if (length < sizeof(ret->value))
		snprintf(ret->value, sizeof(ret->value), "%.*s", (int)length, value + quoted);
	value += length + (quoted ? 1 : 0);
	value += quoted && *value ? 1 : 0;
	ret->length = (size_t)(value - found);
	parts_read(ret);
	return true;
}

/* `args` without it; NULL in *@ret when nothing is left. */
static int arguments_without(const char *arguments, const struct cpu_argument *cpu, char **ret)
{
	auto_free char *left = strndup(arguments, cpu->start);
	auto_free char *right = strdup(arguments + cpu->start + cpu->length);
	const char *first = left ? text_trim(left) : "";
	const char *second = right ? text_trim(right) : "";

	if (!left || !right)
		return -ENOMEM;
	*ret = NULL;
	if (!*first && !*second)
		return 0;
	if (asprintf(ret, "%s%s%s", first, *first && *second ? " " : "", second) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* The value of `cpu` with @part appended, unless it has one of that @key. */
static int append_part(char **cpu, const char *key, const char *part)
{
	auto_free char *copy = strdup(*cpu);
	char *rest = NULL;
	char *grown = NULL;

	for (char *word = copy ? strtok_r(copy, ",", &rest) : NULL; word;
		word = strtok_r(NULL, ",", &rest)) {
		if (strncmp(word, key, strlen(key)) == 0)
			return 0;
	}
	if (!copy || asprintf(&grown, "%s,%s", *cpu, part) < 0)
		return -ENOMEM;
	free(*cpu);
	*cpu = grown;
	return 0;
}

/* hidden=0, as somebody wanted it */
static bool cpu_is_seen(const char *cpu)
{
	return cpu && strstr(cpu, "hidden=0");
}

static int cpu_change(
	const struct guest_config *config, const char *vendor, struct changes *changes)
{
	const char *before = changes_get(changes, config, "cpu");
	auto_free char *cpu = strdup(before ? before : "host");
	char part[96];
	int r = cpu ? 0 : -ENOMEM;

	if (r == 0)
		r = append_part(&cpu, "hidden=", "hidden=1");
	snprintf(part, sizeof(part), "hv-vendor-id=%s", vendor);
	if (r == 0)
		r = append_part(&cpu, "hv-vendor-id=", part);
	return r < 0 ? r : changes_add(changes, config, "cpu", cpu, WHY_CPU);
}

static int cpu_note(const struct guest_config *config, struct changes *changes)
{
	const char *cpu = changes_get(changes, config, "cpu");

	if (cpu_is_seen(cpu))
		return changes_note(changes, "cpu says hidden=0, on purpose: left alone");
	if (cpu && strncmp(cpu, "host", 4) != 0 && strncmp(cpu, "cputype=host", 12) != 0)
		return changes_note(changes,
			"cpu is of the type %.*s: left alone (host gives the guest all that this "
			"CPU can do)",
			(int)strcspn(cpu, ","), cpu);
	return 0;
}

static int arguments_change(
	const struct guest_config *config, const struct cpu_argument *cpu, struct changes *changes)
{
	auto_free char *rest = NULL;
	int r = arguments_without(guest_config_get(config, "args"), cpu, &rest);

	return r < 0 ? r : changes_add(changes, config, "args", rest, WHY_ARGS);
}

static int tune_cpu(const struct guest_config *config, struct changes *changes)
{
	struct cpu_argument argument = {0};
	bool found = argument_find(guest_config_get(config, "args"), &argument);
	int r = 0;

	if (found && !argument.is_convertible)
		return changes_note(changes,
			"args has a -cpu of its own (%s): left alone, and `cpu` is not used as long "
			"as it stands there",
			argument.value);
	if (!found && !vm_config_is_windows(&config->now))
		return 0;
	if (!cpu_is_seen(guest_config_get(config, "cpu")))
		r = cpu_change(config, argument.vendor[0] ? argument.vendor : VENDOR, changes);
	if (r == 0)
		r = cpu_note(config, changes);
	return r < 0 || !found ? r : arguments_change(config, &argument, changes);
}

int tune_add(const struct guest_config *config, struct changes *changes)
{
	int r = tune_cpu(config, changes);

	if (r == 0 && !guest_config_get(config, "agent"))
		r = changes_add(changes, config, "agent", "1", WHY_AGENT);
	return r;
}

static int advise_machine(const struct guest_config *config, struct changes *changes)
{
	if (guest_config_is_q35(changes_get(changes, config, "machine")))
		return 0;
	return changes_note(changes,
		"the machine is not q35, so the guest sees the card on PCI, not on PCIe; --machine "
		"q35 changes that, but an installed guest may then rename its network interfaces, or "
		"not boot");
}

static int advise_bios(const struct guest_config *config, struct changes *changes)
{
	const char *bios = changes_get(changes, config, "bios");

	if (!bios || strcmp(bios, "ovmf") != 0)
		return changes_note(changes,
			"the bios is SeaBIOS; UEFI (--bios ovmf) suits GPUs better, but a guest that "
			"was installed without it does not boot then");
	if (guest_config_get(config, "efidisk0"))
		return 0;
	return changes_note(changes,
		"ovmf forgets its settings without an EFI disk: qm set %u --efidisk0 "
		"STORAGE:1,efitype=4m",
		config->vmid);
}

static int advise_type(const struct guest_config *config, struct changes *changes)
{
	const char *type = guest_config_get(config, "ostype");

	if (type && strcmp(type, "other") != 0)
		return 0;
	return changes_note(changes,
		"ostype is not set: it tells Windows guests (win11, …) from Linux ones (l26)");
}

int tune_advise(const struct guest_config *config, struct changes *changes)
{
	int r = advise_machine(config, changes);

	if (r == 0)
		r = advise_bios(config, changes);
	return r < 0 ? r : advise_type(config, changes);
}
