/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Tells whether the host is shutting down. */

#include <stdbool.h>

/*
 * True while the host shuts down or reboots: `systemctl is-system-running` says "stopping", which
 * it does from the moment shutdown.target is queued. Root's systemctl asks systemd itself, so the
 * bus may have been stopped by then. False without systemd, and without an answer within a second.
 */
bool host_is_shutting_down(void);
