/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake_kernel.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define DEVICES "sys/bus/pci/devices"
#define DRIVERS "sys/bus/pci/drivers"

/* A test that forgot to wake a sleeper must not leave it behind for ever. */
#define SLEEP_MAX_MS 20000u

struct fake *fake_new(void)
{
	struct fake *fake = mmap(
		NULL, sizeof(*fake), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(fake, MAP_FAILED);
	fake->vfio_owned_group = -1;
	return fake;
}

void fake_free(struct fake *fake)
{
	munmap(fake, sizeof(*fake));
}

struct fake_function *fake_function(struct fake *fake, const char *address)
{
	for (size_t i = 0; i < fake->function_count; i++) {
		if (strcmp(fake->functions[i].address, address) == 0)
			return &fake->functions[i];
	}
	return NULL;
}

struct fake_driver *fake_driver(struct fake *fake, const char *name)
{
	for (size_t i = 0; i < fake->driver_count; i++) {
		if (strcmp(fake->drivers[i].name, name) == 0)
			return &fake->drivers[i];
	}
	return NULL;
}

/* - and _ are the same in a module's name, not in a driver's. */
static bool same_module(const char *left, const char *right)
{
	for (; *left && *right; left++, right++) {
		if ((*left == '-' ? '_' : *left) != (*right == '-' ? '_' : *right))
			return false;
	}
	return *left == *right;
}

struct fake_module *fake_module(struct fake *fake, const char *name)
{
	for (size_t i = 0; i < fake->module_count; i++) {
		if (same_module(fake->modules[i].name, name))
			return &fake->modules[i];
	}
	return NULL;
}

struct fake_function *fake_add_function(struct fake *fake, const char *address,
	unsigned int class_code, long group, const char *driver)
{
	struct fake_function *function = &fake->functions[fake->function_count++];

	cr_assert_leq(fake->function_count, FAKE_FUNCTIONS);
	*function = (struct fake_function){.class_code = class_code, .group = group};
	snprintf(function->address, sizeof(function->address), "%s", address);
	snprintf(function->driver, sizeof(function->driver), "%s", driver);
	strcpy(function->power_state, "D0");
	return function;
}

struct fake_driver *fake_add_driver(struct fake *fake, const char *name, const char *module)
{
	struct fake_driver *driver = &fake->drivers[fake->driver_count++];

	cr_assert_leq(fake->driver_count, FAKE_DRIVERS);
	*driver = (struct fake_driver){.registered = true};
	snprintf(driver->name, sizeof(driver->name), "%s", name);
	snprintf(driver->module, sizeof(driver->module), "%s", module);
	if (*module) {
		struct fake_module *added = &fake->modules[fake->module_count++];

		cr_assert_leq(fake->module_count, FAKE_MODULES);
		snprintf(added->name, sizeof(added->name), "%s", module);
		added->state = FAKE_LOADED;
	}
	return driver;
}

struct fake_file *fake_file(struct fake *fake, const char *path)
{
	for (size_t i = 0; i < fake->file_count; i++) {
		if (!fake->files[i].gone && strcmp(fake->files[i].path, path) == 0)
			return &fake->files[i];
	}
	return NULL;
}

static void add_file(struct fake *fake, const char *path, const char *text, bool link)
{
	struct fake_file *file = &fake->files[fake->file_count++];

	cr_assert_leq(fake->file_count, FAKE_FILES);
	*file = (struct fake_file){.link = link};
	snprintf(file->path, sizeof(file->path), "%s", path);
	snprintf(file->text, sizeof(file->text), "%s", text);
}

void fake_add_file(struct fake *fake, const char *path, const char *text)
{
	add_file(fake, path, text, false);
}

void fake_add_link(struct fake *fake, const char *path, const char *target)
{
	add_file(fake, path, target, true);
}

void fake_add_power(struct fake *fake, const char *address)
{
	struct fake_function *function = fake_function(fake, address);

	cr_assert_not_null(function);
	if (!function)
		return;
	function->power = true;
	strcpy(function->control, "auto");
	strcpy(function->runtime_status, "active");
	strcpy(function->d3cold_allowed, "1");
	strcpy(function->reset_method, "flr bus");
	strcpy(function->reset_offers, "flr bus");
}

static void add_card(struct fake *fake, const char *slot, long group)
{
	static const struct {
		unsigned int device, class_code;
		const char *driver;
	} kinds[] = {
		{0x2704, 0x0300, "nouveau"},
		{0x22bb, 0x0403, "snd_hda_intel"},
		{0x1ada, 0x0c03, "xhci_hcd"},
	};

	for (unsigned int i = 0; i < 3; i++) {
		struct fake_function *function;
		char address[PCI_ADDRESS_SIZE];

		snprintf(address, sizeof(address), "%s.%u", slot, i);
		function = fake_add_function(
			fake, address, kinds[i].class_code, group, kinds[i].driver);
		function->vendor = 0x10de;
		function->device = kinds[i].device;
		function->subsystem_vendor = 0x1458;
		function->subsystem_device = 0x3702;
	}
}

static void add_matching_driver(
	struct fake *fake, const char *name, const char *module, struct fake_id id)
{
	struct fake_driver *driver = fake_add_driver(fake, name, module);

