/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Which guest or service a process belongs to, by its control group. Only the beginning of a
 * group's path counts: root has chosen that. Behind it a container or a user may have made groups
 * of any name ("/user.slice/user-1000.slice/user@1000.service/lxc/105").
 *
 * Proxmox's paths: "/lxc/CTID" and below it (PVE/LXC.pm, lxc.cgroup.dir.container), and
 * "/qemu.slice/VMID.scope" (PVE/QemuServer.pm, enter_systemd_scope). Root's Docker and Podman, of
 * which the kind is CGROUP_OTHER: "/system.slice/docker-ID.scope",
 * "/machine.slice/libpod-ID.scope", and with the cgroupfs driver "/docker/ID",
 * "/libpod_parent/libpod-ID".
 */

#include "file.h"
#include <sys/types.h>

#define CGROUP_CONTAINER_SIZE 65

enum cgroup_kind {
	CGROUP_OTHER,
	CGROUP_CONTAINER,
	CGROUP_VM,
	CGROUP_SERVICE, /* of the host's systemd */
};

struct cgroup {
	enum cgroup_kind kind;
	unsigned int guest; /* the container's or VM's number */
	char unit[256];	    /* the service; a container's is what the container says */
	const char *engine; /* "Docker", "Podman": whose container it is; NULL none */
	char container[CGROUP_CONTAINER_SIZE]; /* that container's id */
};

/* Reads the text of a /proc/PID/cgroup, which it takes apart: a line for each hierarchy
 * ("0::/lxc/105/ns", with cgroup v1 also "1:name=systemd:/lxc/105/ns"). A guest counts before a
 * service. @ret is CGROUP_OTHER when it is neither. */
void cgroup_parse(char *text, struct cgroup *ret);

/* The same for a process; CGROUP_OTHER also when it cannot be read. */
void cgroup_read(const struct root *root, pid_t pid, struct cgroup *ret);
