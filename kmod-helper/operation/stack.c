/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Plans the unloading of a driver's modules where one card alone cannot be unbound. */

#include "stack.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/driver_use.h"
#include "kmod-helper/device/pci.h"
#include "unload.h"
#include <errno.h>

static int refuse(const struct stack *stack, const char *why_not, struct error *error)
{
	return error_set(error, -EBUSY,
		"%s cannot leave %s (version %s): %s, and it is not unloaded because %s%s%s",
		stack->leaving.names[0], stack->driver,
		*stack->version ? stack->version : "unknown", stack->why, why_not,
		stack->fix ? "; fix: " : "", stack->fix ? stack->fix : "");
}

static int add_steps(const struct kernel *kernel, const struct stack *stack,
	const struct names *modules, struct steps *steps)
{
	int r = unload_plan_reload(
		kernel, steps, modules, modules->count, "at the return: loaded again");

	/* the driver's own module can stay loaded: it lets go of a single card */
	if (r == 0)
		r = unload_plan_unload(steps, modules, modules->count - 1, stack->why);
	return r;
}

int stack_plan(const struct kernel *kernel, const struct stack *stack, struct steps *steps,
	struct error *error)
{
	cleanup(names_done) struct names modules = {0};
	struct error found = {0};
	char module[PCI_DRIVER_SIZE], device[64], why[160];
	int r;

	/* without a module of its own, what comes next says that it is not loaded */
	if (pci_driver_module(kernel, stack->driver, module, sizeof(module)) < 0 || !*module)
		snprintf(module, sizeof(module), "%s", stack->driver);
	if (driver_module_find_device(kernel, module, &stack->leaving, device, sizeof(device))) {
		snprintf(why, sizeof(why), "%s uses %s too", device, module);
		return refuse(stack, why, error);
	}
	r = unload_find_modules(kernel, module, &modules, &found);
	if (r < 0)
		return r == -ENOMEM ? r : refuse(stack, found.message, error);
	/* no module uses the driver's own, so none keeps its cards */
	return modules.count == 1 ? 0 : add_steps(kernel, stack, &modules, steps);
}
