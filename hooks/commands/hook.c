/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry hook`: what the hookscript calls in each phase of a VM. */

#include "commands.h"

#include "conf/pve/container.h"
#include "hooks/attach/chain.h"
#include "hooks/ferry/container_start.h"
#include "hooks/ferry/exchange.h"
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/orphan.h"
#include "hooks/ferry/outside.h"
#include "hooks/ferry/return.h"
#include "hooks/ferry/shutdown.h"
#include "hooks/ferry/vm_plan.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/loan/lock.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

struct hook_options {
	bool chain;
};

#define CHOICES_MAX 4

/* The hookscript runs this only when there is something to ferry. Messages go to the task log. */

/* Proxmox starts the VM, so it is not refused here. */
static void tell_ignored(const struct context *context, const struct vm_config *config)
{
	char text[ERROR_MESSAGE_SIZE];

	for (size_t i = 0; i < config->ignored_count; i++) {
		vm_plan_tell_ignored(&config->ignored[i], text, sizeof(text));
		log_write(&context->log, LOG_WARNING, "WARNING: %s", text);
	}
}

static void tell_notices(const struct context *context, const struct choice *choice)
{
	for (size_t i = 0; i < choice->count; i++) {
		if (choice->entries[i].notice)
			log_write(&context->log, LOG_NOTICE,
				"hostpci%u: Proxmox VE does not start the VM: %s",
				choice->entries[i].index, choice->entries[i].notice);
	}
}

/* Warns when nothing watches over the loan: systemd starts gpu-ferry-watch.path, but a chroot or a
 * container may have no systemd. */
static void tell_watch(const struct context *context)
{
	if (!has_systemd() && !lock_is_held(&context->kernel.root, WATCH_LOCK))
		log_write(&context->log, LOG_NOTICE,
			"no systemd, so nothing watches over this loan: if the start fails, run "
			"`gpu-ferry reconcile`");
}

static int resolve(
	struct context *context, unsigned int vmid, struct vm_plan *guest, struct error *error)
{
	return vm_plan_resolve(context, vmid, getenv("PVE_MIGRATED_FROM"), guest, error);
}

static int take_chosen(
	struct context *context, unsigned int vmid, struct vm_plan *guest, struct error *error)
{
	struct take_request request;
	int r = resolve(context, vmid, guest, error);

	if (r == 0)
		r = vm_plan_settings(context, vmid, guest, error);
	if (r < 0)
		return r;
	tell_ignored(context, &guest->resolved.config);
	request = vm_plan_request(guest, vmid);
	/* the VM asks for no device any more: return what an earlier start left in its loan */
	if (!request.want_count && !guest->plan.blocker_count)
		return return_loan(context, &request.owner, error);
	if (guest->plan.blocker_count)
		return take_refusal(&guest->plan, error);
	tell_notices(context, &guest->resolved.choice);
	if (vm_plan_is_for_backup(guest))
		log_write(&context->log, LOG_NOTICE,
			"VM %u is started for its backup (lock: backup): its devices go to it, "
			"and come home after the backup",
			vmid);
	r = take_run(context, &request, error);
	if (r == 0)
		tell_watch(context);
	return r;
}

/* True when no mapping has alternatives: the same devices would be chosen again, so a refused start
 * need not choose once more. */
static bool has_one_choice(const struct resolved *resolved)
{
	for (size_t i = 0; i < resolved->want_count; i++) {
		if (resolved->wants[i].alternative)
			return false;
	}
	return resolved->want_count > 0;
}

/* True when a mapping now gives another card: another VM may have taken the one that was free
 * before. */
static bool chooses_otherwise(
	struct context *context, unsigned int vmid, const struct vm_plan *before)
{
	cleanup(vm_plan_done) struct vm_plan now = {0};
	struct error ignored = {0};

	return !has_one_choice(&before->resolved) && resolve(context, vmid, &now, &ignored) == 0 &&
		!now.plan.blocker_count && !resolved_equal(&now.resolved, &before->resolved);
}

/* A taking lasts seconds, and Proxmox chooses from a mapping after it: when another VM's card has
 * become free meanwhile, that one is taken instead. */
static int pre_start(struct context *context, unsigned int vmid, struct error *error)
{
	int r = 0;

	for (unsigned int i = 0; i < CHOICES_MAX; i++) {
		cleanup(vm_plan_done) struct vm_plan guest = {0};

		r = take_chosen(context, vmid, &guest, error);
		if ((r < 0 && r != -EBUSY) || !chooses_otherwise(context, vmid, &guest))
			break;
	}
	return r;
}

static int post_start(struct context *context, unsigned int vmid, struct error *error)
{
	const struct loan_owner owner = {.kind = LOAN_OWNER_VM, .vmid = vmid};
	int r = loan_life_start(context, &owner, error);

	return r < 0 ? r : exchange_alternatives(context, vmid, error);
}

static int pre_stop(struct context *context, unsigned int vmid, struct error *error)
{
	(void)context, (void)vmid, (void)error;
	return 0;
}

/* Proxmox's `qm reboot` keeps this file until the VM starts again, which it does at once. */
static bool is_restarting(unsigned int vmid)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/qemu-server/%u.reboot", vmid);
	return access(path, F_OK) == 0;
}

static int post_stop(struct context *context, unsigned int vmid, struct error *error)
{
	const struct loan_owner owner = {.kind = LOAN_OWNER_VM, .vmid = vmid};
	cleanup(loan_done) struct loan loan = {0};
	bool is_watched = lock_is_held(&context->kernel.root, WATCH_LOCK);

	/* if that start fails, only a watch returns the devices: so a watch must be running */
	if (is_watched && is_restarting(vmid)) {
		log_write(&context->log, LOG_INFO, "VM %u starts again: its devices stay with it",
			vmid);
		return 0;
	}
	/* a shutdown ends the watch before anything else: while it runs, there is none */
	if (!is_watched && host_is_shutting_down()) {
		log_write(&context->log, LOG_NOTICE,
			"the host is shutting down: the devices of VM %u are not returned now; "
			"each driver takes its devices when the host boots",
			vmid);
		return 0;
	}
	if (loan_read(&context->kernel.root, &owner, &loan, NULL) == -ENOENT)
		return orphan_return_of_vm(context, vmid, error);
	return return_loan(context, &owner, error);
}

struct phase {
	const char *name;
	int (*run)(struct context *context, unsigned int vmid, struct error *error);
	bool chained_first; /* the VM's own hookscript runs before ours */
};

static const struct phase phases[] = {
	{"pre-start", pre_start, true},
	{"post-start", post_start, true},
	{"pre-stop", pre_stop, false},
	{"post-stop", post_stop, false},
};

static int run_chained(struct context *context, const struct hook_options *options,
	const struct phase *phase, struct error *error)
{
	return options->chain ? chain_run(context, context->vmid, phase->name, error) : 0;
}

/* A container has no devices of its own: it is only asked for when it starts. */
static int run_own(struct context *context, const struct phase *phase, struct error *error)
{
	int r = phase->run(context, context->vmid, error);

	if (r != -EISNAM)
		return r;
	*error = (struct error){0};
	return phase->run == pre_start ? container_start(context, context->vmid, error) : 0;
}

/* Runs both hookscripts, even when the first one fails. pre-start is different: when the VM's own
 * hookscript refuses the start, the VM gets no card either. */
static int run_phase(struct context *context, const struct hook_options *options,
	const struct phase *phase, struct error *error)
{
	struct error second = {0};
	int r = phase->chained_first ? run_chained(context, options, phase, error)
				     : run_own(context, phase, error);
	int later;

	if (r < 0 && phase->run == pre_start)
		return r;
	later = phase->chained_first ? run_own(context, phase, &second)
				     : run_chained(context, options, phase, &second);
	if (later == 0)
		return r;
	if (r < 0)
		log_write(&context->log, LOG_ERR, "%s", second.message);
	else
		*error = second;
	return r < 0 ? r : later;
}

static const struct phase *find_phase(const char *name)
{
	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (strcmp(name, phases[i].name) == 0)
			return &phases[i];
	}
	return NULL;
}

/* What, why, and what to do next: a line for each. */
static int tell_refusal(struct context *context, struct error *error)
{
	log_write(&context->log, LOG_ERR, "VM %u does not start: it cannot have its devices now",
		context->vmid);
	log_write(&context->log, LOG_ERR, "why: %s", error->message);
	return error_set(error, -EBUSY,
		"next: gpu-ferry plan %u shows all that is in the way, and changes nothing",
		context->vmid);
}

static int run_hook(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct hook_options *options = data;
	const struct phase *phase;
	int r;

	if (!arguments[0] || !arguments[1] || arguments[2])
		return error_set(error, USAGE, "hook takes a VMID and a phase");
	if (parse_vmid(arguments[0], &context->vmid) < 0)
		return error_set(
			error, USAGE, "'%s' is not a VMID (100 to 999999999)", arguments[0]);
	phase = find_phase(arguments[1]);
	if (!phase)
		return error_set(error, USAGE, "'%s' is not a phase", arguments[1]);
	r = context_require_live(context, error);
	if (r < 0)
		return r;
	context_catch_signals();
	r = run_phase(context, options, phase, error);
	if (r == 0)
		return 0;
	if (container_exists(&context->kernel.root, context->vmid))
		return error_wrap(error, r, "%s of container %u", phase->name, context->vmid);
	if (r == -EBUSY && phase->run == pre_start)
		return tell_refusal(context, error);
	return error_wrap(error, r, "%s of VM %u", phase->name, context->vmid);
}

#define AT(field) offsetof(struct hook_options, field)

static const struct command_option options_of_hook[] = {
	{"chain", 0, NULL, "also run the hookscript that the VM had before gpu-ferry's", AT(chain)},
	{0},
};

const struct command command_hook = {
	.name = "hook",
	.arguments = "VMID PHASE",
	.options = options_of_hook,
	.options_size = sizeof(struct hook_options),
	.example = "gpu-ferry hook 104 pre-start",
	.logs_its_error = true,
	.run = run_hook,
};
