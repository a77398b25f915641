/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads PCI functions from sysfs. */

#include "pci.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES "sys/bus/pci/devices"
#define DRIVERS "sys/bus/pci/drivers"

void pci_path(const char *address, const char *attribute, char *buffer, size_t size)
{
	const char *parts[] = {
		DEVICES "/", address, attribute ? "/" : "", attribute ? attribute : ""};
	char *end = buffer;

	/* a host has hundreds of these: snprintf() would be a tenth of a plan's time */
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && end; i++) {
		end = i ? end - 1 : end;
		end = memccpy(end, parts[i], '\0', size - (size_t)(end - buffer));
	}
	buffer[size - 1] = '\0';
}

static ssize_t read_attribute(const struct kernel *kernel, const char *address,
	const char *attribute, char *buffer, size_t size)
{
	char path[PCI_PATH_SIZE];

	pci_path(address, attribute, path, sizeof(path));
	return kernel_read(kernel, path, buffer, size);
}

/* sysfs writes these as 0x10de. */
static bool take_id(
	const struct kernel *kernel, const char *address, const char *attribute, uint32_t *ret)
{
	char text[16];
	unsigned long long value;

	if (read_attribute(kernel, address, attribute, text, sizeof(text)) < 0 ||
		strncmp(text, "0x", 2) != 0 || parse_unsigned(text + 2, 16, UINT32_MAX, &value) < 0)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* What is missing or odd in a captured tree reads as 0. */
static uint32_t read_id(const struct kernel *kernel, const char *address, const char *attribute)
{
	uint32_t id = 0;

	take_id(kernel, address, attribute, &id);
	return id;
}

long pci_read_group(const struct kernel *kernel, const char *address)
{
	char path[PCI_PATH_SIZE], name[16];
	unsigned long long group;

	pci_path(address, "iommu_group", path, sizeof(path));
	if (kernel_link(kernel, path, name, sizeof(name)) < 0)
		return PCI_NO_GROUP;
	return parse_unsigned(name, 10, INT32_MAX, &group) < 0 ? PCI_NO_GROUP : (long)group;
}

static bool read_flag(const struct kernel *kernel, const char *address, const char *attribute)
{
	char text[8];

	return read_attribute(kernel, address, attribute, text, sizeof(text)) > 0 && text[0] == '1';
}

/* Takes the @digits of a field of a modalias, after its @name. */
static bool take_field(const char **text, const char *name, size_t digits, uint16_t *ret)
{
	size_t length = strlen(name);
	const char *start = *text + length;
	unsigned long long value;
	char copy[8 + 1];

	if (strncmp(*text, name, length) != 0 || strnlen(start, digits) < digits)
		return false;
	memcpy(copy, start, digits);
	copy[digits] = '\0';
	if (parse_unsigned(copy, 16, UINT16_MAX, &value) < 0)
		return false;
	*text = start + digits;
	*ret = (uint16_t)value;
	return true;
}

/* "pci:v00008086d000015F3sv00001028sd00000A1Bbc02sc00i00": all ids in one file. False where there
 * is none, as in a tree that was captured without it. */
static bool read_modalias(const struct kernel *kernel, struct pci_function *function)
{
	uint16_t base, sub;
	const char *rest;
	char text[128];

	if (read_attribute(kernel, function->address, "modalias", text, sizeof(text)) < 0)
		return false;
	rest = text;
	if (!take_field(&rest, "pci:v", 8, &function->vendor_id) ||
		!take_field(&rest, "d", 8, &function->device_id) ||
		!take_field(&rest, "sv", 8, &function->subsystem_vendor_id) ||
		!take_field(&rest, "sd", 8, &function->subsystem_device_id) ||
		!take_field(&rest, "bc", 2, &base) || !take_field(&rest, "sc", 2, &sub))
		return false;
	function->class_code = (uint16_t)(base << 8 | sub);
	return true;
}

static void read_ids(const struct kernel *kernel, struct pci_function *function)
{
	const char *address = function->address;

	function->vendor_id = (uint16_t)read_id(kernel, address, "vendor");
	function->device_id = (uint16_t)read_id(kernel, address, "device");
	function->subsystem_vendor_id = (uint16_t)read_id(kernel, address, "subsystem_vendor");
	function->subsystem_device_id = (uint16_t)read_id(kernel, address, "subsystem_device");
	function->class_code = (uint16_t)(read_id(kernel, address, "class") >> 8);
}

bool pci_is_on_bus(const struct kernel *kernel, const char *address)
{
	cleanup(names_done) struct names files = {0};
	char path[PCI_PATH_SIZE];

	pci_path(address, NULL, path, sizeof(path));
	return kernel_list(kernel, path, &files) != -ENOENT;
}

void pci_read_identity(
	const struct kernel *kernel, const char *address, char ret[static PCI_IDENTITY_SIZE])
{
	static const char *const names[] = {
		"vendor", "device", "subsystem_vendor", "subsystem_device"};
	uint32_t ids[sizeof(names) / sizeof(names[0])];

	ret[0] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!take_id(kernel, address, names[i], &ids[i]))
			return;
	}
	snprintf(ret, PCI_IDENTITY_SIZE, "%04x:%04x %04x:%04x", (uint16_t)ids[0], (uint16_t)ids[1],
		(uint16_t)ids[2], (uint16_t)ids[3]);
}

