/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "context.h"
#include "kmod-helper/loan/loan.h"
#include <stddef.h>

/* The names that VMs have in their configs, which stand beside their numbers. Each config is read
 * once. */

#define VM_TITLE_SIZE 300 /* a DNS name has at most 253 characters */

struct vm_names {
	struct vm_name *items;
	size_t count;
	bool is_off; /* /etc/pve does not answer */
};

/* "VM 104 (windows)"; "VM 104" when it has no name or none that we can read. */
void vm_names_title(struct vm_names *names, const struct context *context, unsigned int vmid,
	char *buffer, size_t size);

/* The same for the owner of a loan; "by hand". */
void vm_names_owner(struct vm_names *names, const struct context *context,
	const struct loan_owner *owner, char *buffer, size_t size);
void vm_names_done(struct vm_names *names);
