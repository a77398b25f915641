/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The program that `qm set --hookscript` names. Proxmox runs it at every start and stop of the VM,
 * so it is small: libc and the VM config reader. It ends at once when there is nothing to ferry;
 * otherwise it runs `gpu-ferry hook VMID PHASE`, which does the work. */

#include "conf/pve/cluster.h"
#include "conf/pve/vm_config.h"
#include "hooks/base/sibling.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum phase {
	PRE_START,
	POST_START,
	PRE_STOP,
	POST_STOP,
	PHASE_COUNT,
};

static const char *const phase_names[PHASE_COUNT] = {
	"pre-start", "post-start", "pre-stop", "post-stop"};

#define EXIT_USAGE 2

static int parse_arguments(int count, char **arguments, unsigned int *ret_vmid,
	enum phase *ret_phase, struct error *error)
{
	if (count != 3)
		return error_set(error, -EINVAL,
			"usage: hookscript VMID PHASE (as Proxmox VE calls it; see gpu-ferry(8))");
	if (parse_vmid(arguments[1], ret_vmid) < 0)
		return error_set(
			error, -EINVAL, "'%s' is not a VMID (100 to 999999999)", arguments[1]);
	for (unsigned int i = 0; i < PHASE_COUNT; i++) {
		if (strcmp(arguments[2], phase_names[i]) == 0) {
			*ret_phase = (enum phase)i;
			return 0;
		}
	}
	return error_set(error, -EINVAL,
		"'%s' is not a phase (pre-start, post-start, pre-stop or post-stop)", arguments[2]);
}

static int fail(int status, struct error *error)
{
	text_make_line(error->message);
	fprintf(stderr, "gpu-ferry: %s\n", error->message);
	return status;
}

static bool has_loan(unsigned int vmid)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/run/gpu-ferry/loans/vm-%u.json", vmid);
	/* when we cannot look, gpu-ferry has to decide */
	return access(path, F_OK) == 0 || errno != ENOENT;
}

/* 1 when the VM has a hostpci entry, be it one that Proxmox ignores, and is not a template, 0 when
 * not, or -errno. */
static int wants_devices(unsigned int vmid, struct error *error)
{
	cleanup(root_close) struct root root = ROOT_NONE;
	cleanup(vm_config_done) struct vm_config config = {0};
	const struct vm_config_read_options options = {
		.vmid = vmid,
		.migrated_from = getenv("PVE_MIGRATED_FROM"),
		.deadline_ms = CLUSTER_DEADLINE_MS,
	};
	int r = root_open("/", &root, error);

	if (r == 0)
		r = vm_config_read(&root, &options, &config, error);
	if (r < 0)
		return r;
	return (vm_config_has_hostpci(&config) || config.ignored_count) &&
		!vm_config_is_template(&config);
}

/* True when Proxmox calls us by our second name: `attach` writes that name when the VM's config has
 * a hookscript already. */
static bool is_chained(const char *name)
{
	const char *slash = strrchr(name, '/');

	return strcmp(slash ? slash + 1 : name, "gpu-ferry-chain") == 0;
}

/* True when the VM's devices were returned since its start: lock_mark of kmod-helper/loan/lock.h.
 */
static bool was_returned(unsigned int vmid)
{
	struct stat status;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/run/gpu-ferry/locks/vm-%u", vmid);
	return stat(path, &status) == 0 && status.st_mtime != 0;
}

/* The phases after pre-start look at the loan, because the config may have changed since then. Only
 * a loan that was deleted makes post-stop read the config. */
static int is_needed(unsigned int vmid, enum phase phase, struct error *error)
{
	if (phase == PRE_STOP)
		return 0;
	if (has_loan(vmid))
		return 1;
	if (phase == POST_STOP)
		return !was_returned(vmid) && wants_devices(vmid, error) > 0;
	return phase == PRE_START ? wants_devices(vmid, error) : 0;
}

/* Tries the installed program first: a copy of us on a storage may be beside other copies, and one
 * of those has gpu-ferry's name. */
static void find_program(char *path, size_t size)
{
	static const char installed[] = SBINDIR "/gpu-ferry";

	if (access(installed, X_OK) == 0)
		snprintf(path, size, "%s", installed);
	else
		sibling_find("hookscript", LIBEXECDIR, "gpu-ferry", installed, path, size);
}

int main(int count, char **arguments)
{
	struct error error = {0};
	unsigned int vmid = 0;
	enum phase phase = PRE_START;
	char program[PATH_MAX];
	char chain[] = "--chain";
	char *option = NULL;
	int r;

	if (parse_arguments(count, arguments, &vmid, &phase, &error) < 0)
		return fail(EXIT_USAGE, &error);
	if (is_chained(arguments[0]))
		option = chain;
	r = is_needed(vmid, phase, &error);
	/* a container has no loan: it is only asked whether its cards are at home when it starts */
	if (r == -EISNAM)
		r = phase == PRE_START;
	if (r < 0) {
		error_wrap(&error, r, "%s of VM %u", phase_names[phase], vmid);
		return fail(EXIT_FAILURE, &error);
	}
	if (r == 0 && !option)
		return EXIT_SUCCESS;
	find_program(program, sizeof(program));
	execv(program,
		(char *const[]){(char[]){"gpu-ferry"}, (char[]){"hook"}, arguments[1], arguments[2],
			option, NULL});
	error_set_errno(&error, -errno, "run %s", program);
	return fail(EXIT_FAILURE, &error);
}