static bool is_bridge(const struct kernel *kernel, const char *address)
{
	char path[PCI_PATH_SIZE];

	pci_path(address, "pci_bus", path, sizeof(path));
	return kernel_has_folder(kernel, path);
}

/* boot_vga is for VGA devices only. Newer kernels have boot_display for every display: the first of
 * them beside boot_vga, later ones in drm/cardN, where it is gone when the driver lets the card go.
 */
static bool is_boot_display(const struct kernel *kernel, const char *address)
{
	cleanup(names_done) struct names cards = {0};
	char path[PCI_PATH_SIZE];

	if (read_flag(kernel, address, "boot_vga") || read_flag(kernel, address, "boot_display"))
		return true;
	pci_path(address, "drm", path, sizeof(path));
	if (kernel_list(kernel, path, &cards) < 0)
		return false;
	for (size_t i = 0; i < cards.count; i++) {
		char name[64];

		snprintf(name, sizeof(name), "drm/%.32s/boot_display", cards.names[i]);
		if (strncmp(cards.names[i], "card", 4) == 0 && read_flag(kernel, address, name))
			return true;
	}
	return false;
}

static void read_parent(const struct kernel *kernel, struct pci_function *function)
{
	char path[PCI_PATH_SIZE];

	pci_path(function->address, "physfn", path, sizeof(path));
	if (kernel_link(kernel, path, function->parent, sizeof(function->parent)) < 0)
		function->parent[0] = '\0';
}

static void read_function(
	const struct kernel *kernel, const char *address, struct pci_function *ret)
{
	*ret = (struct pci_function){.iommu_group = pci_read_group(kernel, address)};
	snprintf(ret->address, sizeof(ret->address), "%s", address);
	if (!read_modalias(kernel, ret))
		read_ids(kernel, ret);
	read_parent(kernel, ret);
	ret->bridge = ret->class_code >> 8 == PCI_CLASS_BRIDGE && is_bridge(kernel, address);
	pci_read_driver(kernel, address, ret->driver, sizeof(ret->driver));
	ret->boot_display = pci_is_display(ret) && is_boot_display(kernel, address);
}

