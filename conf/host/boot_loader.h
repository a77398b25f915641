/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which boot loader starts this host, and the kernel command line that it is set to give. The root
 * file system does not decide this. What counts is the program that booted the host (the EFI
 * variable LoaderInfo of the Boot Loader Interface), and whether proxmox-boot-tool keeps the boot
 * partitions (/etc/kernel/proxmox-boot-uuids). */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

#define GRUB_DEFAULTS_PATH "etc/default/grub"
#define GRUB_DEFAULTS_FOLDER "etc/default/grub.d"
#define KERNEL_COMMAND_LINE_PATH "etc/kernel/cmdline"

enum boot_loader_kind {
	BOOT_LOADER_UNKNOWN,
	BOOT_LOADER_GRUB,	  /* /etc/default/grub, /etc/default/grub.d/NAME.cfg */
	BOOT_LOADER_SYSTEMD_BOOT, /* /etc/kernel/cmdline, kept by proxmox-boot-tool */
};

struct boot_loader {
	enum boot_loader_kind kind;
	bool efi;		/* the host was booted through EFI */
	bool proxmox_boot_tool; /* proxmox-boot-tool keeps its boot partitions */
	char info[64]; /* LoaderInfo: "systemd-boot 252.36-1~deb12u1"; "" when there is none */
};

void boot_loader_find(const struct root *root, struct boot_loader *ret);

/* The text of the EFI variable LoaderInfo: 4 bytes of attributes, then UTF-16. "" when there is
 * none. */
void boot_loader_info_parse(const char *variable, size_t length, char *ret, size_t size);

/* True when LoaderInfo names systemd-boot. If proxmox-boot-tool does not keep its boot partitions,
 * its kind is still BOOT_LOADER_UNKNOWN. */
bool boot_loader_is_systemd_boot(const struct boot_loader *loader);

/* The command that puts a change into effect: "update-grub" or "proxmox-boot-tool refresh"; NULL
 * when unknown. */
const char *boot_loader_refresh_command(const struct boot_loader *loader);

/* One argument of the kernel's command line, and the lines that it comes from. */
struct boot_argument {
	char *text; /* "intel_iommu=on" */
	char *path; /* "etc/default/grub" */
	unsigned int line;
	unsigned int line_count; /* of the assignment; its value may continue on the next line */
};

struct boot_command_line {
	struct boot_argument *configured; /* arguments of the next boot, without GRUB's root= */
	size_t configured_count;
	struct error unknown; /* status < 0: why configured could not be read */
	struct names running; /* /proc/cmdline */
};

/* Reads both command lines. With GRUB: GRUB_CMDLINE_LINUX, then GRUB_CMDLINE_LINUX_DEFAULT, of
 * /etc/default/grub and then of each /etc/default/grub.d/NAME.cfg. No shell is run: ret->unknown
 * says what only a shell could work out. Works for any user. Returns 0 or -ENOMEM; @ret is
 * untouched on failure; free with boot_command_line_done. */
int boot_command_line_read(const struct root *root, const struct boot_loader *loader,
	struct boot_command_line *ret, struct error *error);
void boot_command_line_done(struct boot_command_line *line);

/* The last configured argument that gives @argument, as kernel_argument_gives tests it: "NAME" with
 * any value, or "NAME=VALUE" with this value alone or in a list of values. NULL when none does. */
const struct boot_argument *boot_command_line_find(
	const struct boot_command_line *line, const char *argument);

/* The argument that the running kernel needs to switch the processor's IOMMU on: "intel_iommu=on"
 * on Intel (@is_intel) if the kernel does not do it by itself; else NULL. It does so if the IOMMU
 * is on without that argument. If not, the kernel's configuration decides
 * (CONFIG_INTEL_IOMMU_DEFAULT_ON, or Debian's CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF, in
 * /boot/config-RELEASE), and without that file its version (Proxmox from 6.8, Debian from 5.3). */
const char *boot_iommu_argument(const struct root *root, bool is_intel);
