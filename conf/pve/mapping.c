/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads resource mappings and finds the devices that one has on this node. */

#include "mapping.h"

#include "cluster.h"
#include "conf/property.h"
#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "section_config.h"
#include <errno.h>
#include <string.h>

#define PATH "etc/pve/mapping/pci.cfg"
#define DESCRIPTION_MAX 4096
#define HEX TEXT_DIGITS "abcdef"

static bool is_node_name(const char *text)
{
	size_t length = strlen(text);

	return length && text[0] != '-' && text[length - 1] != '-' &&
		text[strspn(text, TEXT_LETTERS TEXT_DIGITS "-")] == '\0';
}

/* "10de:1e07" */
static bool is_hardware_id(const char *text)
{
	return strspn(text, HEX "ABCDEF") == 4 && text[4] == ':' &&
		strspn(text + 5, HEX "ABCDEF") == 4 && text[9] == '\0';
}

/* The end of "0000:2b:00", what follows may be anything; NULL when @text does not begin so. */
static const char *slot_end(const char *text)
{
	size_t domain = strspn(text, HEX);
	const char *bus = text + domain + 1;

	if (domain < 4 || text[domain] != ':' || strspn(bus, HEX) != 2 || bus[2] != ':' ||
		strspn(bus + 3, HEX) < 2)
		return NULL;
	return bus + 5;
}

/* Paths with ";" between them. In Proxmox's $PCI_RE the dot before the function is unescaped: any
 * character fits, even ";" or a digit. */
static bool is_path_list(const char *text)
{
	const char *end = slot_end(text);

	while (end) {
		if (*end && strspn(end + 1, HEX) && (!end[2] || end[2] == ';'))
			end += 2;
		if (!*end)
			return true;
		end = *end == ';' ? slot_end(end + 1) : NULL;
	}
	return false;
}

static const struct property_rule map_rules[] = {
	{.name = "node", .required = true, .fits = is_node_name},
	{.name = "id", .required = true, .fits = is_hardware_id},
	{.name = "subsystem-id", .fits = is_hardware_id},
	{.name = "path", .required = true, .fits = is_path_list},
	{.name = "iommugroup", .type = PROPERTY_INTEGER},
	{.name = "description", .max_length = DESCRIPTION_MAX},
};

static const struct property_format map_format = {
	map_rules, sizeof(map_rules) / sizeof(*map_rules)};

struct mappings_parser {
	struct mappings mappings;
	struct mapping mapping; /* the section that is being read */
	struct section_reader reader;
};

static void mapping_done(struct mapping *mapping)
{
	free(mapping->name);
	free(mapping->mdev);
	free(mapping->live_migration);
	names_done(&mapping->maps);
}

void mappings_done(struct mappings *mappings)
{
	for (size_t i = 0; i < mappings->count; i++)
		mapping_done(&mappings->items[i]);
	free(mappings->items);
	names_done(&mappings->warnings);
	*mappings = (struct mappings){0};
}

static void parser_done(struct mappings_parser *parser)
{
	mappings_done(&parser->mappings);
	mapping_done(&parser->mapping);
}

const struct mapping *mapping_by_name(const struct mappings *mappings, const char *name)
{
	for (size_t i = mappings->count; i-- > 0;) {
		if (strcmp(mappings->items[i].name, name) == 0)
			return &mappings->items[i];
	}
	return NULL;
}

static int set_boolean(
	struct mappings_parser *parser, char **field, const char *key, const char *value)
{
	if (*field)
		return section_warn(&parser->reader, "'%s' is given twice", key);
	value = value ? value : "1";
	if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
		return section_warn(&parser->reader, "'%s' must be 0 or 1, not '%s'", key, value);
	*field = strdup(value);
	return *field ? 0 : -ENOMEM;
}

static int add_map(struct mappings_parser *parser, struct mapping *mapping, const char *value)
{
	cleanup(property_set_done) struct property_set set = {0};
	struct error error;
	int r;

	if (!value)
		return section_warn(&parser->reader, "'map' has no value");
	r = property_parse(&map_format, value, &set, &error);
	if (r == -EINVAL)
		return section_warn(&parser->reader, "'map' is ignored: %s", error.message);
	return r < 0 ? r : names_add(&mapping->maps, value);
}

static int key_set(void *context, const char *key, char *value)
{
	struct mappings_parser *parser = context;
	struct mapping *mapping = &parser->mapping;

	if (strcmp(key, "map") == 0)
		return add_map(parser, mapping, value);
	if (strcmp(key, "mdev") == 0)
		return set_boolean(parser, &mapping->mdev, key, value);
	if (strcmp(key, "live-migration-capable") == 0)
		return set_boolean(parser, &mapping->live_migration, key, value);
	if (strcmp(key, "description") == 0)
		return 0;
	return section_warn(&parser->reader, "'%s' is not a setting of a mapping", key);
}

