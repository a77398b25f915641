/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "attach_device.h"

/* Plans a devN entry for each device node that a container needs of the devices: DRM's, NVIDIA's,
 * and AMD's kfd. A node that the config has already is noted. Returns 0, -ENODEV (a device has no
 * such nodes now; the message says why), -ENOENT (a node is missing, which `pct set` would refuse),
 * -ENOSPC (all devN are in use), -ENOMEM, or loans_read's errors. */
int attach_nodes_plan(struct context *context, const struct guest_config *config,
	const struct attach_devices *devices, struct changes *changes, struct error *error);
