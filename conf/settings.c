/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads and checks /etc/gpu-ferry/gpu-ferry.conf: one row of a table for each setting. */

#include "settings.h"

#include "config_text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "property.h"
#include "text.h"
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

enum setting_type {
	SETTING_NUMBER,
	SETTING_WORD,
	SETTING_ADDRESSES,
	SETTING_DEVICES,
	SETTING_UNITS,
	SETTING_CONTAINERS,
	SETTING_ROOM,
};

/* One row is one setting. */
struct setting {
	const char *name;
	enum setting_type type;
	size_t offset;	   /* into struct settings */
	long long minimum; /* of numbers */
	long long maximum;
	const char *const *words; /* NULL at the end; the index is the enum's value */
};

static const char *const boot_display_words[] = {
	[BOOT_DISPLAY_ALLOW] = "allow",
	[BOOT_DISPLAY_REFUSE] = "refuse",
	NULL,
};

static const char *const backup_words[] = {
	[BACKUP_ALLOW] = "allow",
	[BACKUP_REFUSE] = "refuse",
	NULL,
};

static const char *const windows_blacklist_words[] = {
	[WINDOWS_BLACKLIST_WHILE_RUNNING] = "while-running",
	[WINDOWS_BLACKLIST_PERMANENT] = "permanent",
	[WINDOWS_BLACKLIST_OFF] = "off",
	NULL,
};

static const char *const nvidia_drain_words[] = {
	[NVIDIA_DRAIN_ON] = "on",
	[NVIDIA_DRAIN_OFF] = "off",
	NULL,
};

static const char *const busy_words[] = {
	[BUSY_FAIL] = "fail",
	[BUSY_WAIT] = "wait",
	[BUSY_STOP] = "stop",
	NULL,
};

static const char *const container_start_words[] = {
	[CONTAINER_START_REFUSE] = "refuse",
	[CONTAINER_START_WAIT] = "wait",
	[CONTAINER_START_LATER] = "later",
	NULL,
};

static const char *const notify_words[] = {
	[NOTIFY_OFF] = "off",
	[NOTIFY_ROOT] = "root",
	NULL,
};

static const struct setting table[] = {
	{.name = "write_deadline_seconds",
		.type = SETTING_NUMBER,
		.offset = offsetof(struct settings, write_deadline_seconds),
		.minimum = 1,
		.maximum = 3600},
	{.name = "slow_write_deadline_seconds",
		.type = SETTING_NUMBER,
		.offset = offsetof(struct settings, slow_write_deadline_seconds),
		.minimum = 1,
		.maximum = 3600},
	{.name = "return_wait_seconds",
		.type = SETTING_NUMBER,
		.offset = offsetof(struct settings, return_wait_seconds),
		.minimum = 0,
		.maximum = 3600},
	{.name = "boot_display",
		.type = SETTING_WORD,
		.offset = offsetof(struct settings, boot_display),
		.words = boot_display_words},
	{.name = "backup_of_stopped_vm",
		.type = SETTING_WORD,
		.offset = offsetof(struct settings, backup_of_stopped_vm),
		.words = backup_words},
	{.name = "windows_blacklist",
		.type = SETTING_WORD,
		.offset = offsetof(struct settings, windows_blacklist),
		.words = windows_blacklist_words},
	{.name = "nvidia_drain",
		.type = SETTING_WORD,
		.offset = offsetof(struct settings, nvidia_drain),
		.words = nvidia_drain_words},
	{.name = "allow", .type = SETTING_ADDRESSES, .offset = offsetof(struct settings, allow)},
	{.name = "devices", .type = SETTING_DEVICES, .offset = offsetof(struct settings, devices)},
	{.name = "busy",
		.type = SETTING_WORD,
		.offset = offsetof(struct settings, busy),
		.words = busy_words},
	{.name = "busy_wait_seconds",
		.type = SETTING_NUMBER,
		.offset = offsetof(struct settings, busy_wait_seconds),
		.minimum = 1,
		.maximum = 3600},
	{.name = "stop_units",
		.type = SETTING_UNITS,
		.offset = offsetof(struct settings, stop_units)},
	{.name = "containers",
		.type = SETTING_CONTAINERS,
		.offset = offsetof(struct settings, containers)},
	{.name = "container_start",
		.type = SETTING_WORD,
		.offset = offsetof(struct settings, container_start),
		.words = container_start_words},
	{.name = "notify",
		.type = SETTING_WORD,
		.offset = offsetof(struct settings, notify),
		.words = notify_words},
	{.name = "make_room", .type = SETTING_ROOM, .offset = offsetof(struct settings, make_room)},
};