static int mapping_keep(struct mappings *mappings, struct mapping *mapping)
{
	struct mapping *place = LIST_ADD(mappings->items, mappings->count);

	if (!place)
		return -ENOMEM;
	*place = *mapping;
	*mapping = (struct mapping){0};
	return 0;
}

static int section_begin(void *context, const char *type, const char *id)
{
	struct mappings_parser *parser = context;

	(void)type;
	parser->mapping.name = strdup(id);
	return parser->mapping.name ? 0 : -ENOMEM;
}

static int section_end(void *context)
{
	struct mappings_parser *parser = context;
	struct mapping *mapping = &parser->mapping;
	int r = mapping->maps.count
		? 0
		: section_warn(&parser->reader,
			  "the section '%s' is ignored: it has no valid 'map'", mapping->name);

	return r < 0 ? r : mapping_keep(&parser->mappings, mapping);
}

static const struct section_handler handler = {
	.is_id = is_config_id,
	.begin = section_begin,
	.set = key_set,
	.end = section_end,
};

int mappings_parse(const char *text, size_t length, struct mappings *ret, struct error *error)
{
	cleanup(parser_done) struct mappings_parser parser = {0};
	auto_free char *copy = strndup(text, length);

	parser.reader = (struct section_reader){
		.path = "/" PATH, .rest = copy, .warnings = &parser.mappings.warnings};
	if (!copy || sections_read(&parser.reader, &handler, &parser) < 0)
		return error_set_errno(error, -ENOMEM, "read /" PATH);
	*ret = parser.mappings;
	parser.mappings = (struct mappings){0};
	return 0;
}

static int file_get(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	struct file_read_options options = {.max = MAPPING_MAX_BYTES, .refuse_nul = true};

	(void)context;
	return file_read(root, PATH, &options, ret_text, ret_length, error);
}

int mappings_read(const struct root *root, struct mappings *ret, struct error *error)
{
	struct cluster_request request = {.read = file_get};
	auto_free char *text = NULL;
	size_t length = 0;
	int r = cluster_read(root, &request, &text, &length, error);

	if (r == -ENOENT)
		return mappings_parse("", 0, ret, error);
	return r < 0 ? r : mappings_parse(text, length, ret, error);
}

struct names *alternatives_add(struct alternatives *alternatives)
{
	return LIST_ADD(alternatives->lists, alternatives->count);
}

void alternatives_done(struct alternatives *alternatives)
{
	for (size_t i = 0; i < alternatives->count; i++)
		names_done(&alternatives->lists[i]);
	free(alternatives->lists);
	*alternatives = (struct alternatives){0};
}

#define INVALID "PCI device mapping invalid (hardware probably changed): "

/* Two values, compared as text as in Proxmox: 014 is not 14, 10DE is not 10de. Both may be NULL. */
struct comparison {
	const char *property;
	const char *expected;
	const char *configured;
};

static int compare(const struct comparison *comparison, const char *name, const char *address,
	struct error *error)
{
	const char *expected = comparison->expected;
	const char *configured = comparison->configured;

	if (!expected && !configured)
		return 0;
	if (!configured)
		return error_set(error, -ESTALE,
			INVALID "missing expected property '%s' for device '%s'",
			comparison->property, address);
	if (!expected)
		return error_set(error, -ESTALE,
			INVALID "unexpected property '%s' configured for device '%s'",
			comparison->property, address);
	if (strcmp(expected, configured) != 0)
		return error_set(error, -ESTALE, INVALID "'%s' does not match for '%s' (%s != %s)",
			comparison->property, name, expected, configured);
	return 0;
}

struct finder {
	const struct mapping *mapping;
	mapping_lookup lookup;
	void *context;
	struct error *error;
};

