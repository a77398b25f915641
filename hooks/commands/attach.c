/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry attach`: gives devices to a VM by changing its config. */

#include "commands.h"

#include "hooks/attach/attach.h"
#include "kmod-helper/base/parse.h"
#include <string.h>

static int check_options(const struct context *context, struct error *error)
{
	if (context->machine && strcmp(context->machine, "q35") != 0)
		return error_set(error, USAGE, "--machine is q35, not '%s'", context->machine);
	if (context->bios && strcmp(context->bios, "ovmf") != 0)
		return error_set(error, USAGE, "--bios is ovmf, not '%s'", context->bios);
	return 0;
}

int command_attach(struct context *context, char **arguments, struct error *error)
{
	unsigned int vmid;
	int r;

	if (!arguments[0] || !arguments[1])
		return error_set(error, USAGE, "attach takes a VMID and a DEVICE");
	if (parse_vmid(arguments[0], &vmid) < 0)
		return error_set(error, USAGE, "'%s' is no VMID (100 to 999999999)", arguments[0]);
	r = check_options(context, error);
	if (r == 0 && !context->dry_run)
		r = context_require_live(context, error);
	if (r < 0)
		return r;
	/* qm is not left alone half-way: what is begun is read back and recorded */
	context_catch_signals();
	r = attach_guest(context, vmid, arguments + 1, error);
	return r < 0 ? error_wrap(error, r, "attach to VM %u", vmid) : 0;
}
