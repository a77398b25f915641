/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Asks whether the host shuts down now. */

#include "shutdown.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define MANAGER_SOCKET "/run/systemd/private"
#define ANSWER_MS 1000

/* sd-bus waits 90 s for a manager that accepts and then says nothing. */
static int await_ready(sd_bus *bus, unsigned long long end)
{
	int r = sd_bus_is_ready(bus);

	while (r == 0) {
		unsigned long long now = clock_milliseconds();

		if (now >= end)
			return -ETIMEDOUT;
		r = sd_bus_process(bus, NULL);
		if (r == 0)
			r = sd_bus_wait(bus, (uint64_t)(end - now) * 1000);
		if (r >= 0)
			r = sd_bus_is_ready(bus);
	}
	return r;
}

static int connect_manager(sd_bus *bus)
{
	int r = sd_bus_set_address(bus, "unix:path=" MANAGER_SOCKET);

	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, (uint64_t)ANSWER_MS * 1000);
	if (r >= 0)
		r = sd_bus_start(bus);
	return r < 0 ? r : await_ready(bus, clock_milliseconds() + ANSWER_MS);
}

bool host_is_shutting_down(void)
{
	cleanup(sd_bus_close_unrefp) sd_bus *bus = NULL;
	auto_free char *state = NULL;

	if (access(MANAGER_SOCKET, F_OK) < 0 || sd_bus_new(&bus) < 0 || connect_manager(bus) < 0 ||
		sd_bus_get_property_string(bus, "org.freedesktop.systemd1",
			"/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
			"SystemState", NULL, &state) < 0)
		return false;
	return strcmp(state, "stopping") == 0;
}
