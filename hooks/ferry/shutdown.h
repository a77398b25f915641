/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Whether the host shuts down now. */

#include <stdbool.h>

/*
 * True while the host shuts down or reboots: systemd's manager says "stopping", which it does from
 * the moment shutdown.target is queued (org.freedesktop.systemd1(5), SystemState). Asked on the
 * manager's own socket, for the bus may have been stopped by then; takes about a millisecond. False
 * without systemd, for who is not root, and when the manager does not answer within a second.
 */
bool host_is_shutting_down(void);
