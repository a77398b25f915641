/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Operations: power and reset settings of a function while it is lent. */

#include "attribute.h"

#include "kmod-helper/device/pci.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define CONTROL "power/control"
#define VFS "sriov_numvfs"
#define VALUE_SIZE 128

static int read_value(
	const struct kernel *kernel, const char *address, const char *name, char *ret, size_t size)
{
	char path[PCI_PATH_SIZE];
	ssize_t length;

	pci_path(address, name, path, sizeof(path));
	length = kernel_read(kernel, path, ret, size);
	return length < 0 ? (int)length : 0;
}

static int write_value(const struct kernel *kernel, const char *address, const char *name,
	const char *value, struct error *error)
{
	char path[PCI_PATH_SIZE], now[VALUE_SIZE];
	int r;

	pci_path(address, name, path, sizeof(path));
	/* reset_method is emptied by a newline; a zero-byte write would never reach the kernel */
	r = kernel_write(kernel, path, *value ? value : "\n");
	if (r < 0)
		return error_set_errno(error, r, "write '%s' to /%s", value, path);
	r = read_value(kernel, address, name, now, sizeof(now));
	if (r < 0)
		return error_set_errno(error, r, "read back /%s", path);
	if (strcmp(now, value) != 0)
		return error_set(
			error, -EIO, "read back /%s: it contains '%s', not '%s'", path, now, value);
	return 0;
}

static int set_value(const struct kernel *kernel, const char *address, const char *name,
	const char *value, struct error *error)
{
	char now[VALUE_SIZE];
	int r = read_value(kernel, address, name, now, sizeof(now));

	if (r < 0)
		return error_set_errno(error, r, "read %s of %s", name, address);
	return strcmp(now, value) == 0 ? 0 : write_value(kernel, address, name, value, error);
}

static int apply_set(const struct kernel *kernel, const struct step *step, struct error *error)
{
	char name[STEP_TEXT_SIZE];
	char *value;

	memcpy(name, step->argument, sizeof(name));
	value = strchr(name, '=');
	if (!value)
		return error_set(error, -EINVAL, "set '%s' of %s: it has no value", step->argument,
			step->subject);
	*value++ = '\0';
	return set_value(kernel, step->subject, name, value, error);
}

/* The kernel offered "bus" before the other functions of the card were there, and refuses it now.
 * Its own choice is then the closest to the recorded value. */
static void choose_default(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	char path[PCI_PATH_SIZE], now[VALUE_SIZE] = "";

	pci_path(step->subject, step->argument, path, sizeof(path));
	(void)kernel_write(kernel, path, "default");
	if (read_value(kernel, step->subject, step->argument, now, sizeof(now)) == 0 &&
		strcmp(now, step->original) != 0)
		error_set(error, 0,
			"%s: the kernel no longer accepts '%s' as its reset_method: it has '%s' "
			"until the next boot",
			step->subject, step->original, now);
}

static int undo_keep(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	int r = set_value(kernel, step->subject, step->argument, step->original, &why);

	/* a device that was removed and found again may lack the file, and has its defaults;
	 * another number of virtual functions was made by somebody since */
	if (r == 0 || r == -ENOENT || (r == -EBUSY && strcmp(step->argument, VFS) == 0))
		return 0;
	if (r == -EINVAL && strcmp(step->argument, "reset_method") == 0) {
		choose_default(kernel, step, error);
		return 0;
	}
	if (error)
		*error = why;
	return r;
}

const struct operation attribute_operations[] = {
	{.name = "keep",
		.is_of_function = true,
		.undo_text = "set {subject}: {argument}={original}",
		.undo = undo_keep},
	{.name = "set",
		.is_of_function = true,
		.apply_text = "set {subject}: {argument}",
		.apply = apply_set},
	{.name = NULL},
};

static bool is_of(const struct attribute_wish *wish, const char *address)
{
	return strcmp(wish->address, address) == 0;
}

const struct attribute_wish *attribute_find_missing(
	const struct kernel *kernel, const char *address, const struct attribute_wishes *wishes)
{
	char now[VALUE_SIZE];

	for (size_t i = 0; i < wishes->count; i++) {
		const struct attribute_wish *wish = &wishes->items[i];

		if (is_of(wish, address) &&
			read_value(kernel, address, wish->name, now, sizeof(now)) < 0)
			return wish;
	}
	return NULL;
}