	driver->ids[driver->id_count++] = id;
}

void fake_fill(struct fake *fake)
{
	struct fake_function *port;

	port = fake_add_function(fake, "0000:00:01.0", 0x0604, 15, "pcieport");
	port->bridge = true;
	add_card(fake, "0000:01:00", 15);
	add_card(fake, "0000:02:00", 16);
	fake_add_function(fake, "0000:03:00.0", 0x0200, 17, "e1000e")->vendor = 0x8086;
	add_matching_driver(fake, "pcieport", "", (struct fake_id){.class_code = 0x0604});
	add_matching_driver(fake, "nouveau", "nouveau",
		(struct fake_id){.vendor = 0x10de, .class_code = 0x0300});
	add_matching_driver(fake, "snd_hda_intel", "snd_hda_intel",
		(struct fake_id){.vendor = 0x10de, .class_code = 0x0403});
	add_matching_driver(fake, "xhci_hcd", "xhci_pci", (struct fake_id){.class_code = 0x0c03});
	add_matching_driver(fake, "e1000e", "e1000e", (struct fake_id){.vendor = 0x8086});
	/* vfio-pci's own table has no ids: it takes what driver_override or new_id gives it */
	fake_add_driver(fake, "vfio-pci", "vfio_pci")->registered = false;
	fake_module(fake, "vfio_pci")->state = FAKE_LOADABLE;
}

static void note(struct fake *fake, const char *path, const char *value)
{
	size_t room = sizeof(fake->writes) - fake->write_length;
	int length = snprintf(fake->writes + fake->write_length, room, "%s = %s\n", path,
		strcmp(value, "\n") == 0 ? "\\n" : value);

	if (length > 0 && (size_t)length < room)
		fake->write_length += (size_t)length;
}

void fake_restart(struct fake *fake)
{
	fake->operations = 0;
	fake->event = (struct fake_event){0};
	fake->stop = 0;
	fake->writes[0] = '\0';
	fake->write_length = 0;
}

static void fill_disk(pid_t pid)
{
	struct rlimit limit;

	prlimit(pid, RLIMIT_FSIZE, NULL, &limit);
	limit.rlim_cur = 0;
	prlimit(pid, RLIMIT_FSIZE, &limit, NULL);
}

void fake_remove_card(struct fake *fake, const char *slot)
{
	size_t kept = 0;

	for (size_t i = 0; i < fake->function_count; i++) {
		if (!pci_device_has(slot, fake->functions[i].address))
			fake->functions[kept++] = fake->functions[i];
	}
	fake->function_count = kept;
}

/* Every operation passes here first. 0 or the error that it is to fail with. */
static int begin(struct fake *fake)
{
	const struct fake_event *event = &fake->event;

	if (++fake->operations != event->at)
		return 0;
	switch (event->kind) {
	case FAKE_FAIL:
		return event->status;
	case FAKE_KILL:
		kill(event->pid, SIGKILL);
		return 0;
	case FAKE_KILL_SELF:
		kill(getpid(), SIGKILL);
		return 0;
	case FAKE_STOP:
		fake->stop = 1;
		return 0;
	case FAKE_DISK_FULL:
		fill_disk(event->pid);
		return 0;
	case FAKE_REMOVE:
		fake_remove_card(fake, event->slot);
		return 0;
	case FAKE_KILL_AFTER:
		return 0;
	}
	return 0;
}

static int end(struct fake *fake, int r)
{
	if (fake->operations == fake->event.at && fake->event.kind == FAKE_KILL_AFTER)
		kill(getpid(), SIGKILL);
	return r;
}

/* ---- drivers/base/dd.c, drivers/pci/pci-driver.c */

static bool id_matches(const struct fake_id *id, const struct fake_function *function)
{
	return (!id->vendor || id->vendor == function->vendor) &&
		(!id->device || id->device == function->device) &&
		(!id->class_code || id->class_code == function->class_code);
}

/* pci_match_device: with an override only the driver of that name matches, whatever the id. */
static bool driver_matches(const struct fake_driver *driver, const struct fake_function *function)
{
	if (!driver->registered)
		return false;
	if (*function->override)
		return strcmp(function->override, driver->name) == 0;
	for (size_t i = 0; i < driver->new_id_count; i++) {
		if (id_matches(&driver->new_ids[i], function))
			return true;
	}
	for (size_t i = 0; i < driver->id_count; i++) {
		if (id_matches(&driver->ids[i], function))
			return true;
	}
	return false;
}

static void sleep_ms(unsigned int milliseconds)
{
	usleep(milliseconds * 1000);
}

static void device_lock(const struct fake_function *function)
{
	for (unsigned int waited = 0;
		*(volatile const bool *)&function->locked && waited < SLEEP_MAX_MS; waited++)
		sleep_ms(1);
}

static int probe_one(struct fake_driver *driver, struct fake_function *function)
{
	driver->probes++;
	if (driver->probe_error &&
		(!driver->refused || strcmp(driver->refused, function->address) == 0))
		return driver->probe_error;
	/* vfio_pci_probe refuses what is no endpoint */
	if (strcmp(driver->name, "vfio-pci") == 0 && function->bridge)
		return -EINVAL;
	snprintf(function->driver, sizeof(function->driver), "%s", driver->name);
	/* pm_runtime_allow */
	if (strcmp(driver->name, "vfio-pci") == 0)
		strcpy(function->control, "auto");
	return 0;
}

/* A probe's error lets the next driver try its luck. */
static void device_attach(struct fake *fake, struct fake_function *function)
{
	for (size_t i = 0; i < fake->driver_count && !*function->driver; i++) {
		if (driver_matches(&fake->drivers[i], function))
			probe_one(&fake->drivers[i], function);
	}
}

static void driver_attach(struct fake *fake, struct fake_driver *driver)
{
	for (size_t i = 0; i < fake->function_count; i++) {
		struct fake_function *function = &fake->functions[i];

		if (!*function->driver && driver_matches(driver, function))
			probe_one(driver, function);
	}
}

struct fake_function *fake_plug(
	struct fake *fake, const struct fake_function *as, const char *address)
{
	const struct fake_function copy = *as;
	struct fake_function *function =
		fake_add_function(fake, address, copy.class_code, copy.group, "");

