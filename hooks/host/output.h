/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "apply.h"
#include <json-c/json.h>

/* What setup and undo say of a change of the host's set-up, in JSON. */

/* {"boot_loader": "grub", "systemd-boot" or null, "proxmox_boot_tool", "files": [{"path", "action":
 * "write", "change" or "remove", "diff"}], "programs": ["update-grub"], "unfinished": an earlier
 * run did not come to its end}: to be called before the change is applied. 0, -ENOMEM or -EFBIG;
 * @ret is to be freed by json_object_put. */
int host_change_format(
	const struct host_change *change, struct json_object **ret, struct error *error);

/* Completes @object by {"applied", "reboot": one is needed, for this change or an earlier one},
 * prints and frees it. 0 or -EIO. */
int host_change_print(const struct host_change *change, struct json_object *object, bool reboot,
	struct error *error);

static inline void json_object_putp(struct json_object **object)
{
	json_object_put(*object);
}
