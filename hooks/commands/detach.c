/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry detach`: takes back what attach did. */

#include "commands.h"

#include "hooks/attach/attach.h"
#include "kmod-helper/base/parse.h"

static int detach_every(struct context *context, struct error *error)
{
	size_t count = 0;
	int r = detach_all(context, &count, error);

	if (r < 0)
		return error_wrap(error, r, "detach");
	if (!count && context->output == OUTPUT_TEXT)
		log_write(&context->log, LOG_INFO, "no VM is attached on this node");
	return 0;
}

int command_detach(struct context *context, char **arguments, struct error *error)
{
	unsigned int vmid = 0;
	int r;

	if (context->all ? arguments[0] != NULL : !arguments[0] || arguments[1])
		return error_set(error, USAGE, "detach takes one VMID, or --all");
	if (!context->all && parse_vmid(arguments[0], &vmid) < 0)
		return error_set(error, USAGE, "'%s' is no VMID (100 to 999999999)", arguments[0]);
	r = context->dry_run ? 0 : context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	if (context->all)
		return detach_every(context, error);
	r = detach_guest(context, vmid, error);
	return r < 0 ? error_wrap(error, r, "detach VM %u", vmid) : 0;
}