	*function = copy;
	snprintf(function->address, sizeof(function->address), "%s", address);
	function->driver[0] = function->override[0] = '\0';
	device_attach(fake, function);
	return function;
}

/* The link goes first, then remove() runs, with the device's lock. */
static void device_release(struct fake_driver *driver, struct fake_function *function)
{
	function->driver[0] = '\0';
	/* pm_runtime_forbid */
	if (strcmp(driver->name, "vfio-pci") == 0)
		strcpy(function->control, "on");
	function->locked = true;
	sleep_ms(driver->remove_ms);
	for (unsigned int waited = 0; driver->remove_sleeps && waited < SLEEP_MAX_MS; waited++)
		sleep_ms(1);
	function->locked = false;
}

static int write_unbind(struct fake *fake, struct fake_driver *driver, const char *address)
{
	struct fake_function *function = fake_function(fake, address);

	if (!function || strcmp(function->driver, driver->name) != 0)
		return -ENODEV;
	device_lock(function);
	device_release(driver, function);
	return 0;
}

static int write_bind(struct fake *fake, struct fake_driver *driver, const char *address)
{
	struct fake_function *function = fake_function(fake, address);

	if (!function || !driver_matches(driver, function))
		return -ENODEV;
	device_lock(function);
	if (*function->driver ||
		(function->group == fake->vfio_owned_group &&
			strcmp(driver->name, "vfio-pci") != 0))
		return -EBUSY;
	return probe_one(driver, function);
}

static int write_drivers_probe(struct fake *fake, const char *address)
{
	struct fake_function *function = fake_function(fake, address);

	if (!function)
		return -ENODEV;
	if (function->group == fake->vfio_owned_group)
		return -EINVAL;
	device_lock(function);
	if (!*function->driver)
		device_attach(fake, function);
	return 0;
}

static int write_override(struct fake_function *function, const char *value)
{
	if (!*value)
		return 0; /* a write of zero bytes never reaches the kernel */
	if (strlen(value) >= sizeof(function->override))
		return -EINVAL;
	device_lock(function);
	snprintf(function->override, sizeof(function->override), "%.*s", (int)strcspn(value, "\n"),
		value);
	return 0;
}

static struct fake_id *find_new_id(struct fake_driver *driver, const struct fake_id *id)
{
	for (size_t i = 0; i < driver->new_id_count; i++) {
		if (driver->new_ids[i].vendor == id->vendor &&
			driver->new_ids[i].device == id->device)
			return &driver->new_ids[i];
	}
	return NULL;
}

static int write_id(struct fake *fake, struct fake_driver *driver, const char *value, bool add)
{
	struct fake_id id = {0};
	struct fake_id *known;

	if (sscanf(value, "%x %x", &id.vendor, &id.device) != 2)
		return -EINVAL;
	known = find_new_id(driver, &id);
	if (add && known)
		return -EEXIST;
	if (!add && !known)
		return -ENODEV;
	if (!add) {
		*known = driver->new_ids[--driver->new_id_count];
		return 0;
	}
	if (driver->new_id_count == FAKE_IDS)
		return -ENOMEM;
	driver->new_ids[driver->new_id_count++] = id;
	driver_attach(fake, driver);
	return 0;
}

/* ---- the platform bus */

#define PLATFORM "sys/bus/platform/drivers"

static bool switch_file(struct fake *fake, const char *path, bool there)
{
	for (size_t i = 0; i < fake->file_count; i++) {
		if (strcmp(fake->files[i].path, path) == 0 && fake->files[i].gone == there) {
			fake->files[i].gone = !there;
			return true;
		}
	}
	return false;
}

static bool has_folder(const struct fake *fake, const char *path)
{
	size_t length = strlen(path);

	for (size_t i = 0; i < fake->file_count; i++) {
		if (!fake->files[i].gone && strncmp(fake->files[i].path, path, length) == 0 &&
			fake->files[i].path[length] == '/')
			return true;
	}
	return false;
}

/* @leaf: bind or unbind */
static int write_platform(
	struct fake *fake, const char *driver, const char *leaf, const char *device)
{
	char mine[112], link[112];
	bool bound;

