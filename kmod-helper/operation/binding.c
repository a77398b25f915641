/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Operations: load a driver, set driver_override, unbind and bind a function. */

#include "binding.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/device/driver_use.h"
#include "kmod-helper/device/pci.h"
#include "kmod-helper/kernel/kernel_log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ANY_ID UINT32_MAX
#define BUSY_STEP_MS 100
#define BUSY_TRIES 50
#define KERNEL_LOG_SIZE 400

#define BIND "bind"
#define ID "id"
#define LOAD "load"
#define OVERRIDE "override"
#define UNBIND "unbind"
#define UNBIND_COUNTED "unbind-counted"

#define BIND_TEXT "bind {subject} to {argument}"
#define UNBIND_TEXT "unbind {subject} from {argument}"

static int read_driver(const struct kernel *kernel, const char *address, char *ret, size_t size,
	struct error *error)
{
	int r = pci_read_driver(kernel, address, ret, size);

	return r < 0 ? error_set_errno(error, r, "read the driver of %s", address) : 0;
}

static int write_driver_file(const struct kernel *kernel, const char *driver, const char *file,
	const char *value, struct error *error)
{
	char path[PCI_PATH_SIZE];
	int r;

	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s/%s", driver, file);
	r = kernel_write(kernel, path, value);
	return r < 0 ? error_set_errno(error, r, "write %s to /%s", value, path) : 0;
}

static int set_override(
	const struct kernel *kernel, const char *address, const char *driver, struct error *error)
{
	char path[PCI_PATH_SIZE], now[PCI_DRIVER_SIZE];
	int r = pci_read_override(kernel, address, now, sizeof(now));

	if (r == 0 && strcmp(now, driver) == 0)
		return 0;
	pci_path(address, "driver_override", path, sizeof(path));
	/* a newline clears it; a zero-byte write would never reach the kernel */
	r = kernel_write(kernel, path, *driver ? driver : "\n");
	if (r < 0)
		return error_set_errno(error, r, "write '%s' to /%s", driver, path);
	r = pci_read_override(kernel, address, now, sizeof(now));
	if (r < 0)
		return error_set_errno(error, r, "read back /%s", path);
	if (strcmp(now, driver) != 0)
		return error_set(error, -EIO, "read back /%s: it contains '%s', not '%s'", path,
			now, driver);
	return 0;
}

/* Only the driver's own bind file asks it once and says why it failed, and only the link shows what
 * happened. */
static int probe_once(
	const struct kernel *kernel, const char *address, const char *driver, struct error *error)
{
	auto_close int log = kernel->ops->follow_log(kernel->context);
	char now[PCI_DRIVER_SIZE], said[KERNEL_LOG_SIZE];
	struct error why = {0};
	int written = write_driver_file(kernel, driver, "bind", address, &why);
	int r = read_driver(kernel, address, now, sizeof(now), error);

	if (r < 0 || strcmp(now, driver) == 0)
		return r;
	if (*now)
		return error_set(error, -EBUSY,
			"bind %s to %s: %s took it instead: another program binds drivers here; "
			"try again",
			address, driver, now);
	if (written == 0)
		error_set(&why, -ENODEV, "the kernel gave no reason");
	if (log >= 0 && kernel_log_find(log, address, said, sizeof(said)))
		return error_set(error, why.status,
			"bind %s to %s: the driver did not take it: \"%s\" (%s); see `dmesg`",
			address, driver, said, why.message);
	return error_set(error, why.status,
		"bind %s to %s: the driver did not take it: %s; see `dmesg`", address, driver,
		why.message);
}

/* When a process was killed, /proc no longer shows its descriptors while the kernel still closes
 * them and unpins its guest's memory. Until its VFIO group is free, no host driver can have the
 * device (iommu_device_use_default_domain() in drivers/iommu/iommu.c). That passes, so -EBUSY is
 * tried again. */
static int probe(
	const struct kernel *kernel, const char *address, const char *driver, struct error *error)
{
	for (unsigned int i = 1;; i++) {
		char now[PCI_DRIVER_SIZE];
		int r = probe_once(kernel, address, driver, error);

		if (r != -EBUSY || i == BUSY_TRIES ||
			pci_read_driver(kernel, address, now, sizeof(now)) < 0 || *now)
			return r;
		kernel->ops->wait_close(kernel->context, "sys/bus/pci/devices", BUSY_STEP_MS);
	}
}

/* Takes the function from @driver, so that it has no driver. It is fine when it has none already,
 * and an error when it has another one. */