static const struct settings defaults = {
	.write_deadline_seconds = 30,
	.return_wait_seconds = 30,
	.boot_display = BOOT_DISPLAY_ALLOW,
	.backup_of_stopped_vm = BACKUP_ALLOW,
	.windows_blacklist = WINDOWS_BLACKLIST_WHILE_RUNNING,
	.busy = BUSY_FAIL,
	.busy_wait_seconds = 60,
};

/* They hold every NVIDIA card open, but for no user. */
static const char *const default_stop_units[] = {
	"nvidia-persistenced.service", "nvidia-powerd.service"};

struct reader {
	const char *name; /* of the file */
	unsigned int vmid;
	struct settings *settings;
	struct error *error;
};

void settings_done(struct settings *settings)
{
	names_done(&settings->allow);
	free(settings->devices.items);
	free(settings->make_room.items);
	free(settings->stop_units.items);
	free(settings->containers.items);
	*settings = (struct settings){0};
}

static int refuse(const struct reader *reader, const config_setting_t *place, const char *format,
	...) __attribute__((format(printf, 3, 4)));

/* An entry of a list has no name of its own, so the list's name is used. */
static const char *entry_list(const config_setting_t *entry)
{
	const config_setting_t *list = config_setting_parent(entry);
	const char *name = list ? config_setting_name(list) : NULL;

	return name ? name : "vms";
}

static int refuse(
	const struct reader *reader, const config_setting_t *place, const char *format, ...)
{
	const char *name = config_setting_name(place);
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return error_set(reader->error, -EINVAL, "%s:%u: setting '%s': %s", reader->name,
		config_setting_source_line(place), name ? name : entry_list(place), text);
}

static int read_number(const struct reader *reader, const struct setting *setting,
	const config_setting_t *place, unsigned int *ret)
{
	int type = config_setting_type(place);
	long long value;

	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64)
		return refuse(reader, place, "must be a whole number, %lld to %lld",
			setting->minimum, setting->maximum);
	value = config_setting_get_int64(place);
	if (value < setting->minimum || value > setting->maximum)
		return refuse(reader, place, "%lld is out of range, %lld to %lld are allowed",
			value, setting->minimum, setting->maximum);
	*ret = (unsigned int)value;
	return 0;
}

/* "allow", "refuse" */
static void words_list(const char *const *words, char *buffer, size_t size)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (; *words && used < size; words++) {
		int length =
			snprintf(buffer + used, size - used, "%s\"%s\"", used ? ", " : "", *words);

		used += length > 0 ? (size_t)length : 0;
	}
}

static int read_word(const struct reader *reader, const struct setting *setting,
	const config_setting_t *place, unsigned int *ret)
{
	const char *word = config_setting_get_string(place);
	char allowed[128];

	for (unsigned int i = 0; word && setting->words[i]; i++) {
		if (strcmp(setting->words[i], word) == 0) {
			*ret = i;
			return 0;
		}
	}
	words_list(setting->words, allowed, sizeof(allowed));
	return refuse(reader, place, "must be one of %s", allowed);
}

#define ADDRESS_HINT "each must be the address of a function, like \"0000:2b:00.0\""

/* "0000:2b:00.0", or without the domain */
static bool is_function_address(const char *text)
{
	static const char hex[] = TEXT_DIGITS "abcdef";
	size_t domain = strspn(text, hex);

	if (domain >= 4 && domain <= 8 && text[domain] == ':')
		text += domain + 1;
	return strspn(text, hex) == 2 && text[2] == ':' && strspn(text + 3, hex) == 2 &&
		text[3] <= '1' && text[5] == '.' && strspn(text + 6, "01234567") == 1 &&
		text[7] == '\0';
}

/* @size must be at least that of struct device_setting's address. */
static int read_address(const struct reader *reader, const config_setting_t *place,
	const char *address, char *ret, size_t size)
{
	if (!address || !is_function_address(address))
		return refuse(reader, place, ADDRESS_HINT ", not '%.40s'", address ? address : "?");
	snprintf(ret, size, "%s%s", strchr(address, ':') == strrchr(address, ':') ? "0000:" : "",
		address);
	return 0;
}