	snprintf(mine, sizeof(mine), PLATFORM "/%.40s/%.40s", driver, device);
	snprintf(link, sizeof(link), "sys/bus/platform/devices/%.40s/driver", device);
	bound = strcmp(leaf, "bind") == 0;
	*strrchr(link, '/') = '\0';
	if (!has_folder(fake, link))
		return -ENODEV;
	strcat(link, "/driver");
	if (!switch_file(fake, mine, bound))
		return bound ? -EBUSY : -ENODEV;
	switch_file(fake, link, bound);
	return 0;
}

/* A list that could not be made for want of memory: fake_list says so. */
static bool list_failed;

static void add_name(struct names *names, const char *name)
{
	list_failed |= names_add(names, name) < 0;
}

/* The names right below @path, of files and folders. */
static int list_files(struct fake *fake, const char *path, struct names *ret)
{
	struct names names = {0};
	size_t length = strlen(path);

	for (size_t i = 0; i < fake->file_count; i++) {
		const char *below = fake->files[i].path + length;
		char name[112];
		bool known = false;

		if (fake->files[i].gone || strncmp(fake->files[i].path, path, length) != 0 ||
			*below != '/')
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(below + 1, "/"), below + 1);
		for (size_t k = 0; k < names.count; k++)
			known = known || strcmp(names.names[k], name) == 0;
		if (!known)
			add_name(&names, name);
	}
	if (!names.count)
		return -ENOENT;
	*ret = names;
	return 0;
}

/* ---- paths */

/* Splits "PREFIX/NAME/LEAF"; LEAF is "" for the folder itself. */
static bool split(const char *path, const char *prefix, char *name, size_t size, const char **leaf)
{
	size_t length = strlen(prefix);
	size_t part;

	if (strncmp(path, prefix, length) != 0 || path[length] != '/')
		return false;
	path += length + 1;
	part = strcspn(path, "/");
	if (part == 0 || part >= size)
		return false;
	memcpy(name, path, part);
	name[part] = '\0';
	*leaf = path[part] ? path + part + 1 : "";
	return true;
}

static struct fake_function *function_of(struct fake *fake, const char *path, const char **leaf)
{
	char name[PCI_PATH_SIZE];

	return split(path, DEVICES, name, sizeof(name), leaf) ? fake_function(fake, name) : NULL;
}

static struct fake_driver *driver_of(struct fake *fake, const char *path, const char **leaf)
{
	char name[PCI_PATH_SIZE];
	struct fake_driver *driver =
		split(path, DRIVERS, name, sizeof(name), leaf) ? fake_driver(fake, name) : NULL;

	return driver && driver->registered ? driver : NULL;
}

/* Where a file of power and reset is kept, and how much fits. */
static char *power_file(struct fake_function *function, const char *leaf, size_t *ret_size)
{
	const struct {
		const char *name;
		char *text;
		size_t size;
	} files[] = {
		{"power/control", function->control, sizeof(function->control)},
		{"power/runtime_status", function->runtime_status,
			sizeof(function->runtime_status)},
		{"d3cold_allowed", function->d3cold_allowed, sizeof(function->d3cold_allowed)},
		{"reset_method", function->reset_method, sizeof(function->reset_method)},
	};

	if (*function->numvfs && strcmp(leaf, "sriov_numvfs") == 0) {
		*ret_size = sizeof(function->numvfs);
		return function->numvfs;
	}
	for (size_t i = 0; function->power && i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(leaf, files[i].name) == 0) {
			*ret_size = files[i].size;
			return files[i].text;
		}
	}
	return NULL;
}

