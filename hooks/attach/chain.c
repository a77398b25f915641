/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs the hookscript that the guest had before ours. */

#include "chain.h"

#include "attachment.h"
#include "conf/pve/container.h"
#include "conf/pve/storage.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int find_script(
	struct context *context, const char *volume, char *path, size_t size, struct error *error)
{
	cleanup(storages_done) struct storages storages = {0};
	char found[PATH_MAX];
	int r = storages_read(&context->kernel.root, &storages, error);

	if (r == 0)
		r = storages_find_snippet(&storages, volume, found, sizeof(found), error);
	if (r == 0)
		r = snippet_check(&context->kernel.root, volume, found, error);
	if (r < 0)
		return r;
	return snprintf(path, size, "/%s", found) < (int)size
		? 0
		: error_set_errno(error, -ENAMETOOLONG, "find %s", volume);
}

static int error_of_exit(const char *volume, int code, struct error *error)
{
	if (code == 0)
		return 0;
	if (code >= PROCESS_KILLED)
		return error_set(error, -ECHILD, "its own hookscript %s was killed by signal %d",
			volume, code - PROCESS_KILLED);
	return error_set(
		error, -ECHILD, "its own hookscript %s failed: exit code %d", volume, code);
}

static int run_script(struct context *context, const char *volume, unsigned int vmid,
	const char *phase, struct error *error)
{
	char path[PATH_MAX], number[16];
	const char *const command[] = {path, number, phase, NULL};
	const char *const by_shell[] = {"/bin/sh", path, number, phase, NULL};
	const struct process_options options = {.output = PROCESS_INHERITED};
	int r = find_script(context, volume, path, sizeof(path), error);

	snprintf(number, sizeof(number), "%u", vmid);
	if (r == 0)
		r = process_run(command, &options, error);
	/* a script without a "#!" line works with Proxmox, whose perl starts it by execvp(3) */
	if (r == -ENOEXEC)
		r = process_run(by_shell, &options, error);
	return r < 0 ? error_wrap(error, r, "run its own hookscript")
		     : error_of_exit(volume, r, error);
}

/* Only pre-start shows the notice: once for each start is enough. */
static void say_unknown(struct context *context, unsigned int vmid, const char *phase)
{
	bool start = strcmp(phase, "pre-start") == 0;
	const char *noun = guest_noun(&context->kernel.root, vmid);

	log_write(&context->log, start ? LOG_NOTICE : LOG_DEBUG,
		"%s %u has its own hookscript too, but this node has no record of its name, as "
		"after a migration or a clone: it is not run (set it with `%s set %u "
		"--hookscript`, then run `gpu-ferry attach` again)",
		noun, vmid, container_exists(&context->kernel.root, vmid) ? "pct" : "qm", vmid);
}

int chain_run(struct context *context, unsigned int vmid, const char *phase, struct error *error)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	const char *volume = NULL;
	int r = attachment_read(&context->kernel.root, vmid, &attachment, error);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0)
		volume = attachment_chained(&attachment);
	if (volume)
		return run_script(context, volume, vmid, phase, error);
	say_unknown(context, vmid, phase);
	return 0;
}
