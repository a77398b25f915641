/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Operations: move the host's text console off a card and back. */

#include "console.h"

#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PLATFORM_DRIVERS "sys/bus/platform/drivers"
#define PLATFORM_DEVICES "sys/bus/platform/devices"
#define CONSOLES "sys/class/vtconsole"
#define PATH_SIZE 384

/* The firmware's framebuffers, and the name that /proc/iomem gives the memory of each. */
static const struct {
	const char *driver;
	const char *memory;
} firmware[] = {
	{"efi-framebuffer", "efifb"},
	{"simple-framebuffer", "simplefb"},
	{"vesa-framebuffer", "vesafb"},
};

/* ---- operations */

static bool device_exists(const struct kernel *kernel, const char *device)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), PLATFORM_DEVICES "/%.255s", device);
	return kernel_has_folder(kernel, path);
}

static bool device_is_bound(const struct kernel *kernel, const char *device)
{
	char path[PATH_SIZE], driver[PCI_DRIVER_SIZE];

	snprintf(path, sizeof(path), PLATFORM_DEVICES "/%.255s/driver", device);
	return kernel_link(kernel, path, driver, sizeof(driver)) == 0;
}

static int switch_framebuffer(
	const struct kernel *kernel, const struct step *step, bool bound, struct error *error)
{
	const char *file = bound ? "bind" : "unbind";
	char path[PATH_SIZE];
	int r;

	/* without the device there is nothing to unbind, and nothing to bind again */
	if (!device_exists(kernel, step->original) ||
		device_is_bound(kernel, step->original) == bound)
		return 0;
	snprintf(path, sizeof(path), PLATFORM_DRIVERS "/%.64s/%s", step->argument, file);
	r = kernel_write(kernel, path, step->original);
	if (r < 0)
		return error_set_errno(error, r, "write %s to /%s", step->original, path);
	if (device_is_bound(kernel, step->original) != bound)
		return error_set(
			error, -EIO, "write %s to /%s: it had no effect", step->original, path);
	return 0;
}

static int apply_framebuffer(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	return switch_framebuffer(kernel, step, false, error);
}

static int undo_framebuffer(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	return switch_framebuffer(kernel, step, true, error);
}

static bool console_is_bound(const struct kernel *kernel, const char *console)
{
	char path[PATH_SIZE], text[8];

	snprintf(path, sizeof(path), CONSOLES "/%s/bind", console);
	return kernel_read(kernel, path, text, sizeof(text)) > 0 && text[0] == '1';
}

static int switch_console(
	const struct kernel *kernel, const char *console, bool bound, struct error *error)
{
	const char *value = bound ? "1" : "0";
	char path[PATH_SIZE];
	int r;

	if (console_is_bound(kernel, console) == bound)
		return 0;
	snprintf(path, sizeof(path), CONSOLES "/%s/bind", console);
	r = kernel_write(kernel, path, value);
	/* fbcon disappears with the last framebuffer, and its console with it */
	if (r < 0 && r != -ENOENT)
		return error_set_errno(error, r, "write %s to /%s", value, path);
	return 0;
}

static int apply_blank(const struct kernel *kernel, const struct step *step, struct error *error)
{
	return switch_console(kernel, step->argument, false, error);
}

static int undo_blank(const struct kernel *kernel, const struct step *step, struct error *error)
{
	return switch_console(kernel, step->argument, true, error);
}

/* The console that draws into framebuffers, "vtcon1"; "" when there is none. */
static void find_console(const struct kernel *kernel, char *ret, size_t size)
{
	cleanup(names_done) struct names names = {0};
	char path[PATH_SIZE], text[64];

	ret[0] = '\0';
	if (kernel_list(kernel, CONSOLES, &names) < 0)
		return;
	for (size_t i = 0; i < names.count; i++) {
		snprintf(path, sizeof(path), CONSOLES "/%.64s/name", names.names[i]);
		if (kernel_read(kernel, path, text, sizeof(text)) > 0 &&
			strstr(text, "frame buffer"))
			snprintf(ret, size, "%.31s", names.names[i]);
	}
}

static bool has_framebuffer(const struct kernel *kernel)
{
	auto_free char *text = kernel_read_text(kernel, "proc/fb");

	return text && *text;
}

static int apply_show(const struct kernel *kernel, const struct step *step, struct error *error)
{
	char console[32];

	(void)step;
	find_console(kernel, console, sizeof(console));
	return *console && has_framebuffer(kernel) ? switch_console(kernel, console, true, error)
						   : 0;
}

const struct operation console_operations[] = {
	{.name = "blank", .apply = apply_blank, .undo = undo_blank},
	{.name = "framebuffer",
		.apply_text = "unbind {original} from {argument}",
		.undo_text = "bind {original} to {argument}",
		.apply = apply_framebuffer,
		.undo = undo_framebuffer},
	{.name = "show", .apply = apply_show},
	{.name = NULL},
};

/* ---- what is there */

static const struct step *find_step(
	const struct loan *loan, const char *operation, const char *address)
{
	for (size_t i = 0; loan && i < loan->steps.count; i++) {
		const struct step *step = &loan->steps.items[i];

		if (strcmp(step->operation, operation) == 0 && strcmp(step->subject, address) == 0)
			return step;
	}
	return NULL;
}

