/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What a VM's config says about its processor: `cpu`, and a `-cpu` in `args`, which QEMU uses
 * instead of all that Proxmox gives it. Source: PVE/QemuServer.pm (config_to_command) and
 * PVE/QemuServer/CPUConfig.pm (get_cpu_options) of qemu-server 9.2.6. */

#include <stdbool.h>

struct cpu_arguments {
	char *native;  /* the value of `cpu` that says the same: "host,hidden=1,flags=+pcid" */
	char *rest;    /* `args` without it; "" when nothing is left */
	char *dropped; /* options without a native form, " hypervisor=off"; "" when none */
};

/* Takes the `-cpu` out of @args and works it into @cpu (may be NULL). The Hyper-V enlightenments
 * (hv_…) are left out, because Proxmox sets them itself by the guest's type. 0, -ENOENT when @args
 * has no -cpu (or there are no args), -ENOMEM. Free with cpu_arguments_done. */
int cpu_arguments_parse(const char *args, const char *cpu, struct cpu_arguments *ret);
void cpu_arguments_done(struct cpu_arguments *arguments);

/* hidden=1 */
bool cpu_is_hidden(const char *cpu);