int pci_scan(const struct kernel *kernel, struct pci_functions *ret, struct error *error)
{
	cleanup(names_done) struct names names = {0};
	struct pci_function *items;
	size_t count = 0;
	int r = kernel_list(kernel, DEVICES, &names);

	if (r < 0 && r != -ENOENT)
		return error_set_errno(error, r, "list the PCI functions in /" DEVICES);
	items = calloc(names.count + 1, sizeof(*items));
	if (!items)
		return error_set_errno(error, -ENOMEM, "list the PCI functions");
	for (size_t i = 0; i < names.count; i++) {
		char device[PCI_ADDRESS_SIZE];

		if (pci_device_parse(names.names[i], device, sizeof(device)) == 0 &&
			strcmp(device, names.names[i]) == 0)
			read_function(kernel, names.names[i], &items[count++]);
	}
	*ret = (struct pci_functions){.items = items, .count = count};
	return 0;
}

void pci_functions_done(struct pci_functions *functions)
{
	free(functions->items);
	*functions = (struct pci_functions){0};
}

static int compare_address(const void *address, const void *function)
{
	return strcmp(address, ((const struct pci_function *)function)->address);
}

const struct pci_function *pci_find(const struct pci_functions *functions, const char *address)
{
	if (!functions->count)
		return NULL;
	return bsearch(address, functions->items, functions->count, sizeof(*functions->items),
		compare_address);
}

/* Copies @count hexadecimal digits in lower case; NULL when they are not there. */
static const char *take_hex(const char *text, size_t count, char **output)
{
	for (size_t i = 0; i < count; i++) {
		if (!isxdigit((unsigned char)text[i]))
			return NULL;
		*(*output)++ = (char)tolower((unsigned char)text[i]);
	}
	return text + count;
}

static const char *take_character(const char *text, char character, char **output)
{
	if (!text || *text != character)
		return NULL;
	*(*output)++ = character;
	return text + 1;
}

/* Takes the slot "BB:DD" and, if it is there, ".F". */
static bool take_slot(const char *text, char **output)
{
	text = take_hex(text, 2, output);
	text = take_character(text, ':', output);
	text = text ? take_hex(text, 2, output) : NULL;
	if (text && *text == '.') {
		text = take_character(text, '.', output);
		text = take_hex(text, 1, output);
	}
	return text && !*text;
}

int pci_device_parse(const char *text, char *ret, size_t size)
{
	char device[PCI_ADDRESS_SIZE] = "0000:";
	char *output = device + strlen(device);
	const char *colon = strchr(text, ':');
	size_t domain = colon ? (size_t)(colon - text) : 0;

	if (domain >= 4 && domain <= 8) {
		output = device;
		text = take_hex(text, domain, &output);
		text = take_character(text, ':', &output);
	}
	if (!text || !take_slot(text, &output))
		return -EINVAL;
	*output = '\0';
	if (strlen(device) >= size)
		return -EINVAL;
	strcpy(ret, device);
	return 0;
}

bool pci_device_has(const char *device, const char *address)
{
	return strchr(device, '.') ? strcmp(device, address) == 0 : pci_same_card(device, address);
}

bool pci_same_card(const char *left, const char *right)
{
	size_t length = strcspn(left, ".");

	return length == strcspn(right, ".") && strncmp(left, right, length) == 0;
}

bool pci_is_display(const struct pci_function *function)
{
	return function->class_code >> 8 == PCI_CLASS_DISPLAY;
}

size_t pci_count_virtual(const struct pci_functions *functions, const struct pci_function *function)
{
	size_t count = 0;

	for (size_t i = 0; i < functions->count; i++)
		count += strcmp(functions->items[i].parent, function->address) == 0;
	return count;
}

int pci_read_driver(const struct kernel *kernel, const char *address, char *ret, size_t size)
{
	char path[PCI_PATH_SIZE];
	int r;

	pci_path(address, "driver", path, sizeof(path));
	r = kernel_link(kernel, path, ret, size);
	if (r == -ENOENT) {
		ret[0] = '\0';
		return 0;
	}
	return r;
}

