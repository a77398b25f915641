/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "checklist.h"
#include "conf/host/boot_loader.h"
#include "conf/host/modprobe_files.h"
#include "conf/settings.h"
#include "hooks/base/context.h"
#include "hooks/host/obstacles.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/device/platform.h"
#include "kmod-helper/kernel/module_files.h"
#include "kmod-helper/loan/loan.h"

/*
 * Every check of the host and of one VM. One file for each area; each looks at the state first and
 * then at the configuration behind it. Nothing is written, no module loaded, no sleeping card
 * woken.
 */

struct doctor {
	struct context *context;
	struct checklist list;
	struct platform platform;
	struct pci_functions host;
	struct loans loans;
	struct settings settings; /* the defaults when the file cannot be read */
	bool settings_are_plain;  /* it can, and what counts here stands at its top */
	struct modprobe_files modprobe;
	struct boot_loader loader;
	struct boot_command_line command_line;
	struct obstacles obstacles; /* of these and of modprobe */
	struct module_files
		modules; /* the running kernel's; empty when there are none to be seen */
	bool has_modules;
	char vm_title[32]; /* of the VM's section */
};

/* Gathers what the checks share. @ret->context is set by the caller; doctor_done also after a
 * failure. 0, -ENOMEM, or the errors of listing PCI functions and loans. */
int doctor_gather(struct doctor *doctor, unsigned int vmid, struct error *error);
void doctor_done(struct doctor *doctor);

/* firmware.c: the processor's virtualisation, the IOMMU */
void doctor_check_firmware(struct doctor *doctor);
/* boot.c: boot loader, kernel command line, initramfs */
void doctor_check_boot(struct doctor *doctor);
/* modules.c: the vfio modules; what in modprobe.d and on the command line defeats sharing */
void doctor_check_modules(struct doctor *doctor);
/* card.c: each GPU of the host */
void doctor_check_cards(struct doctor *doctor);
/* snippets.c: the hookscript where Proxmox VE looks for it */
void doctor_check_snippet(struct doctor *doctor);
/* guests.c: what the VMs (but @except) and the containers of this node are given */
void doctor_check_guests(struct doctor *doctor, unsigned int except);
/* vm.c: one VM's config */
void doctor_check_vm(struct doctor *doctor, unsigned int vmid);

/* How to get into the firmware's set-up from here. */
const char *firmware_command(const struct doctor *doctor);

/* The argument that this kernel and maker need and that it was not started with; NULL: none. */
const char *boot_missing_argument(const struct doctor *doctor);

/* True when the next boot gives it. */
bool boot_is_pending(const struct doctor *doctor, const char *argument);

/* What puts an argument on the kernel command line, as the fix of the check added last: setup,
 * where it knows the boot loader. */
void fix_missing_argument(struct doctor *doctor, const char *argument);

/* What takes an argument off the kernel command line, as the fix of the check added last. */
void fix_boot_argument(struct doctor *doctor, const char *argument);

/* What gives a setting another value, as the fix of the check added last: a command where the file
 * says it in one line; else the line for an editor. @remark may be "". */
void fix_setting(struct doctor *doctor, const char *name, const char *value, const char *remark);

/* The module that the host drives GPUs of @vendor with: the running kernel has it, and no blacklist
 * keeps it away; NULL: none. */
const char *display_module_find(const struct doctor *doctor, uint16_t vendor);

/* One that another kernel has, whose release goes to @ret_release, and the running one lacks, as
 * dkms leaves it behind at an upgrade; NULL: none. */
const char *display_module_left_behind(
	const struct doctor *doctor, uint16_t vendor, char *ret_release, size_t size);

/* True when an ids= of modprobe.d or of the next boot's command line means the function. */
bool is_taken_at_boot(const struct doctor *doctor, const struct pci_function *function);

/* True for the first display function of a card: the one that stands for it. */
bool is_gpu(const struct doctor *doctor, const struct pci_function *function);
