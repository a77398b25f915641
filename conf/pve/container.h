/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads which device nodes the containers of this host are given: /etc/pve/lxc/CTID.conf. Source:
 * PVE/LXC/Config.pm (parse_pct_config) of pve-container 6.0.9; lxc.container.conf(5). */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>
#include <stddef.h>

struct container {
	unsigned int ctid;
	/* "dev/nvidia0", "dev/dri": from devN and lxc.mount.entry; "226:128": a device's number
	 * from lxc.cgroup2.devices.allow */
	struct names nodes;
};

struct containers {
	struct container *items;
	size_t count;
};

/* Appends the nodes that one config names, without the leading slash. Lines below a section line (a
 * snapshot) are ignored. @text is changed. 0 or -ENOMEM. */
int container_nodes_parse(char *text, struct names *ret);

/* Lists the containers of this node that are given device nodes, ordered by their file names. A
 * config that cannot be read is skipped; a missing folder means no containers. 0, -ENOMEM,
 * -ETIMEDOUT when /etc/pve does not answer, or another -errno of the reading. Free with
 * containers_done. */
int containers_read(const struct root *root, struct containers *ret, struct error *error);
void containers_done(struct containers *containers);

/* Does this node have a container of that number? False too when /etc/pve does not answer at once:
 * for messages, not for decisions. */
bool container_exists(const struct root *root, unsigned int ctid);

/* "container" when it has, else "VM". */
const char *guest_noun(const struct root *root, unsigned int vmid);
