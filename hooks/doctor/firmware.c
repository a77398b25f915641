/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Checks the processor and the firmware: virtualization and the IOMMU. */

#include "doctor.h"

#include "conf/host/kernel_arguments.h"
#include "hooks/host/setup.h"

/* What the switches are called in the firmware's set-up. */
static const char *virtualisation_switch(enum processor_maker maker)
{
	return maker == PROCESSOR_AMD ? "\"SVM Mode\""
				      : "\"Intel Virtualization Technology\" (VT-x, VMX)";
}

static const char *iommu_switch(enum processor_maker maker)
{
	switch (maker) {
	case PROCESSOR_AMD:
		return "\"IOMMU\" (often below AMD CBS, NBIO; Enabled, not Auto)";
	case PROCESSOR_INTEL:
		return "\"VT-d\" (Intel Virtualization Technology for Directed I/O)";
	case PROCESSOR_OTHER:
		break;
	}
	return "the IOMMU (AMD: \"IOMMU\", Intel: \"VT-d\")";
}

const char *firmware_command(const struct doctor *doctor)
{
	return doctor->loader.efi ? "systemctl reboot --firmware-setup" : "reboot";
}

static void fix_firmware(struct doctor *doctor, const char *which)
{
	if (doctor->platform.guest)
		check_fix(&doctor->list,
			"qm set VMID --cpu host --machine q35,viommu=intel  # on this VM's own "
			"host, then stop and start it");
	else
		check_fix(&doctor->list, "%s  # in the firmware's set-up switch on %s",
			firmware_command(doctor), which);
}

static const char *flag_name(enum processor_maker maker)
{
	return maker == PROCESSOR_AMD ? "svm" : "vmx";
}

/* The flag alone does not prove much: kernels before 6.7 show svm even when the firmware has locked
 * it. */
static void check_kvm(struct doctor *doctor)
{
	enum processor_maker maker = doctor->platform.maker;

	if (doctor->platform.kvm) {
		check_add(&doctor->list, CHECK_PASS, "cpu_virtualisation",
			"virtualisation is on (%s), and KVM runs", flag_name(maker));
		return;
	}
	check_add(&doctor->list, CHECK_WARN, "cpu_virtualisation",
		"the processor has %s, but KVM does not run: its module is not loaded, or the "
		"firmware has %s off",
		flag_name(maker), virtualisation_switch(maker));
	check_fix(&doctor->list, "modprobe %s  # if it says \"Operation not supported\": %s",
		maker == PROCESSOR_AMD ? "kvm_amd" : "kvm_intel", firmware_command(doctor));
}

static void check_virtualisation(struct doctor *doctor)
{
	const struct platform *platform = &doctor->platform;

	if (!platform->is_x86) {
		check_add(&doctor->list, CHECK_SKIP, "cpu_virtualisation",
			"/proc/cpuinfo shows no x86 processor: it is unknown whether it supports "
			"virtualisation");
	} else if (!platform->virtualisation) {
		check_add(&doctor->list, CHECK_FAIL, "cpu_virtualisation",
			"the processor (%s) shows no %s: virtualisation is off in the firmware",
			processor_maker_name(platform->maker), flag_name(platform->maker));
		fix_firmware(doctor, virtualisation_switch(platform->maker));
	} else {
		check_kvm(doctor);
	}
	if (platform->guest)
		check_add(&doctor->list, CHECK_INFO, "nested",
			"this host is itself a VM: it can only use what its own host provides");
}

/* The argument that told this kernel to leave the IOMMU off; NULL: none. */
static const char *off_argument(const struct doctor *doctor)
{
	static const char *const arguments[] = {"intel_iommu=off", "amd_iommu=off", "iommu=off"};

	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		if (names_have(&doctor->command_line.running, arguments[i]))
			return arguments[i];
	}
	return NULL;
}

static void explain_off_argument(struct doctor *doctor, const char *argument)
{
	check_add(&doctor->list, CHECK_FAIL, "iommu",
		"the IOMMU is off: the kernel was started with %s", argument);
	fix_boot_argument(doctor, argument);
}

static void explain_missing_argument(struct doctor *doctor, const char *argument)
{
	bool pending = boot_is_pending(doctor, argument);

	check_add(&doctor->list, CHECK_FAIL, "iommu",
		"the IOMMU is off: the firmware offers it (ACPI table %s), and this kernel was "
		"started without %s%s",
		iommu_table_name(doctor->platform.maker), argument,
		pending ? ", which is set: reboot pending" : "");
	if (pending)
		check_fix(&doctor->list, "reboot");
	else
		fix_missing_argument(doctor, argument);
}

static void explain_firmware(struct doctor *doctor, const char *why)
{
	check_add(&doctor->list, CHECK_FAIL, "iommu", "%s", why);
	fix_firmware(doctor, iommu_switch(doctor->platform.maker));
}

static void explain_nothing(struct doctor *doctor)
{
	check_add(&doctor->list, CHECK_FAIL, "iommu",
		"the IOMMU is off: no device has an IOMMU group, and nothing on the kernel command "
		"line keeps it off");
	fix_firmware(doctor, iommu_switch(doctor->platform.maker));
}

static void explain_iommu_off(struct doctor *doctor)
{
	const char *off = off_argument(doctor);
	const char *missing = boot_missing_argument(doctor);
	char why[128];

	/* without the firmware's table no argument helps, so the firmware comes first */
	if (host_iommu_is_missing(&doctor->platform, why, sizeof(why)))
		explain_firmware(doctor, why);
	else if (off)
		explain_off_argument(doctor, off);
	else if (missing)
		explain_missing_argument(doctor, missing);
	else
		explain_nothing(doctor);
}

static void check_iommu(struct doctor *doctor)
{
	if (doctor->platform.iommu_groups)
		check_add(&doctor->list, CHECK_PASS, "iommu", "the IOMMU is on: %zu group%s",
			doctor->platform.iommu_groups,
			doctor->platform.iommu_groups == 1 ? "" : "s");
	else if (!doctor->host.count)
		check_add(&doctor->list, CHECK_SKIP, "iommu",
			"no PCI device can be read, so it is unknown whether the IOMMU is on");
	else
		explain_iommu_off(doctor);
}

void doctor_check_firmware(struct doctor *doctor)
{
	checklist_section(&doctor->list, "PROCESSOR AND FIRMWARE");
	check_virtualisation(doctor);
	check_iommu(doctor);
}