static int release(
	const struct kernel *kernel, const char *address, const char *driver, struct error *error)
{
	char now[PCI_DRIVER_SIZE];
	struct error ignored;
	int r = read_driver(kernel, address, now, sizeof(now), error);

	if (r < 0 || !*now)
		return r;
	if (strcmp(now, driver) != 0)
		return error_set(error, -EBUSY, "unbind %s from %s: it is bound to %s now", address,
			driver, now);
	r = write_driver_file(kernel, driver, "unbind", address, error);
	if (r < 0) {
		/* somebody else was faster: what counts is that it is free */
		if (read_driver(kernel, address, now, sizeof(now), &ignored) == 0 && !*now)
			return 0;
		return r;
	}
	r = read_driver(kernel, address, now, sizeof(now), error);
	if (r == 0 && *now)
		return error_set(error, -EBUSY, "unbind %s from %s: it is bound to %s now", address,
			driver, now);
	return r;
}

/* Loads the driver if it is missing. With @again it was loaded before, so whatever modprobe.d has
 * against it by now is ignored. */
static int require_driver(const struct kernel *kernel, const char *driver, const char *module,
	bool again, struct error *error)
{
	const struct kernel_ops *ops = kernel->ops;
	const char *name = *module ? module : driver;
	int r;

	if (pci_driver_exists(kernel, driver))
		return 0;
	r = again ? ops->module_reload(kernel->context, name, NULL, error)
		  : ops->module_load(kernel->context, name, error);
	if (r < 0)
		return error_wrap(error, r, "load the driver %s", driver);
	if (!pci_driver_exists(kernel, driver))
		return error_set(error, -ENOENT,
			"load the driver %s: the module %s is loaded, but contains no such PCI "
			"driver",
			driver, name);
	return 0;
}

static int apply_load(const struct kernel *kernel, const struct step *step, struct error *error)
{
	return require_driver(kernel, step->argument, step->subject, false, error);
}

static int apply_override(const struct kernel *kernel, const struct step *step, struct error *error)
{
	return set_override(kernel, step->subject, step->argument, error);
}

static int undo_override(const struct kernel *kernel, const struct step *step, struct error *error)
{
	return set_override(kernel, step->subject, step->original, error);
}

/* Finds who would keep the driver from letting go. A module's count alone is a guess: with
 * @is_counted it is ignored, because it was seen before, or because an undo must not fail on it. */
static int find_users(const struct kernel *kernel, const char *address, bool is_counted,
	struct holders *ret, struct error *error)
{
	int r = holders_that_stay(kernel, NULL, &address, 1, NULL, ret, error);

	if (is_counted)
		holders_drop_kernel(ret);
	return r;
}

static int refuse_held(const struct holders *holders, const char *address, struct error *error)
{
	char text[HOLDERS_TEXT_SIZE];

	if (holders->count == 0 && *holders->unknown)
		return error_set(error, -EBUSY, "unbind %s: nothing was unbound: %s", address,
			holders->unknown);
	if (holders->count == 0)
		return 0;
	holders_format(holders, text, sizeof(text));
	return error_set(
		error, -EBUSY, "unbind %s: it is in use by %s: end that first", address, text);
}

/* The last look before a write that can sleep for as long as somebody has the device open. */
static int look_unheld(const struct kernel *kernel, const struct step *step,
	enum direction direction, struct error *error)
{
	bool is_counted = strcmp(step->operation, UNBIND_COUNTED) == 0;
	cleanup(holders_done) struct holders holders = {0};
	char now[PCI_DRIVER_SIZE];
	int r;

	if (direction == UNDO)
		return 0;
	/* its last return did not bring it home */
	if (pci_read_driver(kernel, step->subject, now, sizeof(now)) == 0 && !*now)
		return 1;
	if (!driver_may_wait(kernel, step->subject))
		return 0;
	r = find_users(kernel, step->subject, is_counted, &holders, error);
	return r < 0 ? r : refuse_held(&holders, step->subject, error);
}

static int apply_unbind(const struct kernel *kernel, const struct step *step, struct error *error)
{
	return release(kernel, step->subject, step->argument, error);
}

/* Its driver_override was ours until now, and a device that left the bus comes back without: then
 * the kernel chose the driver that it has. */
static int accept_other(
	const struct kernel *kernel, const struct step *step, const char *now, struct error *error)
{
	char override[PCI_DRIVER_SIZE];

	if (pci_read_override(kernel, step->subject, override, sizeof(override)) < 0 || *override)
		return error_set(error, -EBUSY, "bind %s to %s: it is bound to %s now",
			step->subject, step->argument, now);
	error_set(error, 0, "%s left the bus and came back: the kernel gave it to %s, not to %s",
		step->subject, now, step->argument);
	return 0;
}

