/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/loan/loan.h"

/*
 * Cards on vfio-pci that no loan has: the guide's ids= put them there at boot, Proxmox's own bind
 * did, or somebody deleted the loan. They get a loan, as if we had moved them, and then the
 * ordinary return gives them back: their home is the driver that the kernel would choose.
 */

/* True when a VFIO driver has the function, and no loan. A loan that cannot be read may have any.
 */
bool orphan_is(const struct pci_function *function, const struct loans *loans);

/* Puts those of @addresses that are in the group (PCI_NO_GROUP: in any) into a loan of @owner: in
 * memory only, displays last. With @load the module of a home driver is loaded where none is.
 * -EBUSY, and the reason, when a VM has reserved one, or somebody has the group open. */
int orphan_lend(struct context *context, const struct loan_owner *owner, long iommu_group,
	const struct names *addresses, bool load, struct loan *ret, struct error *error);

/* Tells the lines of modprobe.d and of the kernel's command line that put the loan's functions on
 * vfio-pci again at the next boot, or keep their driver from them. */
void orphan_tell(struct context *context, const struct loan *loan);

/* Records the loan and returns it. */
int orphan_return(struct context *context, const struct loan *loan, struct error *error);

/* After a VM's end: its loan was deleted while it ran. Returns what its config asks for and nobody
 * uses; not what the boot set-up has put on vfio-pci. */
int orphan_return_of_vm(struct context *context, unsigned int vmid, struct error *error);