int pci_read_override(const struct kernel *kernel, const char *address, char *ret, size_t size)
{
	ssize_t length = read_attribute(kernel, address, "driver_override", ret, size);

	if (length < 0 || strcmp(ret, "(null)") == 0)
		ret[0] = '\0';
	return length < 0 && length != -ENOENT ? (int)length : 0;
}

void pci_read_power_state(
	const struct kernel *kernel, const char *address, char ret[static PCI_POWER_STATE_SIZE])
{
	if (read_attribute(kernel, address, "power_state", ret, PCI_POWER_STATE_SIZE) < 0)
		ret[0] = '\0';
}

/* True when it was put to sleep in D3cold. For a device that is gone the kernel reports D3cold too,
 * once it has noticed; but that one was not put to sleep. */
static bool is_asleep(const struct kernel *kernel, const char *address)
{
	char text[PCI_POWER_STATE_SIZE];

	pci_read_power_state(kernel, address, text);
	return strcmp(text, "D3cold") == 0 &&
		(read_attribute(kernel, address, "power/runtime_status", text, sizeof(text)) < 0 ||
			strcmp(text, "active") != 0);
}

bool pci_is_dead(const struct kernel *kernel, const char *address)
{
	static const unsigned char gone[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	unsigned char start[sizeof(gone) + 1];
	ssize_t length;

	/* reading wakes a device only if it is in D3cold (pci_config_pm_runtime_get) */
	if (is_asleep(kernel, address))
		return false;
	/* of a virtual function the ids read so too, its command and status do not */
	length = read_attribute(kernel, address, "config", (char *)start, sizeof(start));
	return length == -EFBIG && memcmp(start, gone, sizeof(gone)) == 0;
}

int pci_driver_module(const struct kernel *kernel, const char *driver, char *ret, size_t size)
{
	char path[PCI_PATH_SIZE];
	int r;

	snprintf(path, sizeof(path), DRIVERS "/%s/module", driver);
	r = kernel_link(kernel, path, ret, size);
	if (r == -ENOENT && pci_driver_exists(kernel, driver)) {
		ret[0] = '\0';
		return 0;
	}
	return r;
}

bool pci_driver_exists(const struct kernel *kernel, const char *driver)
{
	char path[PCI_PATH_SIZE];

	snprintf(path, sizeof(path), DRIVERS "/%s", driver);
	return kernel_has_folder(kernel, path);
}

int pci_alias_modules(
	const struct kernel *kernel, const char *address, struct names *ret, struct error *error)
{
	char path[PCI_PATH_SIZE], alias[256];

	pci_path(address, "modalias", path, sizeof(path));
	if (kernel_read(kernel, path, alias, sizeof(alias)) <= 0)
		return 0;
	return kernel->ops->module_lookup(kernel->context, alias, ret, error);
}

/* The driver that @module has; NULL when it has none, or is not loaded. */
static const char *find_driver_of(
	const struct kernel *kernel, const struct names *drivers, const char *module)
{
	char name[PCI_DRIVER_SIZE];

	for (size_t i = 0; i < drivers->count; i++) {
		if (pci_driver_module(kernel, drivers->names[i], name, sizeof(name)) == 0 &&
			strcmp(name, module) == 0)
			return drivers->names[i];
	}
	return NULL;
}

int pci_find_own_driver(const struct kernel *kernel, const char *address, char *ret, size_t size)
{
	cleanup(names_done) struct names modules = {0};
	cleanup(names_done) struct names drivers = {0};
	const char *found = NULL;
	int r = pci_alias_modules(kernel, address, &modules, NULL);

	if (r == 0)
		r = kernel_list_folders(kernel, DRIVERS, &drivers);
	if (r < 0)
		return r;
	for (size_t i = 0; !found && i < modules.count; i++)
		found = find_driver_of(kernel, &drivers, modules.names[i]);
	snprintf(ret, size, "%s", found ? found : "");
	return 0;
}

bool pci_driver_is_vfio(const char *driver)
{
	return strstr(driver, "vfio-pci") || strstr(driver, "vfio_pci");
}