static int undo_unbind(const struct kernel *kernel, const struct step *step, struct error *error)
{
	char now[PCI_DRIVER_SIZE];
	int r = read_driver(kernel, step->subject, now, sizeof(now), error);

	if (r < 0 || strcmp(now, step->argument) == 0)
		return r;
	if (*now)
		return accept_other(kernel, step, now, error);
	/* set before the module is loaded: then the module's own probe binds the right driver */
	r = set_override(kernel, step->subject, step->argument, error);
	if (r == 0) {
		r = require_driver(kernel, step->argument, step->original, true, error);
		if (r < 0)
			return error_wrap(error, r, "%s has no driver now", step->subject);
		r = read_driver(kernel, step->subject, now, sizeof(now), error);
	}
	if (r < 0 || strcmp(now, step->argument) == 0)
		return r;
	return probe(kernel, step->subject, step->argument, error);
}

static int apply_bind(const struct kernel *kernel, const struct step *step, struct error *error)
{
	char now[PCI_DRIVER_SIZE];
	int r = read_driver(kernel, step->subject, now, sizeof(now), error);

	if (r == 0 && strcmp(now, step->argument) != 0)
		r = probe(kernel, step->subject, step->argument, error);
	if (r == 0 && pci_is_dead(kernel, step->subject))
		return error_set(error, -EIO,
			"%s does not answer any more (its configuration space reads ff): it fell off "
			"the bus on the way to %s; power the host off and on",
			step->subject, step->argument);
	return r;
}

/* The same before the return. Nobody but QEMU opens a VFIO group: when the search was cut short,
 * the card still comes home. */
static int look_returnable(const struct kernel *kernel, const struct step *step,
	enum direction direction, struct error *error)
{
	cleanup(holders_done) struct holders holders = {0};
	char now[PCI_DRIVER_SIZE];
	int r;

	if (direction == APPLY || pci_read_driver(kernel, step->subject, now, sizeof(now)) < 0 ||
		strcmp(now, step->argument) != 0 || !driver_may_wait(kernel, step->subject))
		return 0;
	if (pci_driver_is_vfio(now)) {
		r = holders_of_group(
			kernel, pci_read_group(kernel, step->subject), &holders, error);
		holders.unknown[0] = '\0';
	} else {
		r = find_users(kernel, step->subject, true, &holders, error);
	}
	return r < 0 ? r : refuse_held(&holders, step->subject, error);
}

/* Unbinds it only from the driver that we bound it to: any other driver is not our doing. */
static int undo_bind(const struct kernel *kernel, const struct step *step, struct error *error)
{
	char now[PCI_DRIVER_SIZE];
	int r = read_driver(kernel, step->subject, now, sizeof(now), error);

	if (r < 0 || strcmp(now, step->argument) != 0)
		return r;
	return release(kernel, step->subject, step->argument, error);
}

static int undo_id(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	int r = write_driver_file(kernel, "vfio-pci", "remove_id", step->argument, &why);

	/* ENODEV: the id is not there any more, which is what we want */
	if (r < 0 && r != -ENODEV && r != -ENOENT) {
		if (error)
			*error = why;
		return r;
	}
	return 0;
}

void binding_accept_counts(
	const struct kernel *kernel, const struct holders *holders, struct steps *steps)
{
	char module[PCI_DRIVER_SIZE];

	for (size_t i = 0; i < steps->count; i++) {
		struct step *step = &steps->items[i];

		if (strcmp(step->operation, UNBIND) == 0 && !holders_have(holders, step->subject) &&
			driver_is_used(kernel, step->subject, module, sizeof(module)))
			strcpy(step->operation, UNBIND_COUNTED);
	}
}

/* vfio_pci_fill_ids() in drivers/vfio/pci/vfio_pci.c */
bool binding_options_have_id(const char *options, unsigned int vendor, unsigned int device)
{
	for (const char *option = strstr(options, "ids="); option;
		option = strstr(option, "ids=")) {
		option += strlen("ids=");
		if (binding_list_has_id(option + (*option == '"'), vendor, device))
			return true;
	}
	return false;
}

bool binding_list_has_id(const char *list, unsigned int vendor, unsigned int device)
{
	unsigned long long listed_vendor, listed_device;

	for (;;) {
		const char *id = list;

		if (parse_leading(&id, 16, UINT32_MAX, &listed_vendor) == 0 && *id++ == ':' &&
			parse_leading(&id, 16, UINT32_MAX, &listed_device) == 0 &&
			(listed_vendor == vendor || listed_vendor == ANY_ID) &&
			(listed_device == device || listed_device == ANY_ID))
			return true;
		list += strcspn(list, ", ");
		if (*list++ != ',')
			return false;
	}
}

