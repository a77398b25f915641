/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * One hostpciN of a VM's config. Source: PVE/QemuServer/PCI.pm ($hostpci_fmt, parse_hostpci) and
 * PVE/SysFSTools.pm (lspci) of qemu-server 9.2.6 and pve-common 9.2.1.
 */

#include "conf/property.h"
#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

#define HOSTPCI_MAX 16 /* hostpci0 … hostpci15 */

struct hostpci {
	struct property_set options; /* every option as given, "0"/"1" where it is a boolean */
	struct names ids;	     /* of `host`, split at ";", as written */
	const char *host;	     /* NULL: not given, also for the next three */
	const char *mapping;
	const char *mdev; /* NULL for "0" too, as in Proxmox */
	const char *romfile;
	bool pcie;
	bool x_vga;
	bool legacy_igd;
	bool rombar;	  /* true unless switched off */
	bool keep_driver; /* driver=keep: Proxmox neither binds nor resets */
};

/* Reads the value of a hostpciN line. Returns 0, -ENOMEM, or -EINVAL where Proxmox drops the line
 * and starts the VM without it. @ret is untouched on failure; free with hostpci_done. */
int hostpci_parse(const char *value, struct hostpci *ret, struct error *error);
void hostpci_done(struct hostpci *hostpci);

/* Finds a fault that Proxmox keeps in the config but refuses at start: both or neither of `host`
 * and `mapping`. Returns 0 or -EINVAL with Proxmox's text. */
int hostpci_check(const struct hostpci *hostpci, struct error *error);

#define HOSTPCI_MENDED_SIZE 256

/* Corrects the usual slips in a value that Proxmox drops: "01:00;pcie=1", "2B:00". False when the
 * result would not do either; @ret is then untouched. */
bool hostpci_mend(const char *value, char *ret, size_t size);

/* The end of the host PCI id that @text begins with, NULL when there is none. Source: $PCIRE. */
const char *hostpci_id_end(const char *text);

/* Appends to @names those of @addresses ("0000:2b:00.0") that the host PCI id @id ("2b:00",
 * "0001:2b:00.0") means, in order. An id without a domain means domain 0000; one without a function
 * means every function there. Returns 0, -ENOMEM, or -ENODEV with Proxmox's text when there is
 * none. */
int hostpci_find(const char *id, const char *const *addresses, size_t count, struct names *names,
	struct error *error);