bool console_memory_is_inside(
	const char *iomem, const char *address, const char *memory, bool *ret_anywhere)
{
	size_t outside = SIZE_MAX; /* indent of the function's line, while inside it */

	for (const char *line = iomem; *line;) {
		size_t length = strcspn(line, "\n");
		size_t indent = strspn(line, " ");
		const char *name = memmem(line, length, " : ", 3);
		size_t name_length = name ? length - (size_t)(name + 3 - line) : 0;

		if (outside != SIZE_MAX && indent <= outside)
			outside = SIZE_MAX;
		if (name && name_length == strlen(memory) &&
			memcmp(name + 3, memory, name_length) == 0) {
			*ret_anywhere = true;
			if (outside != SIZE_MAX)
				return true;
		}
		if (name && name_length == strlen(address) &&
			memcmp(name + 3, address, name_length) == 0)
			outside = indent;
		line += length + (line[length] == '\n');
	}
	return false;
}

/* If a framebuffer's driver could not reserve its memory, /proc/iomem does not name it: then it
 * belongs to the boot display. */
static bool framebuffer_is_of(
	const struct kernel *kernel, const struct pci_function *function, const char *memory)
{
	auto_free char *iomem = kernel_read_text(kernel, "proc/iomem");
	bool anywhere = false;

	if (iomem && console_memory_is_inside(iomem, function->address, memory, &anywhere))
		return true;
	return !anywhere && function->boot_display;
}

/* The device bound to a driver of the firmware's framebuffers: "efi-framebuffer.0". */
static bool find_bound(
	const struct kernel *kernel, const char *driver, char *ret_device, size_t size)
{
	cleanup(names_done) struct names names = {0};
	size_t length = strlen(driver);
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), PLATFORM_DRIVERS "/%s", driver);
	if (kernel_list(kernel, path, &names) < 0)
		return false;
	for (size_t i = 0; i < names.count; i++) {
		if (strncmp(names.names[i], driver, length) != 0 || names.names[i][length] != '.')
			continue;
		snprintf(ret_device, size, "%.63s", names.names[i]);
		return true;
	}
	return false;
}

static void find_framebuffer(
	const struct kernel *kernel, const struct pci_function *function, struct console_use *ret)
{
	char device[sizeof(ret->framebuffer)];

	for (size_t i = 0; i < sizeof(firmware) / sizeof(firmware[0]); i++) {
		if (!find_bound(kernel, firmware[i].driver, device, sizeof(device)) ||
			!framebuffer_is_of(kernel, function, firmware[i].memory))
			continue;
		strcpy(ret->framebuffer, device);
		snprintf(ret->framebuffer_driver, sizeof(ret->framebuffer_driver), "%s",
			firmware[i].driver);
		return;
	}
}

static bool has_own_framebuffer(const struct kernel *kernel, const char *address)
{
	char path[PCI_PATH_SIZE];

	pci_path(address, "graphics", path, sizeof(path));
	return kernel_has_folder(kernel, path);
}

/* vfio_pci_vga_init: only VGA devices are cleared of what the firmware left. */
static bool is_cleared_by_vfio(const struct pci_function *function, const char *target)
{
	return function->class_code == 0x0300 && pci_driver_is_vfio(target);
}

static void find_standing(const struct loan *standing, const char *address, struct console_use *use)
{
	const struct step *framebuffer = find_step(standing, "framebuffer", address);
	const struct step *blank = find_step(standing, "blank", address);

	if (framebuffer) {
		snprintf(
			use->framebuffer, sizeof(use->framebuffer), "%.63s", framebuffer->original);
		snprintf(use->framebuffer_driver, sizeof(use->framebuffer_driver), "%.31s",
			framebuffer->argument);
	}
	if (blank)
		snprintf(use->blank, sizeof(use->blank), "%.31s", blank->argument);
	use->show = find_step(standing, "show", address);
}

void console_find_use(const struct kernel *kernel, const struct pci_function *function,
	const struct console_options *options, struct console_use *ret)
{
	char console[32];

	*ret = (struct console_use){0};
	if (!pci_is_display(function))
		return;
	find_standing(options->standing, function->address, ret);
	if (!*ret->framebuffer)
		find_framebuffer(kernel, function, ret);
	ret->framebuffer_ends = *ret->framebuffer && is_cleared_by_vfio(function, options->target);
	find_console(kernel, console, sizeof(console));
	if (!*console || !console_is_bound(kernel, console))
		return;
	if (!*ret->blank && options->is_unloaded && has_own_framebuffer(kernel, function->address))
		strcpy(ret->blank, console);
	ret->show = ret->show || *ret->blank;
}

/* ---- planning */

static int add_step(struct steps *steps, const struct step *step)
{
	return steps_add(steps, step) ? 0 : -ENOMEM;
}

int console_plan_blank(const struct console_use *use, const char *address, struct steps *steps)
{
	struct step step = {
		.operation = "blank", .why = "the console would keep the driver's modules in use"};

	if (!*use->blank)
		return 0;
	snprintf(step.subject, sizeof(step.subject), "%s", address);
	snprintf(step.argument, sizeof(step.argument), "%s", use->blank);
	return add_step(steps, &step);
}

int console_plan_framebuffer(
	const struct console_use *use, const char *address, struct steps *steps)
{
	struct step step = {.operation = "framebuffer",
		.why = "the firmware's framebuffer holds the card's memory"};

	if (!*use->framebuffer)
		return 0;
	snprintf(step.subject, sizeof(step.subject), "%s", address);
	snprintf(step.argument, sizeof(step.argument), "%s", use->framebuffer_driver);
	snprintf(step.original, sizeof(step.original), "%s", use->framebuffer);
	return add_step(steps, &step);
}

int console_plan_show(const struct console_use *use, const char *address, struct steps *steps)
{
	struct step step = {.operation = "show",
		.argument = "console",
		.why = "the text console goes to the displays that are left"};

	if (!use->show)
		return 0;
	snprintf(step.subject, sizeof(step.subject), "%s", address);
	return add_step(steps, &step);
}
