/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Plans the unloading of NVIDIA's modules where one card alone cannot be unbound. */

#include "nvidia.h"

#include "kmod-helper/base/cleanup.h"
#include "unload.h"
#include <errno.h>
#include <string.h>

#define LETS_GO_SINCE "580.105.08"

static void read_version(const struct kernel *kernel, char *ret, size_t size)
{
	if (kernel_read(kernel, "sys/module/nvidia/version", ret, size) <= 0)
		ret[0] = '\0';
}

bool nvidia_keeps_cards(const struct kernel *kernel)
{
	char modeset[8], version[32];

	if (!kernel_has_folder(kernel, "sys/module/nvidia_drm"))
		return false;
	if (kernel_read(kernel, "sys/module/nvidia_drm/parameters/modeset", modeset,
		    sizeof(modeset)) > 0 &&
		*modeset == 'N')
		return false;
	read_version(kernel, version, sizeof(version));
	return strverscmp(version, LETS_GO_SINCE) < 0;
}

static int refuse(const struct kernel *kernel, const struct names *leaving, const char *why,
	struct error *error)
{
	char version[32];

	read_version(kernel, version, sizeof(version));
	return error_set(error, -EBUSY,
		"nvidia_drm holds %s until it is unloaded (version %s; " LETS_GO_SINCE
		" and later release it), and it is not unloaded because %s: update the driver, or "
		"set `options nvidia_drm modeset=0` in /etc/modprobe.d",
		leaving->names[0], *version ? version : "unknown", why);
}

static int add_steps(const struct names *modules, struct steps *steps)
{
	int r = unload_plan_reload(steps, modules, modules->count, "at the return: loaded again");

	/* nvidia itself can stay loaded: it lets go of a single card */
	if (r == 0)
		r = unload_plan_unload(steps, modules, modules->count - 1,
			"nvidia_drm holds the card while it is loaded");
	return r;
}

int nvidia_plan(const struct kernel *kernel, const struct names *leaving, struct steps *steps,
	struct error *error)
{
	cleanup(names_done) struct names modules = {0};
	struct error found = {0};
	char device[64], why[128];
	int r;

	if (leaving->count == 0 || !nvidia_keeps_cards(kernel))
		return 0;
	if (unload_find_device(kernel, "nvidia", leaving, device, sizeof(device))) {
		snprintf(why, sizeof(why), "%s uses nvidia too", device);
		return refuse(kernel, leaving, why, error);
	}
	r = unload_find_modules(kernel, "nvidia", &modules, &found);
	if (r < 0)
		return r == -ENOMEM ? r : refuse(kernel, leaving, found.message, error);
	/* no module uses nvidia, so none keeps its cards */
	return modules.count == 1 ? 0 : add_steps(&modules, steps);
}