static int add_address(const struct reader *reader, const config_setting_t *place,
	const char *address, struct names *names)
{
	char full[20];
	int r = read_address(reader, place, address, full, sizeof(full));

	if (r < 0)
		return r;
	if (names_add(names, full) < 0)
		return error_set_errno(reader->error, -ENOMEM, "read %s", reader->name);
	return 0;
}

static int read_addresses(
	const struct reader *reader, const config_setting_t *place, struct names *ret)
{
	cleanup(names_done) struct names names = {0};

	if (!config_setting_is_array(place) && !config_setting_is_list(place))
		return refuse(reader, place, "must be a list, [ \"…\", \"…\" ]; " ADDRESS_HINT);
	for (int i = 0; i < config_setting_length(place); i++) {
		int r = add_address(
			reader, place, config_setting_get_string_elem(place, i), &names);

		if (r < 0)
			return r;
	}
	names_done(ret);
	*ret = names;
	names = (struct names){0};
	return 0;
}

/* The three kernel files that a device's entry may set; each function is named after its file. */
static int read_power_control(
	const struct reader *reader, const config_setting_t *place, struct device_setting *ret)
{
	const char *word = config_setting_get_string(place);

	if (!word || (strcmp(word, "on") != 0 && strcmp(word, "auto") != 0))
		return refuse(reader, place, "must be one of \"on\", \"auto\"");
	snprintf(ret->value, sizeof(ret->value), "%s", word);
	return 0;
}

static int read_d3cold_allowed(
	const struct reader *reader, const config_setting_t *place, struct device_setting *ret)
{
	if (config_setting_type(place) != CONFIG_TYPE_BOOL)
		return refuse(reader, place, "must be true or false");
	snprintf(ret->value, sizeof(ret->value), "%d", config_setting_get_bool(place) ? 1 : 0);
	return 0;
}

static int read_reset_method(
	const struct reader *reader, const config_setting_t *place, struct device_setting *ret)
{
	const char *text = config_setting_get_string(place);

	if (!text || strlen(text) >= sizeof(ret->value) ||
		!pattern_matches("^([a-z0-9_]+( [a-z0-9_]+)*)?$", text))
		return refuse(reader, place,
			"must be the kernel's reset methods with a space between them, like \"flr "
			"bus\", or \"\" for no reset");
	snprintf(ret->value, sizeof(ret->value), "%s", text);
	return 0;
}

static const struct device_member {
	const char *name;
	const char *attribute;
	int (*read)(const struct reader *reader, const config_setting_t *place,
		struct device_setting *ret);
} device_members[] = {
	{"d3cold_allowed", "d3cold_allowed", read_d3cold_allowed},
	{"power_control", "power/control", read_power_control},
	{"reset_method", "reset_method", read_reset_method},
};

static const struct device_member *device_member_find(const char *name)
{
	for (size_t i = 0; i < sizeof(device_members) / sizeof(*device_members); i++) {
		if (strcmp(device_members[i].name, name) == 0)
			return &device_members[i];
	}
	return NULL;
}

static int add_device_setting(const struct reader *reader, const config_setting_t *place,
	const char *address, struct device_settings *settings)
{
	const struct device_member *member = device_member_find(config_setting_name(place));
	struct device_setting setting = {0};
	struct device_setting *added;
	int r;

	if (!member)
		return refuse(reader, place,
			"there is no such setting of a device (see gpu-ferry.conf(5))");
	r = member->read(reader, place, &setting);
	if (r < 0)
		return r;
	setting.attribute = member->attribute;
	snprintf(setting.address, sizeof(setting.address), "%s", address);
	added = LIST_ADD(settings->items, settings->count);
	if (!added)
		return error_set_errno(reader->error, -ENOMEM, "read %s", reader->name);
	*added = setting;
	return 0;
}

static bool device_is_set(const struct device_settings *settings, const char *address)
{
	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].address, address) == 0)
			return true;
	}
	return false;
}

static int read_device(const struct reader *reader, const config_setting_t *group,
	struct device_settings *settings)
{
	const char *text = NULL;
	char address[20];
	int r;

	if (!config_setting_is_group(group))
		return refuse(reader, group, "each entry must be { address = \"…\"; … }");
	config_setting_lookup_string(group, "address", &text);
	r = read_address(reader, group, text, address, sizeof(address));
	if (r == 0 && device_is_set(settings, address))
		return refuse(reader, group, "%s is listed twice", address);
	for (int i = 0; r == 0 && i < config_setting_length(group); i++) {
		const config_setting_t *place = config_setting_get_elem(group, (unsigned int)i);

		if (strcmp(config_setting_name(place), "address") != 0)
			r = add_device_setting(reader, place, address, settings);
	}
	return r;
}

