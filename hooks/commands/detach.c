/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry detach`: takes back what attach did. */

#include "commands.h"

#include "conf/pve/container.h"
#include "hooks/attach/attach.h"
#include "kmod-helper/base/parse.h"

struct detach_options {
	bool all;
	bool dry_run;
};

static int detach_every(struct context *context, bool apply, struct error *error)
{
	size_t count = 0;
	int r = detach_all(context, apply, &count, error);

	if (r < 0)
		return error_wrap(error, r, "detach");
	if (!count && context->output == OUTPUT_TEXT)
		log_write(&context->log, LOG_INFO, "no VM or container is attached on this node");
	return 0;
}

static int run_detach(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct detach_options *options = data;
	unsigned int vmid = 0;
	int r;

	if (options->all ? arguments[0] != NULL : !arguments[0] || arguments[1])
		return error_set(error, USAGE, "detach takes one VMID, or --all");
	if (!options->all && parse_vmid(arguments[0], &vmid) < 0)
		return error_set(
			error, USAGE, "'%s' is not a VMID (100 to 999999999)", arguments[0]);
	r = options->dry_run ? 0 : context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	if (options->all)
		return detach_every(context, !options->dry_run, error);
	r = detach_guest(context, !options->dry_run, vmid, error);
	return r < 0 ? error_wrap(error, r, "detach %s %u", guest_noun(&context->kernel.root, vmid),
			       vmid)
		     : 0;
}

#define AT(field) offsetof(struct detach_options, field)

static const struct command_option options_of_detach[] = {
	{"all", 0, NULL, "detach every VM and container that was attached on this node", AT(all)},
	{"dry-run", 0, NULL, "show what would be done, and change nothing", AT(dry_run)},
	{0},
};

const struct command command_detach = {
	.name = "detach",
	.arguments = "VMID|--all",
	.options = options_of_detach,
	.options_size = sizeof(struct detach_options),
	.example = "gpu-ferry detach 104 --dry-run",
	.run = run_detach,
};