/* The order of the comparisons is Proxmox's: by the property's name. */
static int device_check(const struct finder *finder, const struct property_set *map,
	const char *address, bool first)
{
	const struct mapping *mapping = finder->mapping;
	char id[24], subsystem[24], group[16];
	struct mapping_device device;
	int r = finder->lookup(finder->context, address, &device);

	if (r < 0)
		return error_set(
			finder->error, -ESTALE, INVALID "pci device '%s' not found", address);
	snprintf(id, sizeof(id), "%s:%s", device.vendor, device.device);
	snprintf(subsystem, sizeof(subsystem), "%s:%s", device.subsystem_vendor,
		device.subsystem_device);
	snprintf(group, sizeof(group), "%d", device.iommu_group);

	struct comparison comparisons[] = {
		{"id", id, property_get(map, "id")},
		{"iommugroup", device.iommu_group < 0 ? NULL : group,
			property_get(map, "iommugroup")},
		{"mdev", device.mdev ? "1" : "0", mapping->mdev ? mapping->mdev : "0"},
		{"subsystem-id",
			device.subsystem_vendor[0] && device.subsystem_device[0] ? subsystem : NULL,
			property_get(map, "subsystem-id")},
	};

	for (size_t i = 0; i < sizeof(comparisons) / sizeof(*comparisons); i++) {
		if (!first && strcmp(comparisons[i].property, "iommugroup") == 0)
			continue;
		r = compare(&comparisons[i], mapping->name, address, finder->error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* m/\.[a-f0-9]/i */
static bool has_function(const char *path)
{
	const char *dot = strchr(path, '.');

	while (dot && !strspn(dot + 1, HEX "ABCDEF"))
		dot = strchr(dot + 1, '.');
	return dot;
}

static bool is_function(const char *address)
{
	const char *end = slot_end(address);

	return end && *end == '.' && strspn(end + 1, HEX) && !end[2];
}

/* A path without a function stands for its function 0, which must exist. */
static int path_check(
	const struct finder *finder, const struct property_set *map, const char *path, bool first)
{
	auto_free char *address = NULL;

	if (asprintf(&address, "%s%s", path, has_function(path) ? "" : ".0") < 0) {
		address = NULL;
		return error_set_errno(finder->error, -ENOMEM, "look up '%s'", path);
	}
	if (!is_function(address))
		return error_set(
			finder->error, -ESTALE, INVALID "pci device '%s' not found", address);
	return device_check(finder, map, address, first);
}

static int alternative_check(
	const struct finder *finder, const struct property_set *map, struct names *ids)
{
	auto_free char *paths = strdup(property_get(map, "path"));
	char *rest = paths;
	char *path;

	if (!paths)
		return error_set_errno(finder->error, -ENOMEM, "read a mapping");
	while ((path = strsep(&rest, ";"))) {
		int r = path_check(finder, map, path, ids->count == 0);

		if (r < 0)
			return r;
		if (names_add(ids, path) < 0)
			return error_set_errno(finder->error, -ENOMEM, "read a mapping");
	}
	return 0;
}

static int map_use(const struct finder *finder, const char *map, const char *node,
	struct alternatives *alternatives)
{
	cleanup(property_set_done) struct property_set set = {0};
	struct names *ids;
	int r = property_parse(&map_format, map, &set, finder->error);

	if (r < 0)
		return r;
	if (strcmp(property_get(&set, "node"), node) != 0)
		return 0;
	ids = alternatives_add(alternatives);
	if (!ids)
		return error_set_errno(finder->error, -ENOMEM, "read a mapping");
	return alternative_check(finder, &set, ids);
}

int mapping_find(const struct mappings *mappings, const char *name, const char *node,
	mapping_lookup lookup, void *context, struct alternatives *ret, struct error *error)
{
	cleanup(alternatives_done) struct alternatives alternatives = {0};
	struct finder finder = {mapping_by_name(mappings, name), lookup, context, error};

	for (size_t i = 0; finder.mapping && i < finder.mapping->maps.count; i++) {
		int r = map_use(&finder, finder.mapping->maps.names[i], node, &alternatives);

		if (r < 0)
			return r;
	}
	if (!alternatives.count)
		return error_set(error, -ENOENT, "PCI device mapping not found for '%s'", name);
	*ret = alternatives;
	alternatives = (struct alternatives){0};
	return 0;
}

int mapping_explain_absence(
	const struct mappings *mappings, const char *name, const char *node, struct error *error)
{
	const struct mapping *mapping = mapping_by_name(mappings, name);
	char others[512] = "";

	for (size_t i = 0; mapping && i < mapping->maps.count; i++) {
		cleanup(property_set_done) struct property_set set = {0};
		size_t used = strlen(others);
		const char *other;

		if (property_parse(&map_format, mapping->maps.names[i], &set, NULL) < 0)
			continue;
		other = property_get(&set, "node");
		snprintf(others + used, sizeof(others) - used, "%s%s", used ? ", " : "", other);
	}
	if (!*others)
		return -ENOENT;
	return error_set(error, -EREMOTE, "the mapping '%s' has no device on %s; it has on %s",
		name, node, others);
}