static int read_devices(
	const struct reader *reader, const config_setting_t *place, struct device_settings *ret)
{
	struct device_settings settings = {0};

	if (!config_setting_is_list(place))
		return refuse(reader, place, "must be a list, ( { address = \"…\"; … }, … )");
	for (int i = 0; i < config_setting_length(place); i++) {
		int r = read_device(
			reader, config_setting_get_elem(place, (unsigned int)i), &settings);

		if (r < 0) {
			free(settings.items);
			return r;
		}
	}
	free(ret->items);
	*ret = settings;
	return 0;
}

static void room_done(struct room_entries *entries)
{
	free(entries->items);
	*entries = (struct room_entries){0};
}

static int room_add(
	const struct reader *reader, const struct room_entry *entry, struct room_entries *entries)
{
	struct room_entry *added = LIST_ADD(entries->items, entries->count);

	if (!added)
		return error_set_errno(reader->error, -ENOMEM, "read %s", reader->name);
	*added = *entry;
	return 0;
}

/* Reads each element of a list by @read, and puts the whole over @ret. */
static int read_room(const struct reader *reader, const config_setting_t *place,
	int (*read)(
		const struct reader *reader, const config_setting_t *place, struct room_entry *ret),
	struct room_entries *ret)
{
	cleanup(room_done) struct room_entries entries = {0};

	for (int i = 0; i < config_setting_length(place); i++) {
		struct room_entry entry = {0};
		int r = read(reader, config_setting_get_elem(place, (unsigned int)i), &entry);

		if (r == 0)
			r = room_add(reader, &entry, &entries);
		if (r < 0)
			return r;
	}
	room_done(ret);
	*ret = entries;
	entries = (struct room_entries){0};
	return 0;
}

static bool is_list(const config_setting_t *place)
{
	return config_setting_is_array(place) || config_setting_is_list(place);
}

static int read_unit_name(
	const struct reader *reader, const config_setting_t *place, char *ret, size_t size)
{
	const char *unit = config_setting_get_string(place);

	if (!unit || strlen(unit) >= size ||
		!pattern_matches("^[A-Za-z0-9:_.@\\-]+\\.service$", unit))
		return refuse(reader, place,
			"each must be the name of a unit, like \"ollama.service\", not '%.40s'",
			unit ? unit : "?");
	snprintf(ret, size, "%s", unit);
	return 0;
}

static int read_unit(
	const struct reader *reader, const config_setting_t *place, struct room_entry *ret)
{
	ret->kind = ROOM_UNIT;
	return read_unit_name(reader, place, ret->name, sizeof(ret->name));
}

#define CONTAINERS_HINT "must be a list of container numbers, [ 105, 106 ], or \"any\""

static int read_container(
	const struct reader *reader, const config_setting_t *place, struct room_entry *ret)
{
	const struct setting setting = {.minimum = 100, .maximum = VMID_MAX};

	ret->kind = ROOM_CONTAINER;
	if (config_setting_type(place) != CONFIG_TYPE_INT)
		return refuse(reader, config_setting_parent(place), CONTAINERS_HINT);
	/* an element has no name that the message could give */
	if (config_setting_get_int(place) < setting.minimum)
		return refuse(reader, config_setting_parent(place),
			"%d is out of range, %lld to %lld are allowed",
			config_setting_get_int(place), setting.minimum, setting.maximum);
	return read_number(reader, &setting, place, &ret->guest);
}

static int read_containers(
	const struct reader *reader, const config_setting_t *place, struct room_entries *ret)
{
	const struct room_entry any = {.kind = ROOM_CONTAINER};
	const char *word = config_setting_get_string(place);

	if (word && strcmp(word, "any") == 0) {
		room_done(ret);
		return room_add(reader, &any, ret);
	}
	return is_list(place) ? read_room(reader, place, read_container, ret)
			      : refuse(reader, place, CONTAINERS_HINT);
}

static int read_program(
	const struct reader *reader, const config_setting_t *place, struct room_entry *ret)
{
	const char *path = config_setting_get_string(place);

	/* systemd, which runs it, would put a variable for a $ */
	if (!path || strlen(path) >= sizeof(ret->name) ||
		!pattern_matches("^/[A-Za-z0-9/._@:+-]+$", path))
		return refuse(reader, place,
			"must be the path of a program, like "
			"\"/etc/gpu-ferry/make-room.d/docker\"");
	snprintf(ret->name, sizeof(ret->name), "%s", path);
	return 0;
}

