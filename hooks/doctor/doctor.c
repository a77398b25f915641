/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads the state and the configuration that the checks share. */

#include "doctor.h"

#include "hooks/ferry/resolve.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <string.h>

static bool names_equal(const struct names *left, const struct names *right)
{
	size_t same = 0;

	while (same < left->count && same < right->count &&
		strcmp(left->names[same], right->names[same]) == 0)
		same++;
	return same == left->count && same == right->count;
}

/* False when `vms` has other values for the VM: then the line at the top is not the one that
 * counts. */
static bool settings_are_for_all(const struct doctor *doctor)
{
	cleanup(settings_done) struct settings all = {0};

	return settings_read(&doctor->context->kernel.root, 0, &all, NULL) == 0 &&
		names_equal(&all.allow, &doctor->settings.allow) &&
		all.boot_display == doctor->settings.boot_display &&
		all.windows_blacklist == doctor->settings.windows_blacklist;
}

/* Whether the settings can be read is a check of its own. When they cannot, the other checks use
 * the defaults. */
static int gather_settings(struct doctor *doctor, unsigned int vmid, struct error *error)
{
	struct error why = {0};
	int r = settings_read(&doctor->context->kernel.root, vmid, &doctor->settings, &why);

	checklist_section(&doctor->list, "GPU-FERRY");
	if (r == 0) {
		doctor->settings_are_plain = settings_are_for_all(doctor);
		check_add(&doctor->list, CHECK_PASS, "settings", "the settings can be read");
		return 0;
	}
	check_add(&doctor->list, CHECK_FAIL, "settings", "%s: no VM with a card would start",
		why.message);
	if (r == -EPERM)
		check_fix(&doctor->list,
			"chown root: /" SETTINGS_PATH " && chmod 644 /" SETTINGS_PATH);
	else
		check_fix(&doctor->list, "editor /" SETTINGS_PATH);
	return settings_parse("", SETTINGS_PATH, vmid, &doctor->settings, error);
}

/* Nobody knows then what is lent, and to whom. */
static void check_loans(struct doctor *doctor)
{
	const struct error *why = &doctor->loans.unreadable;

	if (!why->status)
		return;
	check_add(&doctor->list, CHECK_FAIL, "loans", "%s: no VM with a card would start",
		why->message);
	if (why->status == -EPROTONOSUPPORT)
		check_fix(&doctor->list, "apt install --only-upgrade gpu-ferry");
	else if (why->status == -EPERM)
		check_fix(&doctor->list,
			"chown root:root /" LOAN_FOLDER "/* && chmod go-w /" LOAN_FOLDER "/*");
	else if (why->status == -EACCES)
		check_fix(&doctor->list, "sudo gpu-ferry doctor");
	else
		check_fix(&doctor->list,
			"reboot  # there are no loans then, and each driver takes its devices");
}

/* A file that cannot be used keeps no VM from starting, and the others count all the same. */
static int gather_quirks(struct doctor *doctor, struct error *error)
{
	const struct kernel *kernel = &doctor->context->kernel;
	int r = quirks_read(&kernel->root, &doctor->quirks, error);

	for (size_t i = 0; i < doctor->quirks.problem_count; i++) {
		const struct quirk_problem *problem = &doctor->quirks.problems[i];

		check_add(&doctor->list, CHECK_WARN, "quirks", "not used as quirks: %s",
			problem->why.message);
		if (strcmp(problem->path, "/" QUIRKS_PATH) == 0)
			check_fix(&doctor->list, "apt install --reinstall gpu-ferry");
		else if (problem->why.status == -EPERM)
			check_fix(&doctor->list, "chown root: %s && chmod 644 %s", problem->path,
				problem->path);
		else
			check_fix(&doctor->list, "editor %s", problem->path);
	}
	return r < 0
		? r
		: known_quirks_find(kernel, &doctor->quirks, &doctor->host, &doctor->known, error);
}

static void gather_modules(struct doctor *doctor)
{
	doctor->has_modules = *doctor->platform.release &&
		module_files_read(&doctor->context->kernel.root, doctor->platform.release,
			&doctor->modules, NULL) == 0;
}

/* A config that cannot be read is for the VM's own checks to tell. */
static int gather_vm(struct doctor *doctor, unsigned int vmid, struct error *error)
{
	cleanup(resolved_done) struct resolved resolved = {0};
	const struct choice *choice = &resolved.choice;
	int r = 0;

	if (!vmid ||
		resolve_vm(doctor->context, vmid, NULL, &doctor->host, &doctor->loans, NULL,
			&resolved, NULL) < 0)
		return 0;
	for (size_t i = 0; i < choice->count; i++) {
		const struct alternatives *alternatives = &choice->entries[i].alternatives;

		for (size_t k = 0; k < alternatives->count; k++) {
			for (size_t n = 0; r == 0 && n < alternatives->lists[k].count; n++)
				r = names_add_once(
					&doctor->vm_functions, alternatives->lists[k].names[n]);
		}
	}
	return r < 0 ? error_set_errno(error, r, "read the devices of VM %u", vmid) : 0;
}

bool doctor_is_about(const struct doctor *doctor, const char *address)
{
	const struct names *functions = &doctor->vm_functions;

	for (size_t i = 0; i < functions->count; i++) {
		if (pci_same_card(functions->names[i], address))
			return true;
	}
	return functions->count == 0;
}

int doctor_gather(struct doctor *doctor, unsigned int vmid, struct error *error)
{
	struct context *context = doctor->context;
	int r = platform_read(&context->kernel, &doctor->platform, error);

	if (r == 0)
		r = pci_scan(&context->kernel, &doctor->host, error);
	if (r == 0)
		r = loans_read(&context->kernel.root, &doctor->loans, error);
	if (r == 0) {
		loans_mark_boot_displays(&doctor->loans, &doctor->host);
		r = modprobe_files_read(&context->kernel.root, &doctor->modprobe, error);
	}
	boot_loader_find(&context->kernel.root, &doctor->loader);
	if (r == 0)
		r = boot_command_line_read(
			&context->kernel.root, &doctor->loader, &doctor->command_line, error);
	if (r == 0)
		r = obstacles_find(context, &doctor->host, &doctor->modprobe, &doctor->command_line,
			&doctor->obstacles, error);
	if (r == 0)
		r = gather_settings(doctor, vmid, error);
	if (r == 0)
		check_loans(doctor);
	if (r == 0)
		r = gather_quirks(doctor, error);
	if (r == 0)
		r = gather_vm(doctor, vmid, error);
	if (r == 0)
		r = device_names_open(&doctor->context->kernel.root, &doctor->names, error);
	if (r == 0)
		gather_modules(doctor);
	return r;
}

void doctor_done(struct doctor *doctor)
{
	device_names_close(doctor->names);
	names_done(&doctor->vm_functions);
	module_files_done(&doctor->modules);
	obstacles_done(&doctor->obstacles);
	boot_command_line_done(&doctor->command_line);
	modprobe_files_done(&doctor->modprobe);
	known_quirks_done(&doctor->known);
	quirks_done(&doctor->quirks);
	settings_done(&doctor->settings);
	loans_done(&doctor->loans);
	pci_functions_done(&doctor->host);
	checklist_done(&doctor->list);
}
