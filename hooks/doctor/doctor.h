/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "checklist.h"
#include "conf/host/boot_loader.h"
#include "conf/host/modprobe_files.h"
#include "conf/settings.h"
#include "hooks/base/context.h"
#include "hooks/ferry/known_quirks.h"
#include "hooks/host/obstacles.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/device/pci_names.h"
#include "kmod-helper/device/platform.h"
#include "kmod-helper/kernel/module_files.h"
#include "kmod-helper/loan/loan.h"

/* All checks of the host and of one VM, with one file for each area. Each check looks at the
 * current state first, and then at the configuration behind it. doctor writes nothing, loads no
 * module and wakes no sleeping card. */

struct doctor {
	struct context *context;
	struct checklist list;
	struct platform platform;
	struct pci_functions host;
	struct loans loans;
	struct settings settings; /* the defaults when the file cannot be read */
	bool settings_are_plain;  /* it can be read, and its top level has the values that count */
	struct quirks quirks;
	struct known_quirks known; /* what they say of this host's functions */
	struct modprobe_files modprobe;
	struct boot_loader loader;
	struct boot_command_line command_line;
	struct obstacles obstacles;  /* of these and of modprobe */
	struct module_files modules; /* of the running kernel; empty when none can be read */
	bool has_modules;
	char vm_title[32];	    /* title of the VM's section */
	struct names vm_functions;  /* what the VM may get; none: doctor is about all cards */
	struct device_names *names; /* of the cards */
	char card[160];		    /* the one that is checked: "GeForce RTX 4080 [10de:2704]" */
};

/* Reads what the checks share. The caller sets @doctor->context, and calls doctor_done also after a
 * failure. 0, -ENOMEM, or the errors of listing PCI functions and loans. */
int doctor_gather(struct doctor *doctor, unsigned int vmid, struct error *error);
void doctor_done(struct doctor *doctor);

/* True for a card that doctor was asked about: one of the VM's, or any where there is no VM or it
 * has none. */
bool doctor_is_about(const struct doctor *doctor, const char *address);

/* firmware.c: the processor's virtualisation, the IOMMU */
void doctor_check_firmware(struct doctor *doctor);
/* boot.c: boot loader, kernel command line, initramfs */
void doctor_check_boot(struct doctor *doctor);
/* modules.c: the vfio modules; what prevents sharing in modprobe.d and on the command line */
void doctor_check_modules(struct doctor *doctor);
/* card.c: each GPU of the host */
void doctor_check_cards(struct doctor *doctor);
/* snippets.c: the hookscript where Proxmox VE looks for it, and the watch */
void doctor_check_snippet(struct doctor *doctor);
void doctor_check_watch(struct doctor *doctor);
/* guests.c: the devices of the VMs (except @except) and of the containers of this node */
void doctor_check_guests(struct doctor *doctor, unsigned int except);
/* vm.c: one VM's config */
void doctor_check_vm(struct doctor *doctor, unsigned int vmid);

/* The command that reboots into the firmware's set-up, or just reboots without EFI. */
const char *firmware_command(const struct doctor *doctor);

/* The argument that is needed here but that the kernel was not started with; NULL: none. */
const char *boot_missing_argument(const struct doctor *doctor);

/* True when the next boot will have the argument. */
bool boot_is_pending(const struct doctor *doctor, const char *argument);

/* Gives the check added last its fix: what puts the argument on the kernel command line. That is
 * setup, when it knows the boot loader. */
void fix_missing_argument(struct doctor *doctor, const char *argument);

/* Gives the check added last its fix: what takes the argument off the kernel command line. */
void fix_boot_argument(struct doctor *doctor, const char *argument);

/* Gives the check added last its fix: what changes the setting. It is a command when the file has
 * the setting on one line, else the line to write in an editor. @remark may be "". */
void fix_setting(struct doctor *doctor, const char *name, const char *value, const char *remark);

/* The module that the host drives GPUs of @vendor with: the running kernel has it, and no blacklist
 * keeps it away; NULL: none. */
const char *display_module_find(const struct doctor *doctor, uint16_t vendor);

/* One that another kernel has and the running one lacks, as when dkms did not build it at an
 * upgrade; NULL: none. @ret_release is the other kernel's release. */
const char *display_module_left_behind(
	const struct doctor *doctor, uint16_t vendor, char *ret_release, size_t size);

/* True when an ids= in modprobe.d, or on the command line of the next boot, means the function. */
bool is_taken_at_boot(const struct doctor *doctor, const struct pci_function *function);

/* True for the first display function of a card, which stands for the whole card. A virtual
 * function is none. */
bool is_gpu(const struct doctor *doctor, const struct pci_function *function);
