/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry attach`: gives devices to a VM or a container by changing its config. */

#include "commands.h"

#include "conf/pve/container.h"
#include "hooks/attach/attach.h"
#include "kmod-helper/base/parse.h"
#include <string.h>

static int check_options(const struct attach_options *options, struct error *error)
{
	if (options->machine && strcmp(options->machine, "q35") != 0)
		return error_set(error, USAGE, "--machine is q35, not '%s'", options->machine);
	if (options->bios && strcmp(options->bios, "ovmf") != 0)
		return error_set(error, USAGE, "--bios is ovmf, not '%s'", options->bios);
	return 0;
}

static int run_attach(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct attach_options *options = data;
	unsigned int vmid;
	int r;

	if (!arguments[0] || !arguments[1])
		return error_set(error, USAGE, "attach takes a VMID and a DEVICE");
	if (parse_vmid(arguments[0], &vmid) < 0)
		return error_set(
			error, USAGE, "'%s' is not a VMID (100 to 999999999)", arguments[0]);
	r = check_options(options, error);
	if (r == 0 && !options->dry_run)
		r = context_require_live(context, error);
	if (r < 0)
		return r;
	/* a signal must not end us while qm works: we still read back and record what it did */
	context_catch_signals();
	r = attach_guest(context, options, vmid, arguments + 1, error);
	return r < 0 ? error_wrap(error, r, "attach to %s %u",
			       guest_noun(&context->kernel.root, vmid), vmid)
		     : 0;
}

#define AT(field) offsetof(struct attach_options, field)

static const struct command_option options_of_attach[] = {
	{"tune", 0, NULL, "set cpu, args and agent too, as NVIDIA's Windows driver may need",
		AT(tune)},
	{"primary-gpu", 0, NULL, "make the first device the guest's primary display (x-vga=1)",
		AT(primary_gpu)},
	{"machine", 0, "q35",
		"set the VM's machine, which is otherwise only advised: an installed guest may "
		"then rename its network interfaces, or not boot",
		AT(machine)},
	{"bios", 0, "ovmf",
		"set the VM's bios, which is otherwise only advised: an installed guest may then "
		"not boot",
		AT(bios)},
	{"enable-snippets", 0, NULL, "let the web page list the hookscript (pvesm set local)",
		AT(enable_snippets)},
	{"dry-run", 0, NULL, "show what would be done, and change nothing", AT(dry_run)},
	{0},
};

const struct command command_attach = {
	.name = "attach",
	.arguments = "VMID DEVICE…",
	.options = options_of_attach,
	.options_size = sizeof(struct attach_options),
	.example = "gpu-ferry attach 104 2b:00 --dry-run",
	.run = run_attach,
};