static bool read_id(
	const struct kernel *kernel, const char *address, const char *name, unsigned int *ret)
{
	char path[PCI_PATH_SIZE], text[16];
	unsigned long long id;

	pci_path(address, name, path, sizeof(path));
	if (kernel_read(kernel, path, text, sizeof(text)) <= 0 || strncmp(text, "0x", 2) != 0 ||
		parse_unsigned(text + 2, 16, UINT16_MAX, &id) < 0)
		return false;
	*ret = (unsigned int)id;
	return true;
}

static bool read_ids(const struct kernel *kernel, const char *address, unsigned int *ret_vendor,
	unsigned int *ret_device)
{
	return read_id(kernel, address, "vendor", ret_vendor) &&
		read_id(kernel, address, "device", ret_device);
}

/* With subsystem ids or without: remove_id takes the first id that fits, and that would be the
 * boot's. */
bool binding_id_is_from_boot(const struct kernel *kernel, const char *address)
{
	unsigned int vendor, device;
	char options[4096];

	if (!read_ids(kernel, address, &vendor, &device) ||
		kernel->ops->module_options(kernel->context, "vfio-pci", options, sizeof(options)) <
			0)
		return true;
	return binding_options_have_id(options, vendor, device);
}

/* Into a field of zeroes: a plan has many steps, and snprintf takes ten times as long. */
#define FILL(field, text) memccpy(field, text, '\0', sizeof(field) - 1)

static struct step make_step(const char *operation, const char *subject, const char *argument,
	const char *original, enum step_state state)
{
	struct step step = {.state = state};

	FILL(step.operation, operation);
	FILL(step.subject, subject);
	FILL(step.argument, argument);
	FILL(step.original, original);
	return step;
}

static int add_step(struct steps *steps, struct step step, const char *why)
{
	FILL(step.why, why);
	return steps_add(steps, &step) ? 0 : -ENOMEM;
}

int binding_plan_steps(
	const struct loan_function *function, enum step_state state, struct steps *steps)
{
	const char *address = function->address;
	char why[STEP_TEXT_SIZE];
	int r;

	snprintf(why, sizeof(why), "only %s can bind to it", function->target);
	r = add_step(steps,
		make_step(OVERRIDE, address, function->target, function->driver_override, state),
		why);
	if (r == 0 && *function->home_driver)
		r = add_step(steps,
			make_step(UNBIND, address, function->home_driver, function->home_module,
				state),
			"the host's driver releases it");
	if (r == 0)
		r = add_step(steps, make_step(BIND, address, function->target, "", state),
			"ready for the VM");
	return r;
}

static bool has_step(const struct steps *steps, const char *operation, const char *address)
{
	for (size_t i = 0; i < steps->count; i++) {
		if (strcmp(steps->items[i].operation, operation) == 0 &&
			strcmp(steps->items[i].subject, address) == 0)
			return true;
	}
	return false;
}

bool binding_has_step(const struct steps *steps, const char *address)
{
	return has_step(steps, BIND, address);
}

int binding_plan_load(const char *driver, struct steps *steps)
{
	return add_step(steps, make_step(LOAD, driver, driver, "", STEP_PLANNED),
		"the driver is not loaded yet");
}

int binding_plan_id(const struct kernel *kernel, const char *address, struct steps *steps)
{
	struct step step = {.operation = ID, .state = STEP_DONE};
	unsigned int vendor, device;

	if (has_step(steps, ID, address) || !read_ids(kernel, address, &vendor, &device) ||
		binding_id_is_from_boot(kernel, address))
		return 0;
	snprintf(step.subject, sizeof(step.subject), "%s", address);
	snprintf(step.argument, sizeof(step.argument), "%04x %04x", vendor, device);
	return steps_add(steps, &step) ? 0 : -ENOMEM;
}

const struct operation binding_operations[] = {
	{.name = BIND,
		.is_of_function = true,
		.apply_text = BIND_TEXT,
		.undo_text = UNBIND_TEXT,
		.look = look_returnable,
		.apply = apply_bind,
		.undo = undo_bind},
	{.name = ID, .undo = undo_id},
	{.name = LOAD, .apply = apply_load},
	/* half a bind */
	{.name = OVERRIDE,
		.is_of_function = true,
		.apply_text = "override {subject}: {argument}",
		.undo_text = "override {subject}: {original}",
		.is_minor = true,
		.apply = apply_override,
		.undo = undo_override},
	{.name = UNBIND,
		.is_of_function = true,
		.apply_text = UNBIND_TEXT,
		.undo_text = BIND_TEXT,
		.look = look_unheld,
		.apply = apply_unbind,
		.undo = undo_unbind},
	{.name = UNBIND_COUNTED,
		.is_of_function = true,
		.apply_text = UNBIND_TEXT,
		.undo_text = BIND_TEXT,
		.look = look_unheld,
		.apply = apply_unbind,
		.undo = undo_unbind},
	{.name = NULL},
};