/* The entries that there are, by their members. */
static const struct room_form {
	const char *number, *name; /* members; NULL: none */
	enum room_kind kind;
} room_forms[] = {
	{NULL, "unit", ROOM_UNIT},
	{"container", "unit", ROOM_CONTAINER_UNIT},
	{"container", NULL, ROOM_CONTAINER},
	{"vm", NULL, ROOM_VM},
	{NULL, "program", ROOM_PROGRAM},
};

static const struct room_form *find_room_form(const config_setting_t *group)
{
	for (size_t i = 0; i < sizeof(room_forms) / sizeof(room_forms[0]); i++) {
		const struct room_form *form = &room_forms[i];
		int count = (form->number ? 1 : 0) + (form->name ? 1 : 0);

		if (config_setting_length(group) == count &&
			(!form->number || config_setting_get_member(group, form->number)) &&
			(!form->name || config_setting_get_member(group, form->name)))
			return form;
	}
	return NULL;
}

static int read_room_entry(
	const struct reader *reader, const config_setting_t *group, struct room_entry *ret)
{
	const struct setting guest = {.minimum = 100, .maximum = VMID_MAX};
	const struct room_form *form =
		config_setting_is_group(group) ? find_room_form(group) : NULL;
	int r = 0;

	if (!form)
		return refuse(reader, group,
			"each entry must be one of { unit = \"…\"; }, { container = …; unit = "
			"\"…\"; }, { container = …; }, { vm = …; }, { program = \"…\"; }");
	ret->kind = form->kind;
	if (form->number)
		r = read_number(reader, &guest, config_setting_get_member(group, form->number),
			&ret->guest);
	if (r < 0 || !form->name)
		return r;
	if (form->kind == ROOM_PROGRAM)
		return read_program(reader, config_setting_get_member(group, form->name), ret);
	/* a loan has the container's number and the name in one text of that size */
	return read_unit_name(reader, config_setting_get_member(group, form->name), ret->name,
		sizeof(ret->name) - (form->number ? strlen("999999999/") : 0));
}

static int read_setting(const struct reader *reader, const struct setting *setting,
	const config_setting_t *place, struct settings *settings)
{
	void *field = (char *)settings + setting->offset;

	switch (setting->type) {
	case SETTING_NUMBER:
		return read_number(reader, setting, place, field);
	case SETTING_WORD:
		return read_word(reader, setting, place, field);
	case SETTING_ADDRESSES:
		return read_addresses(reader, place, field);
	case SETTING_DEVICES:
		return read_devices(reader, place, field);
	case SETTING_UNITS:
		return is_list(place)
			? read_room(reader, place, read_unit, field)
			: refuse(reader, place,
				  "must be a list of systemd units, [ \"…\", \"…\" ]");
	case SETTING_CONTAINERS:
		return read_containers(reader, place, field);
	case SETTING_ROOM:
		return config_setting_is_list(place)
			? read_room(reader, place, read_room_entry, field)
			: refuse(reader, place, "must be a list, ( { unit = \"…\"; }, … )");
	}
	return -EINVAL;
}

static const struct setting *setting_find(const char *name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	}
	return NULL;
}

/* Reads every setting of @group except @own, which the caller reads itself. */
static int read_group(const struct reader *reader, const config_setting_t *group, const char *own,
	struct settings *settings)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *place = config_setting_get_elem(group, (unsigned int)i);
		const char *name = config_setting_name(place);
		const struct setting *setting = setting_find(name);
		int r;

		if (strcmp(name, own) == 0)
			continue;
		if (!setting)
			return refuse(reader, place,
				"there is no such setting%s (see gpu-ferry.conf(5))",
				strcmp(own, "vms") == 0 ? "" : " of a VM");
		r = read_setting(reader, setting, place, settings);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_vmid(const struct reader *reader, const config_setting_t *group, unsigned int *ret)
{
	const config_setting_t *place = config_setting_get_member(group, "vmid");
	struct setting setting = {.minimum = 100, .maximum = VMID_MAX};

	if (!place)
		return error_set(reader->error, -EINVAL,
			"%s:%u: setting 'vms': an entry has no 'vmid'", reader->name,
			config_setting_source_line(group));
	return read_number(reader, &setting, place, ret);
}

