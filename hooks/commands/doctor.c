/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry doctor`: runs all checks and prints what they found. */

#include "commands.h"

#include "hooks/base/output.h"
#include "hooks/doctor/doctor.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"

static void check_all(struct doctor *doctor, unsigned int vmid)
{
	doctor_check_snippet(doctor);
	doctor_check_watch(doctor);
	doctor_check_firmware(doctor);
	doctor_check_boot(doctor);
	doctor_check_modules(doctor);
	doctor_check_cards(doctor);
	doctor_check_guests(doctor, vmid);
	if (vmid)
		doctor_check_vm(doctor, vmid);
}

/* The list already shows what is wrong: the error is only for the exit code. */
static int error_of_failures(const struct checklist *list, struct error *error)
{
	size_t failures = checklist_count(list, CHECK_FAIL);

	return failures
		? error_set(error, -EBUSY, "%zu of %zu checks failed", failures, list->count)
		: 0;
}

static int run_doctor(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	cleanup(doctor_done) struct doctor doctor = {.context = context};
	unsigned int vmid = 0;
	int r;

	(void)data;
	if (arguments[0] && arguments[1])
		return error_set(error, USAGE, "doctor takes one VMID");
	if (arguments[0] && parse_vmid(arguments[0], &vmid) < 0)
		return error_set(
			error, USAGE, "'%s' is not a VMID (100 to 999999999)", arguments[0]);
	r = doctor_gather(&doctor, vmid, error);
	if (r < 0)
		return error_wrap(error, r, "check the host");
	check_all(&doctor, vmid);
	r = checklist_print(&doctor.list, context, error);
	if (r == 0 && vmid && !checklist_count(&doctor.list, CHECK_FAIL))
		output_next(context, "gpu-ferry plan %u", vmid);
	return r < 0 ? r : error_of_failures(&doctor.list, error);
}

const struct command command_doctor = {
	.name = "doctor",
	.arguments = "[VMID]",
	.example = "gpu-ferry doctor 104",
	.run = run_doctor,
};
