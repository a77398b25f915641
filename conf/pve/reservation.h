/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which VM has a PCI device now: /run/qemu-server/pci-id-reservations. Source:
 * PVE/QemuServer/PCI.pm (parse_pci_reservation_unlocked, reserve_pci_usage).
 */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stddef.h>
#include <time.h>

struct reservation {
	const char *address; /* as written; Proxmox writes "0000:01:00.0" */
	unsigned int vmid;
	pid_t pid;	 /* 0: reserved until a time */
	long long until; /* seconds since 1970, if pid is 0 */
};

struct reservations {
	struct reservation *items; /* in the file's order: of one address the last counts */
	size_t count;
	char *text; /* what the addresses point into */
};

/* Reads the lines of the file; wrong ones are ignored. Returns 0 or -ENOMEM. @ret is untouched on
 * failure; free with reservations_done. */
int reservations_parse(
	const char *text, size_t length, struct reservations *ret, struct error *error);
void reservations_done(struct reservations *reservations);

/* Reads run/qemu-server/pci-id-reservations; a missing file means no reservations. Returns 0,
 * -ENOMEM, or -errno of the reading. */
int reservations_read(const struct root *root, struct reservations *ret, struct error *error);

/* The VMID of a VM other than @vmid that has @address reserved at @now; 0 when there is none. With
 * @vmid 0 every VM counts. *@ret_running (may be NULL) tells whether it is running. */
unsigned int reservation_owner(const struct reservations *reservations, const struct root *root,
	const char *address, unsigned int vmid, time_t now, bool *ret_running);

/* 0 when VM @vmid could reserve @address, else -EBUSY with Proxmox's text. */
int reservation_check(const struct reservations *reservations, const struct root *root,
	const char *address, unsigned int vmid, time_t now, struct error *error);
