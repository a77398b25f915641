/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks a VM's hookscript and the storage that it is on. */

#include "patient.h"

#include "conf/pve/storage.h"
#include "hooks/attach/attachment.h"
#include "hooks/attach/snippet.h"
#include "hooks/attach/snippet_file.h"
#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

static void explain_snippet(
	struct doctor *doctor, const char *id, const char *volume, const char *path, int status)
{
	struct checklist *list = &doctor->list;

	switch (status) {
	case 0:
		check_add(list, CHECK_PASS, id, "%s is there, executable, and this version's",
			volume);
		break;
	case -EACCES:
		check_add(list, CHECK_FAIL, id,
			"%s is not executable (/%s): Proxmox VE does not start a VM that has it",
			volume, path);
		check_fix(list, "chmod 755 /%s", path);
		break;
	case -ESTALE:
		check_add(list, CHECK_FAIL, id, "%s is not this version's (/%s)", volume, path);
		if (strncmp(volume, "local:", strlen("local:")) == 0)
			check_fix(list, "apt install --reinstall gpu-ferry");
		else
			check_fix(list, "cp " LIBEXECDIR "/hookscript /%s", path);
		break;
	default:
		check_add(list, CHECK_FAIL, id,
			"%s does not exist (/%s): Proxmox VE does not start a VM that has it",
			volume, path);
		check_fix(list, "apt install --reinstall gpu-ferry");
	}
}

/* Checks that Proxmox would run @volume, and that it is this version's. */
static void check_snippet(struct doctor *doctor, const char *id, const char *volume)
{
	cleanup(storages_done) struct storages storages = {0};
	struct error error = {0};
	char path[PATH_MAX];
	int r = storages_read(&doctor->context->kernel.root, &storages, &error);

	if (r < 0) {
		check_add(&doctor->list, CHECK_SKIP, id, "%s%s", error.message,
			r == -EACCES ? ": run doctor as root" : "");
		return;
	}
	r = storages_find_snippet(&storages, volume, path, sizeof(path), &error);
	if (r < 0) {
		check_add(&doctor->list, CHECK_FAIL, id, "%s", error.message);
		check_fix(&doctor->list, "pvesm status --content snippets");
		return;
	}
	r = snippet_check_ours(doctor->context, &storages, volume, &error);
	explain_snippet(doctor, id, volume, path, r);
}

/* Only the node where attach ran has the record of which hookscript runs with ours. */
static void check_chain(struct patient *patient)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	struct error error = {0};
	int r = attachment_read(
		&patient->doctor->context->kernel.root, patient->vmid, &attachment, &error);

	if (r == -EACCES) {
		check_add(patient->list, CHECK_SKIP, "vm_chain",
			"only root can see which hookscript runs together with gpu-ferry's");
	} else if (r == 0 && attachment_chained(&attachment)) {
		check_add(patient->list, CHECK_PASS, "vm_chain", "the hookscript %s runs with it",
			attachment_chained(&attachment));
	} else {
		check_add(patient->list, CHECK_FAIL, "vm_chain",
			"another hookscript should run together with gpu-ferry's, and this node "
			"has no record of its name%s%s",
			r < 0 && r != -ENOENT ? ": " : "",
			r < 0 && r != -ENOENT ? error.message : "");
		check_fix(patient->list,
			"qm set %u --hookscript VOLUME && gpu-ferry attach %u %s  # VOLUME: the other "
			"one",
			patient->vmid, patient->vmid, patient_device(patient));
	}
}

void patient_check_hookscript(struct patient *patient)
{
	const char *hookscript = vm_config_get(patient->config, "hookscript");

	if (!hookscript) {
		check_add(patient->list, CHECK_FAIL, "vm_hookscript",
			"it has no hookscript: gpu-ferry does nothing for it");
		if (patient->guest.resolved.choice.count)
			check_fix(patient->list, "qm set %u --hookscript " SNIPPET_PLAIN,
				patient->vmid);
		else
			patient_fix_attach(patient);
		return;
	}
	if (!snippet_is_ours(hookscript)) {
		check_add(patient->list, CHECK_FAIL, "vm_hookscript",
			"its hookscript is %s: gpu-ferry does nothing for it", hookscript);
		patient_fix_attach(patient);
		return;
	}
	check_add(patient->list, CHECK_PASS, "vm_hookscript", "it has the hookscript (%s)",
		hookscript);
	check_snippet(patient->doctor, "vm_snippet", hookscript);
	if (snippet_is_chain(hookscript))
		check_chain(patient);
}

static bool has_path(const struct doctor *doctor, const char *path)
{
	auto_close int fd = file_open(&doctor->context->kernel.root, path, O_PATH | O_NOFOLLOW);

	return fd >= 0;
}

/* Only a node of Proxmox VE has something to watch. */
void doctor_check_watch(struct doctor *doctor)
{
	if (!has_path(doctor, "etc/pve"))
		return;
	if (has_path(doctor, "etc/systemd/system/multi-user.target.wants/gpu-ferry-watch.path")) {
		check_add(&doctor->list, CHECK_PASS, "watch",
			"gpu-ferry-watch.path is enabled: a card comes home also when Proxmox VE "
			"does not call the hookscript");
		return;
	}
	check_add(&doctor->list, CHECK_WARN, "watch",
		"gpu-ferry-watch.path is not enabled: the card of a VM that crashes stays on "
		"vfio-pci");
	check_fix(&doctor->list,
		"systemctl unmask gpu-ferry-watch.path && systemctl enable --now "
		"gpu-ferry-watch.path");
}

void doctor_check_snippet(struct doctor *doctor)
{
	if (!has_path(doctor, "etc/pve"))
		check_add(&doctor->list, CHECK_SKIP, "snippet",
			"there is no /etc/pve: this is not a Proxmox VE host, or the tree is "
			"incomplete");
	else
		check_snippet(doctor, "snippet", SNIPPET_PLAIN);
}