static const struct step *find_keep(const struct loan *loan, const char *address, const char *name)
{
	for (size_t i = 0; loan && i < loan->steps.count; i++) {
		const struct step *step = &loan->steps.items[i];

		if (strcmp(step->operation, "keep") == 0 && strcmp(step->subject, address) == 0 &&
			strcmp(step->argument, name) == 0)
			return step;
	}
	return NULL;
}

/* Nothing has to be applied: the step is done as soon as it is recorded. */
static int add_keep(
	const char *address, const char *name, const char *original, struct steps *steps)
{
	struct step step = {.operation = "keep", .state = STEP_DONE};

	snprintf(step.subject, sizeof(step.subject), "%s", address);
	snprintf(step.argument, sizeof(step.argument), "%s", name);
	snprintf(step.original, sizeof(step.original), "%s", original);
	snprintf(step.why, sizeof(step.why), "'%.100s' is restored at return", original);
	return steps_add(steps, &step) ? 0 : -ENOMEM;
}

static int add_set(const struct attribute_wish *wish, struct steps *steps)
{
	struct step step = {.operation = "set", .state = STEP_PLANNED};

	snprintf(step.subject, sizeof(step.subject), "%s", wish->address);
	snprintf(step.argument, sizeof(step.argument), "%s=%s", wish->name, wish->value);
	snprintf(step.why, sizeof(step.why), "%s", wish->why);
	return steps_add(steps, &step) ? 0 : -ENOMEM;
}

static int keep(const struct kernel *kernel, const char *address, const char *name,
	const struct loan *standing, struct steps *steps)
{
	const struct step *known = find_keep(standing, address, name);
	char now[VALUE_SIZE];

	if (known)
		return add_keep(address, name, known->original, steps);
	if (read_value(kernel, address, name, now, sizeof(now)) < 0)
		return 0;
	return add_keep(address, name, now, steps);
}

static const struct attribute_wish *find_wish(
	const struct attribute_wishes *wishes, const char *address, const char *name)
{
	for (size_t i = 0; i < wishes->count; i++) {
		if (is_of(&wishes->items[i], address) && strcmp(wishes->items[i].name, name) == 0)
			return &wishes->items[i];
	}
	return NULL;
}

/* vfio-pci leaves "on" behind, so any other value must be put back, even if nobody wishes one. */
static bool control_is_lost(
	const struct kernel *kernel, const char *address, const struct loan *standing)
{
	char now[VALUE_SIZE];

	return find_keep(standing, address, CONTROL) ||
		(read_value(kernel, address, CONTROL, now, sizeof(now)) == 0 &&
			strcmp(now, "on") != 0);
}

/* Virtual functions that nobody uses. Some drivers remove them when they let the device go; with
 * those of the others vfio-pci does not take it: "Cannot bind to PF with SR-IOV enabled"
 * (vfio_pci_core_register_device() in Linux). */
static int plan_vfs(const struct kernel *kernel, const char *address, const struct loan *standing,
	struct steps *steps)
{
	const struct attribute_wish none = {.address = address,
		.name = VFS,
		.value = "0",
		.why = "vfio-pci takes no device that has virtual functions"};
	char now[VALUE_SIZE];
	int r;

	if (!find_keep(standing, address, VFS) &&
		(read_value(kernel, address, VFS, now, sizeof(now)) < 0 || strcmp(now, "0") == 0))
		return 0;
	r = keep(kernel, address, VFS, standing, steps);
	return r < 0 ? r : add_set(&none, steps);
}

int attribute_plan_before(const struct kernel *kernel, const char *address,
	const struct attribute_wishes *wishes, const struct loan *standing, struct steps *steps)
{
	int r = plan_vfs(kernel, address, standing, steps);

	if (r < 0)
		return r;
	if (!find_wish(wishes, address, CONTROL) && control_is_lost(kernel, address, standing))
		r = keep(kernel, address, CONTROL, standing, steps);
	for (size_t i = 0; r == 0 && i < wishes->count; i++) {
		const struct attribute_wish *wish = &wishes->items[i];

		if (!is_of(wish, address))
			continue;
		r = keep(kernel, address, wish->name, standing, steps);
		if (r == 0 && strcmp(wish->name, CONTROL) != 0)
			r = add_set(wish, steps);
	}
	return r;
}

int attribute_plan_after(
	const char *address, const struct attribute_wishes *wishes, struct steps *steps)
{
	const struct attribute_wish *control = find_wish(wishes, address, CONTROL);

	return control ? add_set(control, steps) : 0;
}
