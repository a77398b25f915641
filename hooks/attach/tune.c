/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Plans the settings that a guest with a GPU wants: processor, agent, firmware. */

#include "tune.h"

#include "conf/pve/vm_cpu.h"
#include "conf/pve/vm_windows.h"
#include "kmod-helper/base/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VENDOR "proxmox"
#define WHY_CPU                                                                                    \
	"hides from NVIDIA's Windows driver that it runs in a VM; set by `cpu`, which keeps "      \
	"Proxmox VE's Hyper-V settings"
#define WHY_MOVED "the same as -cpu in args, written as Proxmox VE does it"
#define WHY_ARGS                                                                                   \
	"-cpu replaced all CPU settings of Proxmox VE, Hyper-V included; `cpu` now does the same"
#define WHY_AGENT "lets the host ask the guest, once qemu-guest-agent is installed there"

/* Appends @part to the value of `cpu`, unless it already has a part with that @key. */
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

/* True when somebody has set hidden=0. */
static bool cpu_is_seen(const char *cpu)
{
	return cpu && strstr(cpu, "hidden=0");
}

/* Adds what hides the VM from NVIDIA's Windows driver. */
static int cpu_hide(char **cpu)
{
	int r = append_part(cpu, "hidden=", "hidden=1");

	return r < 0 ? r : append_part(cpu, "hv-vendor-id=", "hv-vendor-id=" VENDOR);
}

static int cpu_note(const struct guest_config *config, struct changes *changes)
{
	const char *cpu = changes_get(changes, config, "cpu");

	if (cpu_is_seen(cpu))
		return changes_note(changes, "cpu has hidden=0, set on purpose: not changed");
	if (cpu && strncmp(cpu, "host", 4) != 0 && strncmp(cpu, "cputype=host", 12) != 0)
		return changes_note(changes,
			"cpu has the type %.*s: not changed (the type host gives the guest all "
			"features of this CPU)",
			(int)strcspn(cpu, ","), cpu);
	return 0;
}

/* Sets `cpu` to @native. For a Windows guest with a card of NVIDIA's it also hides the VM, unless
 * @native says hidden=0. */
static int cpu_change(
	const struct guest_config *config, const char *native, bool nvidia, struct changes *changes)
{
	auto_free char *cpu = strdup(native);
	bool hide = nvidia && vm_config_is_windows(&config->now) && !cpu_is_seen(cpu);
	int r = cpu ? 0 : -ENOMEM;

	if (r == 0 && hide)
		r = cpu_hide(&cpu);
	if (r == 0)
		r = changes_add(changes, config, "cpu", cpu, hide ? WHY_CPU : WHY_MOVED);
	return r < 0 ? r : cpu_note(config, changes);
}

/* Moves a -cpu from `args` to `cpu`, when `cpu` can say the same. */
static int arguments_change(const struct guest_config *config, const struct cpu_arguments *found,
	bool nvidia, struct changes *changes)
{
	int r;

	if (*found->dropped)
		return changes_note(changes,
			"args has its own -cpu, with parts that `cpu` cannot express (%s): not "
			"changed; while it is there, `cpu` has no effect",
			found->dropped);
	r = cpu_change(config, found->native, nvidia, changes);
	return r < 0
		? r
		: changes_add(changes, config, "args", *found->rest ? found->rest : NULL, WHY_ARGS);
}

static int tune_cpu(const struct guest_config *config, bool nvidia, struct changes *changes)
{
	const char *cpu = guest_config_get(config, "cpu");
	cleanup(cpu_arguments_done) struct cpu_arguments found = {0};
	int r = cpu_arguments_parse(guest_config_get(config, "args"), cpu, &found);

	if (r == 0)
		return arguments_change(config, &found, nvidia, changes);
	if (r != -ENOENT)
		return r;
	return nvidia && vm_config_is_windows(&config->now)
		? cpu_change(config, cpu ? cpu : "host", nvidia, changes)
		: 0;
}

int tune_add(const struct guest_config *config, bool nvidia, struct changes *changes)
{
	int r = tune_cpu(config, nvidia, changes);

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
			"the bios is SeaBIOS; UEFI (--bios ovmf) suits GPUs better, but a guest "
			"that was installed without UEFI then does not boot");
	if (guest_config_get(config, "efidisk0"))
		return 0;
	return changes_note(changes,
		"ovmf forgets its settings without an EFI disk: qm set %u --efidisk0 "
		"STORAGE:1,efitype=4m",
		config->vmid);
}

static int advise_type(const struct guest_config *config, struct changes *changes)
{
	const char *type = guest_config_get(config, "ostype"), *windows;
	const char *sign = vm_config_sign_of_windows(&config->now, &windows);

	if (sign)
		return changes_note(changes,
			"ostype is %s, and %s: a Windows guest needs a Windows ostype: qm set %u "
			"--ostype %s",
			vm_config_ostype(&config->now), sign, config->vmid, windows);
	if (type && strcmp(type, "other") != 0)
		return 0;
	return changes_note(changes,
		"ostype is not set: set it to show whether the guest is Windows (win11, …) or "
		"Linux (l26)");
}

int tune_advise(const struct guest_config *config, struct changes *changes)
{
	int r = advise_machine(config, changes);

	if (r == 0)
		r = advise_bios(config, changes);
	return r < 0 ? r : advise_type(config, changes);
}