/* Reads one entry of `vms`: its VMID into @ret_vmid and, if this is the VM asked for, its values
 * over the settings. The values of another VM are only checked. */
static int read_vm(
	const struct reader *reader, const config_setting_t *group, unsigned int *ret_vmid)
{
	cleanup(settings_done) struct settings unused = {0};
	int r;

	if (!config_setting_is_group(group))
		return refuse(reader, group, "each entry must be { vmid = …; … }");
	r = read_vmid(reader, group, ret_vmid);
	if (r < 0)
		return r;
	return read_group(
		reader, group, "vmid", *ret_vmid == reader->vmid ? reader->settings : &unused);
}

static int check_unique(const struct reader *reader, const config_setting_t *group,
	const unsigned int *vmids, int count)
{
	for (int i = 0; i < count; i++) {
		if (vmids[i] == vmids[count])
			return refuse(reader, config_setting_get_member(group, "vmid"),
				"VM %u is listed twice in 'vms'", vmids[count]);
	}
	return 0;
}

static int read_vms(const struct reader *reader, const config_setting_t *vms)
{
	int count = config_setting_length(vms);
	auto_free unsigned int *vmids = NULL;

	if (!config_setting_is_list(vms))
		return refuse(reader, vms, "must be a list, ( { vmid = …; … }, … )");
	vmids = calloc((size_t)count + 1, sizeof(*vmids));
	if (!vmids)
		return error_set_errno(reader->error, -ENOMEM, "read %s", reader->name);
	for (int i = 0; i < count; i++) {
		const config_setting_t *group = config_setting_get_elem(vms, (unsigned int)i);
		int r = read_vm(reader, group, &vmids[i]);

		if (r == 0)
			r = check_unique(reader, group, vmids, i);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_all(const struct reader *reader, const config_t *config)
{
	const config_setting_t *root = config_root_setting(config);
	const config_setting_t *vms = config_setting_get_member(root, "vms");
	int r = read_group(reader, root, "vms", reader->settings);

	return r == 0 && vms ? read_vms(reader, vms) : r;
}

static int parse_text(const struct reader *reader, const char *text)
{
	cleanup(config_destroy) config_t config;
	int r = config_text_parse(text, reader->name, &config, reader->error);

	return r < 0 ? r : read_all(reader, &config);
}

static int set_default_units(const struct reader *reader)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(default_stop_units) / sizeof(default_stop_units[0]);
		i++) {
		struct room_entry entry = {.kind = ROOM_UNIT};

		snprintf(entry.name, sizeof(entry.name), "%s", default_stop_units[i]);
		r = room_add(reader, &entry, &reader->settings->stop_units);
	}
	return r;
}

static int append_room(const struct reader *reader, const struct room_entries *from)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < from->count; i++)
		r = room_add(reader, &from->items[i], &reader->settings->make_room);
	return r;
}

/* Makes one list of the three. A VM does not make room for itself. */
static int join_room(const struct reader *reader)
{
	struct settings *settings = reader->settings;
	struct room_entries *all = &settings->make_room;
	size_t kept = 0;
	int r;

	for (size_t i = 0; i < all->count; i++) {
		if (all->items[i].kind != ROOM_VM || all->items[i].guest != reader->vmid)
			all->items[kept++] = all->items[i];
	}
	all->count = kept;
	r = append_room(reader, &settings->stop_units);
	return r == 0 && settings->busy == BUSY_STOP ? append_room(reader, &settings->containers)
						     : r;
}

int settings_parse(const char *text, const char *name, unsigned int vmid, struct settings *ret,
	struct error *error)
{
	cleanup(settings_done) struct settings settings = defaults;
	struct reader reader = {.name = name, .vmid = vmid, .settings = &settings, .error = error};
	int r = set_default_units(&reader);

	if (r == 0)
		r = parse_text(&reader, text);
	if (r == 0)
		r = join_room(&reader);
	if (r < 0)
		return r;
	*ret = settings;
	settings = (struct settings){0};
	return 0;
}

int settings_read(
	const struct root *root, unsigned int vmid, struct settings *ret, struct error *error)
{
	auto_free char *text = NULL;
	int r = config_text_read(root, SETTINGS_PATH, &text, error);

	if (r == -ENOENT)
		return settings_parse("", "/" SETTINGS_PATH, vmid, ret, error);
	return r < 0 ? r : settings_parse(text, "/" SETTINGS_PATH, vmid, ret, error);
}