/* As pci_reset_method_store; the others take what they get. */
static int write_power(
	const char *offers, char *file, size_t size, const char *leaf, const char *value)
{
	if (!*value)
		return 0; /* a write of zero bytes never reaches the kernel */
	if (strcmp(leaf, "reset_method") == 0 && strcmp(value, "default") == 0)
		value = offers;
	else if (strcmp(leaf, "reset_method") == 0 && strcmp(value, "\n") != 0 &&
		!strstr(offers, value))
		return -EINVAL;
	snprintf(file, size, "%.*s", (int)strcspn(value, "\n"), value);
	return 0;
}

static int format_attribute(struct fake *fake, struct fake_function *function, const char *leaf,
	char *text, size_t size)
{
	const struct {
		const char *name;
		unsigned int value;
		int digits;
	} ids[] = {
		{"vendor", function->vendor, 4},
		{"device", function->device, 4},
		{"subsystem_vendor", function->subsystem_vendor, 4},
		{"subsystem_device", function->subsystem_device, 4},
		{"class", function->class_code << 8, 6},
	};
	size_t length;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (strcmp(leaf, ids[i].name) == 0)
			return snprintf(text, size, "0x%0*x", ids[i].digits, ids[i].value);
	}
	if (strcmp(leaf, "modalias") == 0 && !fake->no_modalias)
		return snprintf(text, size, "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi00",
			function->vendor, function->device, function->subsystem_vendor,
			function->subsystem_device, function->class_code >> 8,
			function->class_code & 0xffu);
	if (strcmp(leaf, "driver_override") == 0) {
		if (fake->linux_6_1)
			device_lock(function);
		return snprintf(
			text, size, "%s", *function->override ? function->override : "(null)");
	}
	if (power_file(function, leaf, &length))
		return snprintf(text, size, "%s", power_file(function, leaf, &length));
	if (strcmp(leaf, "power_state") == 0 && *function->power_state)
		return snprintf(text, size, "%s", function->power_state);
	if (strcmp(leaf, "boot_vga") == 0 && function->class_code == 0x0300)
		return snprintf(text, size, "%d", function->boot_vga);
	if (strcmp(leaf, "config") == 0)
		return snprintf(text, size, "%s",
			function->dead		      ? "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
				: function->hides_ids ? "\xff\xff\xff\xff\x06\x04\x10\x20\xa1\x01"
						      : "\xde\x10\x04\x27\x07\x04\x10\x20\xa1\x01");
	return -ENOENT;
}

/* "sys/module/nvidia/version": the module, while it is loaded. */
static const struct fake_module *module_of(struct fake *fake, const char *path, const char **leaf)
{
	char name[PCI_PATH_SIZE];
	const struct fake_module *module = split(path, "sys/module", name, sizeof(name), leaf)
		? fake_module(fake, name)
		: NULL;

	return module && module->state == FAKE_LOADED ? module : NULL;
}

static int format_module(
	const struct fake_module *module, const char *leaf, char *text, size_t size)
{
	if (strcmp(leaf, "refcnt") == 0)
		return snprintf(text, size, "%d", module->busy);
	if (strcmp(leaf, "version") == 0 && module->version)
		return snprintf(text, size, "%s", module->version);
	if (strcmp(leaf, "parameters/modeset") == 0 && module->modeset)
		return snprintf(text, size, "%s", *module->given ? module->given : module->modeset);
	return -ENOENT;
}

static ssize_t fake_read(void *context, const char *path, char *buffer, size_t size)
{
	struct fake *fake = context;
	const struct fake_module *module;
	struct fake_function *function;
	const char *leaf;
	char text[512];
	int length = begin(fake);

	if (length < 0)
		return length;
	function = function_of(fake, path, &leaf);
	if (fake_file(fake, path))
		length = snprintf(text, sizeof(text), "%s", fake_file(fake, path)->text);
	else if (function)
		length = format_attribute(fake, function, leaf, text, sizeof(text));
	else if ((module = module_of(fake, path, &leaf)))
		length = format_module(module, leaf, text, sizeof(text));
	else
		length = -ENOENT;
	if (length < 0)
		return end(fake, length);
	if ((size_t)length >= size) {
		memcpy(buffer, text, size - 1);
		buffer[size - 1] = '\0';
		return end(fake, -EFBIG);
	}
	memcpy(buffer, text, (size_t)length + 1);
	return end(fake, length);
}

