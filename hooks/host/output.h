/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "apply.h"
#include <json-c/json.h>

/* What setup and undo print about a change of the host's set-up, as JSON. */

/* Formats the change: {"boot_loader": "grub", "systemd-boot" or null, "proxmox_boot_tool", "files":
 * [{"path", "action": "write", "change" or "remove", "diff"}], "programs": ["update-grub"],
 * "unfinished": true when an earlier run did not finish}. Call it before the change is applied. 0,
 * -ENOMEM or -EFBIG; free *@ret with json_object_put. */
int host_change_format(
	const struct host_change *change, struct json_object **ret, struct error *error);

/* Adds "applied" and "reboot" to @object, then prints and frees it. "reboot" is true when this
 * change, or an earlier one, needs a reboot. 0 or -EIO. */
int host_change_print(const struct host_change *change, struct json_object *object, bool reboot,
	struct error *error);

static inline void json_object_putp(struct json_object **object)
{
	json_object_put(*object);
}
