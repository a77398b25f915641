/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nvidia.h"

#include "base/cleanup.h"
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

/* The displays that are to leave nvidia, and what goes along with them. */
static int find_leaving(const struct plan *plan, struct names *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];

		if (function->loan.use == LOAN_TAKEN && strcmp(function->now.driver, "nvidia") == 0)
			r = names_add(ret, function->now.address);
	}
	return r;
}

static int block(const struct kernel *kernel, const struct names *leaving, const char *why,
	struct plan *plan)
{
	char version[32];

	read_version(kernel, version, sizeof(version));
	return plan_block(plan, BLOCKER_HELD,
		"nvidia_drm keeps %s until it is unloaded (version %s; " LETS_GO_SINCE
		" and later let go), and it is not unloaded, for %s: update the driver, or set "
		"`options nvidia_drm modeset=0` in /etc/modprobe.d",
		leaving->names[0], *version ? version : "unknown", why);
}

static int plan_unload(const struct names *modules, struct plan *plan)
{
	int r = unload_add_step(
		&plan->steps, "reload", modules, modules->count, "at the return: loaded again");

	/* nvidia itself lets go of the card alone, and is of no use afterwards */
	if (r == 0)
		r = unload_add_step(&plan->steps, "unload", modules, modules->count - 1,
			"nvidia_drm keeps the card while it is loaded");
	return r;
}

int nvidia_plan(const struct kernel *kernel, struct plan *plan)
{
	cleanup(names_done) struct names leaving = {0};
	cleanup(names_done) struct names modules = {0};
	struct error error = {0};
	char device[64], why[128];
	int r = find_leaving(plan, &leaving);

	if (r < 0 || leaving.count == 0 || !nvidia_keeps_cards(kernel))
		return r;
	if (unload_find_device(kernel, "nvidia", &leaving, device, sizeof(device))) {
		snprintf(why, sizeof(why), "%s uses nvidia too", device);
		return block(kernel, &leaving, why, plan);
	}
	r = unload_find_modules(kernel, "nvidia", &modules, &error);
	if (r < 0)
		return r == -ENOMEM ? r : block(kernel, &leaving, error.message, plan);
	/* nobody uses it: nobody keeps a card of its */
	if (modules.count == 1)
		return 0;
	return plan_unload(&modules, plan);
}