static int write_path(struct fake *fake, const char *path, const char *value)
{
	struct fake_function *function;
	struct fake_driver *driver;
	char name[PCI_PATH_SIZE];
	const char *leaf;
	size_t size;

	if (strcmp(path, "sys/bus/pci/drivers_probe") == 0)
		return write_drivers_probe(fake, value);
	if (split(path, PLATFORM, name, sizeof(name), &leaf))
		return write_platform(fake, name, leaf, value);
	if (fake_file(fake, path)) {
		snprintf(fake_file(fake, path)->text, sizeof(fake->files[0].text), "%s", value);
		return 0;
	}
	function = function_of(fake, path, &leaf);
	if (function && strcmp(leaf, "driver_override") == 0)
		return write_override(function, value);
	if (function && power_file(function, leaf, &size))
		return write_power(function->reset_offers, power_file(function, leaf, &size), size,
			leaf, value);
	driver = driver_of(fake, path, &leaf);
	if (driver && strcmp(leaf, "unbind") == 0)
		return write_unbind(fake, driver, value);
	if (driver && strcmp(leaf, "bind") == 0)
		return write_bind(fake, driver, value);
	if (driver && strcmp(leaf, "new_id") == 0)
		return write_id(fake, driver, value, true);
	if (driver && strcmp(leaf, "remove_id") == 0)
		return write_id(fake, driver, value, false);
	return -ENOENT;
}

static int fake_write(void *context, const char *path, const char *value)
{
	struct fake *fake = context;
	int r = begin(fake);

	if (r < 0)
		return r;
	note(fake, path, value);
	return end(fake, write_path(fake, path, value));
}

static int fill_link(const struct fake_function *function, const struct fake_driver *driver,
	const struct fake_function *bound, const char *leaf, char *buffer, size_t size)
{
	const char *name = "";
	char group[24];

	snprintf(group, sizeof(group), "%ld", function ? function->group : -1);
	if (function && strcmp(leaf, "driver") == 0)
		name = function->driver;
	else if (function && function->group >= 0 && strcmp(leaf, "iommu_group") == 0)
		name = group;
	else if (function && strcmp(leaf, "physfn") == 0)
		name = function->parent;
	else if (driver && strcmp(leaf, "module") == 0)
		name = driver->module;
	else if (driver && bound && strcmp(bound->driver, driver->name) == 0)
		name = bound->address;
	if (!*name)
		return -ENOENT;
	return (size_t)snprintf(buffer, size, "%s", name) < size ? 0 : -ENAMETOOLONG;
}

static int fake_link(void *context, const char *path, char *buffer, size_t size)
{
	struct fake *fake = context;
	struct fake_function *function;
	struct fake_driver *driver = NULL;
	const char *leaf = "";
	int r = begin(fake);

	if (r < 0)
		return r;
	if (fake_file(fake, path) && fake_file(fake, path)->link)
		return end(fake, snprintf(buffer, size, "%s", fake_file(fake, path)->text) < 0);
	function = function_of(fake, path, &leaf);
	if (!function)
		driver = driver_of(fake, path, &leaf);
	return end(
		fake, fill_link(function, driver, fake_function(fake, leaf), leaf, buffer, size));
}

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static int list_devices(const struct fake *fake, struct names *ret)
{
	struct names names = {0};

	for (size_t i = 0; i < fake->function_count; i++)
		add_name(&names, fake->functions[i].address);
	if (names.count)
		qsort(names.names, names.count, sizeof(*names.names), compare_names);
	*ret = names;
	return 0;
}

/* A driver's folder: its files, and a link for each device that it has. */
static int list_driver(const struct fake *fake, const struct fake_driver *driver, struct names *ret)
{
	struct names names = {0};

	for (size_t i = 0; i < fake->function_count; i++) {
		if (strcmp(fake->functions[i].driver, driver->name) == 0)
			add_name(&names, fake->functions[i].address);
	}
	add_name(&names, "bind");
	add_name(&names, "module");
	*ret = names;
	return 0;
}

static void add_loaded_users(
	struct fake *fake, const struct fake_module *module, struct names *names)
{
	char copy[128], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", module->users ? module->users : "");
	for (char *user = strtok_r(copy, " ", &save); user; user = strtok_r(NULL, " ", &save)) {
		const struct fake_module *added = fake_module(fake, user);

		if (added && added->state == FAKE_LOADED)
			add_name(names, user);
	}
}

static int list_module(
	struct fake *fake, const struct fake_module *module, const char *leaf, struct names *ret)
{
	struct names names = {0};
	char text[PCI_DRIVER_SIZE + 4];

	if (strcmp(leaf, "holders") == 0)
		add_loaded_users(fake, module, &names);
	if (strcmp(leaf, "parameters") == 0 && module->modeset)
		add_name(&names, "modeset");
	for (size_t i = 0; strcmp(leaf, "drivers") == 0 && i < fake->driver_count; i++) {
		snprintf(text, sizeof(text), "pci:%s", fake->drivers[i].name);
		if (same_module(fake->drivers[i].module, module->name) &&
			fake->drivers[i].registered)
			add_name(&names, text);
	}
	*ret = names;
	return 0;
}

