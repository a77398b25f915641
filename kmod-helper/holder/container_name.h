/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Names the container of Docker or Podman that a process belongs to. */

#include "kmod-helper/base/cgroup.h"

#define CONTAINER_NAME_SIZE 96

/* "Docker container ollama": the name from the engine's own file, which is root's; where that
 * cannot be read (another folder, no root), the short id, as `docker ps` shows it. The
 * group is a container's. */
void container_name(
	const struct root *root, const struct cgroup *cgroup, char ret[static CONTAINER_NAME_SIZE]);
