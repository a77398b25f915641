/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "change.h"

/* The content list of the storage `local`, by which Proxmox VE's web page lists our hookscript. */

/* Lists our hookscript in the web page (content of the storage `local`), for --enable-snippets;
 * without @apply only notes it. Takes that back, when no VM but that of @changes has a record; to
 * be called with attachment_lock of ATTACHMENT_STORAGE, until that VM's record is gone too. 0 or
 * -errno.
 */
int listing_enable(
	struct context *context, bool apply, struct changes *changes, struct error *error);
int listing_restore(struct context *context, struct changes *changes, struct error *error);