static int list_drivers(const struct fake *fake, struct names *ret)
{
	*ret = (struct names){0};
	for (size_t i = 0; i < fake->driver_count; i++) {
		if (fake->drivers[i].registered && names_add(ret, fake->drivers[i].name) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int list_path(struct fake *fake, const char *path, struct names *ret)
{
	const struct fake_function *function;
	const struct fake_driver *driver;
	const struct fake_module *module;
	const char *leaf = "";

	if (strcmp(path, DEVICES) == 0)
		return list_devices(fake, ret);
	if (strcmp(path, DRIVERS) == 0)
		return list_drivers(fake, ret);
	function = function_of(fake, path, &leaf);
	if (function &&
		(strcmp(leaf, "") == 0 || (function->bridge && strcmp(leaf, "pci_bus") == 0))) {
		*ret = (struct names){0};
		return 0;
	}
	driver = driver_of(fake, path, &leaf);
	if (driver && strcmp(leaf, "") == 0)
		return list_driver(fake, driver, ret);
	module = module_of(fake, path, &leaf);
	if (module)
		return list_module(fake, module, leaf, ret);
	return list_files(fake, path, ret);
}

static int fake_list(void *context, const char *path, struct names *ret)
{
	struct fake *fake = context;
	int r = begin(fake);

	if (r < 0)
		return r;
	list_failed = false;
	r = list_path(fake, path, ret);
	if (r == 0 && list_failed) {
		names_done(ret);
		r = -ENOMEM;
	}
	return end(fake, r);
}

/* ---- modules */

static int check_module(struct fake *fake, const char *name, struct error *error)
{
	const struct fake_module *module = fake_module(fake, name);

	if (!module)
		return error_set(error, -ENOENT, "load the module %s: there is none", name);
	if (module->state == FAKE_BLOCKED)
		return error_set(error, -EPERM, "load the module %s: modprobe.d forbids it", name);
	return 0;
}

static int load_module(struct fake *fake, const char *name, struct error *error)
{
	struct fake_module *module = fake_module(fake, name);
	int r = check_module(fake, name, error);

	if (r < 0 || module->state == FAKE_LOADED)
		return r;
	note(fake, "module", module->name);
	module->state = FAKE_LOADED;
	for (size_t i = 0; i < fake->driver_count; i++) {
		if (!same_module(fake->drivers[i].module, name))
			continue;
		fake->drivers[i].registered = true;
		driver_attach(fake, &fake->drivers[i]);
	}
	return 0;
}

static int fake_module_load(void *context, const char *name, struct error *error)
{
	struct fake *fake = context;
	int r = begin(fake);

	if (r < 0)
		return error_set_errno(error, r, "load the module %s", name);
	return end(fake, load_module(fake, name, error));
}

static int load_with(
	struct fake *fake, struct fake_module *module, const char *parameters, struct error *error)
{
	const char *modeset = parameters ? strstr(parameters, "modeset=") : NULL;
	const char *value = modeset ? modeset + strlen("modeset=") : "";
	int r;

	if (modeset && !strchr("YN01", *value))
		return error_set_errno(error, -EINVAL, "load the module %s", module->name);
	if (module->state != FAKE_LOADED)
		snprintf(module->given, sizeof(module->given), "%.1s", value);
	r = load_module(fake, module->name, error);
	if (r == 0 && modeset)
		note(fake, "parameters", parameters);
	return r;
}

/* What modprobe.d forbids counts for what was there before as little as for `modprobe NAME`. */
static int fake_module_reload(
	void *context, const char *name, const char *parameters, struct error *error)
{
	struct fake *fake = context;
	struct fake_module *module = fake_module(fake, name);
	int r = begin(fake);

	if (r < 0)
		return error_set_errno(error, r, "load the module %s", name);
	if (module && module->state == FAKE_BLOCKED)
		module->state = FAKE_LOADABLE;
	return end(fake,
		module ? load_with(fake, module, parameters, error)
		       : load_module(fake, name, error));
}

static int fake_module_check(void *context, const char *name, struct error *error)
{
	struct fake *fake = context;
	int r = begin(fake);

	if (r < 0)
		return error_set_errno(error, r, "look for the module %s", name);
	return end(fake, check_module(fake, name, error));
}

/* delete_module(2): what drives a device may go, what another module or a process uses may not. */
static int unload_module(struct fake *fake, struct fake_module *module, struct error *error)
{
	struct names users = {0};

	add_loaded_users(fake, module, &users);
	if (users.count || module->busy) {
		names_done(&users);
		return error_set(error, -EBUSY, "unload the module %s: it is in use", module->name);
	}
	note(fake, "unload", module->name);
	module->state = FAKE_LOADABLE;
	for (size_t i = 0; i < fake->driver_count; i++) {
		if (!same_module(fake->drivers[i].module, module->name))
			continue;
		fake->drivers[i].registered = false;
		for (size_t k = 0; k < fake->function_count; k++) {
			if (strcmp(fake->functions[k].driver, fake->drivers[i].name) == 0)
				fake->functions[k].driver[0] = '\0';
		}
	}
	return 0;
}

static int fake_module_unload(void *context, const char *name, struct error *error)
{
	struct fake *fake = context;
	struct fake_module *module = fake_module(fake, name);
	int r = begin(fake);

	if (r < 0)
		return error_set_errno(error, r, "unload the module %s", name);
	return end(fake,
		module && module->state == FAKE_LOADED ? unload_module(fake, module, error) : 0);
}

/* modules.alias: the modules of the drivers that were built with an id for the function. */
static int fake_module_lookup(
	void *context, const char *alias, struct names *ret, struct error *error)
{
	struct fake *fake = context;
	struct fake_function wanted = {0};
	unsigned int base_class, subclass;
	int r = 0;

	(void)error;
	*ret = (struct names){0};
	if (sscanf(alias, "pci:v%8Xd%8Xsv%*8Xsd%*8Xbc%2Xsc%2Xi", &wanted.vendor, &wanted.device,
		    &base_class, &subclass) != 4)
		return 0;
	wanted.class_code = base_class << 8 | subclass;
	for (size_t i = 0; r == 0 && i < fake->driver_count; i++) {
		const struct fake_driver *driver = &fake->drivers[i];

		for (size_t k = 0; r == 0 && *driver->module && k < driver->id_count; k++) {
			if (id_matches(&driver->ids[k], &wanted))
				r = names_add_once(ret, driver->module);
		}
	}
	return r;
}

/* No program of the host is installed in the fake one. */
static int fake_run(void *context, const char *const *arguments, struct error *error)
{
	note(context, "run", arguments[0]);
	return error_set_errno(error, -ENOENT, "run %s", arguments[0]);
}

static int fake_module_options(void *context, const char *name, char *buffer, size_t size)
{
	struct fake *fake = context;
	int r = begin(fake);

	if (r == 0)
		snprintf(buffer, size, "%s",
			same_module(name, "vfio_pci") ? fake->vfio_options : "");
	return r < 0 ? r : end(fake, 0);
}

static int no_device(void *context, const char *path, dev_t *ret)
{
	(void)path, (void)ret;
	return begin(context) < 0 ? -EIO : -ENODEV;
}

static int no_claim(void *context, const char *path, dev_t device)
{
	(void)path, (void)device;
	return begin(context) < 0 ? -EIO : -ENODEV;
}

static int nobody(void *context, const dev_t *wanted, size_t count, device_visitor visitor,
	void *data, struct open_devices_extent *ret)
{
	(void)wanted, (void)count, (void)visitor, (void)data;
	*ret = (struct open_devices_extent){0};
	return end(context, begin(context));
}

static int no_log(void *context)
{
	(void)context;
	return -ENODATA;
}

static void no_wait(void *context, const char *path, unsigned int milliseconds)
{
	(void)context, (void)path, (void)milliseconds;
}

static const struct kernel_ops fake_ops = {
	.read = fake_read,
	.write = fake_write,
	.link = fake_link,
	.target = fake_link,
	.list = fake_list,
	.folders = fake_list, /* what is no folder has nothing in it */
	.device_number = no_device,
	.module_load = fake_module_load,
	.module_check = fake_module_check,
	.module_reload = fake_module_reload,
	.module_lookup = fake_module_lookup,
	.module_unload = fake_module_unload,
	.module_options = fake_module_options,
	.run = fake_run,
	.block_is_claimed = no_claim,
	.devices_in_use = nobody,
	.follow_log = no_log,
	.wait_close = no_wait,
};

struct kernel fake_kernel(struct fake *fake)
{
	return (struct kernel){.ops = &fake_ops, .context = fake, .root = ROOT_NONE};
}

char *fake_describe(const struct fake *fake)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	cr_assert_not_null(stream);
	for (size_t i = 0; i < fake->function_count; i++)
		fprintf(stream, "%s driver=%s override=%s control=%s d3cold=%s reset=%s\n",
			fake->functions[i].address, fake->functions[i].driver,
			fake->functions[i].override,
			fake->functions[i].power ? fake->functions[i].control : "",
			fake->functions[i].d3cold_allowed, fake->functions[i].reset_method);
	for (size_t i = 0; i < fake->driver_count; i++) {
		for (size_t k = 0; k < fake->drivers[i].new_id_count; k++)
			fprintf(stream, "%s new_id=%04x %04x\n", fake->drivers[i].name,
				fake->drivers[i].new_ids[k].vendor,
				fake->drivers[i].new_ids[k].device);
	}
	for (size_t i = 0; i < fake->file_count; i++) {
		if (!fake->files[i].gone &&
			(strstr(fake->files[i].path, "/bind") || fake->files[i].link))
			fprintf(stream, "%s: %s\n", fake->files[i].path, fake->files[i].text);
	}
	fclose(stream);
	return text;
}
