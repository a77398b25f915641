/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads a VM's config as Proxmox sees it at start. */

#include "vm_config.h"

#include "cluster.h"
#include "conf/text.h"
#include "hostpci.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "node_name.h"
#include "vm_keys.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

struct vm_parser {
	struct vm_config config;
	FILE *description; /* NULL until the first line of it */
	char *description_text;
	size_t description_length;
	size_t line;
};

static void parser_done(struct vm_parser *parser)
{
	if (parser->description)
		fclose(parser->description);
	free(parser->description_text);
	vm_config_done(&parser->config);
}

static int entry_set(struct vm_parser *parser, const char *key, const char *value)
{
	return vm_entry_set(&parser->config.entries, &parser->config.count, key, value);
}

static int warn(struct vm_parser *parser, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int warn(struct vm_parser *parser, const char *format, ...)
{
	char text[512];
	char line[600];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	snprintf(line, sizeof(line), "line %zu: %s", parser->line, text);
	return names_add(&parser->config.warnings, line);
}

static int description_add(struct vm_parser *parser, char *encoded, const char *end)
{
	if (!parser->description)
		parser->description =
			open_memstream(&parser->description_text, &parser->description_length);
	if (!parser->description)
		return -ENOMEM;
	text_decode(encoded, parser->description);
	return fputs(end, parser->description) < 0 ? -ENOMEM : 0;
}

static int description_finish(struct vm_parser *parser)
{
	FILE *stream = TAKE_PTR(parser->description);
	char *end;

	if (!stream)
		return 0;
	if (fclose(stream) != 0)
		return -ENOMEM;
	end = parser->description_text + parser->description_length;
	while (end > parser->description_text && text_is_white(end[-1]))
		*--end = '\0';
	return entry_set(parser, "description", parser->description_text);
}

static int ignore_hostpci(struct vm_parser *parser, const char *name, const char *value)
{
	struct vm_config *config = &parser->config;

	if (config->ignored_count >= HOSTPCI_MAX)
		return warn(parser, "'%s' is ignored", name);
	return vm_entry_set(&config->ignored, &config->ignored_count, name, value);
}

/* With a valid line of the same key, the VM has its device all the same. */
static int forgive_hostpci(struct vm_parser *parser)
{
	struct vm_config *config = &parser->config;
	char text[512];
	int r = 0;

	for (size_t i = config->ignored_count; r == 0 && i-- > 0;) {
		struct vm_config_entry entry = config->ignored[i];

		if (!vm_config_get(config, entry.key))
			continue;
		snprintf(text, sizeof(text), "'%s: %s' (another line has a valid '%s')", entry.key,
			entry.value, entry.key);
		r = names_add(&config->warnings, text);
		config->ignored[i] = config->ignored[--config->ignored_count];
		free(entry.key);
		free(entry.value);
	}
	return r;
}

static int setting_read(struct vm_parser *parser, const char *name, char *value)
{
	const struct vm_key *key;
	const char *normal;
	struct error error;
	int r = vm_key_find(name, &key);

	if (r < 0)
		return ignore_hostpci(parser, name, value);
	if (!key)
		return entry_set(parser, name, value);
	r = vm_key_check(key, value, &normal, &error);
	if (r == -EINVAL && strncmp(name, "hostpci", strlen("hostpci")) == 0)
		return ignore_hostpci(parser, name, value);
	if (r == -EINVAL)
		return warn(parser, "'%s' is ignored: %s", name, error.message);
	return r < 0 ? r : entry_set(parser, name, normal);
}

/* ^([a-z][a-z_\-]*\d*): — returns the position of the colon, or NULL. */
static char *key_end(char *line)
{
	char *position = line;

	if (*position < 'a' || *position > 'z')
		return NULL;
	position += strspn(position, "abcdefghijklmnopqrstuvwxyz_-");
	position += strspn(position, "0123456789");
	return *position == ':' ? position : NULL;
}

/* \s*(.+?)\s*$ — of white space alone, the value is its last character. NULL: no value. */
static char *value_trim(char *text)
{
	size_t length = strlen(text);

	if (!length)
		return NULL;
	return text_is_blank(text) ? text + length - 1 : text_trim(text);
}

/* /snapstate:\s*(prepare|delete)\s*$/, which is anchored at the end only. */
static bool is_snapshot_state(const char *line)
{
	static const char word[] = "snapstate:";

	for (const char *found = strstr(line, word); found; found = strstr(found + 1, word)) {
		const char *value = found + strlen(word);
		size_t length;

		value += strspn(value, TEXT_WHITE);
		length = strcspn(value, TEXT_WHITE);
		if (text_is_blank(value + length) &&
			((length == 7 && strncmp(value, "prepare", 7) == 0) ||
				(length == 6 && strncmp(value, "delete", 6) == 0)))
			return true;
	}
	return false;
}

static int setting_line(struct vm_parser *parser, char *line, char *colon)
{
	bool blank = text_is_blank(colon + 1);
	char *value = value_trim(colon + 1);

	*colon = '\0';
	if (!value)
		return warn(parser, "'%s' has no value", line);
	if (strcmp(line, "description") == 0 && !blank)
		return description_add(parser, value, "");
	if (strcmp(line, "args") == 0 && !blank)
		return entry_set(parser, line, value);
	return setting_read(parser, line, value);
}

static bool has_key(const char *line, const char *key)
{
	size_t length = strlen(key);

	return strncmp(line, key, length) == 0 && line[length] == ':';
}

static int line_read(struct vm_parser *parser, char *line)
{
	char *colon = key_end(line);

	if (text_is_blank(line))
		return 0;
	if (line[0] == '#')
		return description_add(parser, line + 1, "\n");
	/* in Proxmox's order of tests only a description with a value comes before this one */
	if (is_snapshot_state(line) && !has_key(line, "description"))
		return 0;
	if (!colon)
		return warn(parser, "this is not a 'key: value' line");
	return setting_line(parser, line, colon);
}

/* A section line, be it [PENDING], [special:…], [snapshot] or even [!!!]: what follows is not the
 * VM's current config. */
static bool is_section(const char *line)
{
	const char *end = strchr(line, ']');

	return line[0] == '[' && end && text_is_blank(end + 1);
}

static int lines_read(struct vm_parser *parser, char *text)
{
	char *line;

	while ((line = strsep(&text, "\n"))) {
		int r;

		parser->line++;
		if (is_section(line))
			break;
		r = line_read(parser, line);
		if (r < 0)
			return r;
	}
	return forgive_hostpci(parser) < 0 ? -ENOMEM : description_finish(parser);
}

int vm_config_parse(const char *text, size_t length, struct vm_config *ret, struct error *error)
{
	cleanup(parser_done) struct vm_parser parser = {0};
	auto_free char *copy = strndup(text, length);

	if (!copy || lines_read(&parser, copy) < 0)
		return error_set_errno(error, -ENOMEM, "read a VM's config");
	*ret = parser.config;
	parser.config = (struct vm_config){0};
	return 0;
}

void vm_config_done(struct vm_config *config)
{
	vm_entries_free(config->entries, config->count);
	vm_entries_free(config->ignored, config->ignored_count);
	names_done(&config->warnings);
	*config = (struct vm_config){0};
}

const char *vm_config_get(const struct vm_config *config, const char *key)
{
	const struct vm_config_entry *entry = vm_entry_find(config->entries, config->count, key);

	return entry ? entry->value : NULL;
}

const char *vm_config_hostpci(const struct vm_config *config, unsigned int index)
{
	char key[32];

	snprintf(key, sizeof(key), "hostpci%u", index);
	return vm_config_get(config, key);
}

bool vm_config_has_hostpci(const struct vm_config *config)
{
	for (unsigned int i = 0; i < HOSTPCI_MAX; i++) {
		if (vm_config_hostpci(config, i))
			return true;
	}
	return false;
}

bool vm_config_is_template(const struct vm_config *config)
{
	const char *value = vm_config_get(config, "template");

	return value && strcmp(value, "1") == 0;
}

const char *vm_config_ostype(const struct vm_config *config)
{
	static const char *const types[] = {"other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7",
		"win8", "win10", "win11", "l24", "l26", "solaris"};
	const char *value = vm_config_get(config, "ostype");

	for (size_t i = 0; value && i < sizeof(types) / sizeof(*types); i++) {
		if (strcmp(types[i], value) == 0)
			return types[i];
	}
	return "other";
}

bool vm_config_is_windows(const struct vm_config *config)
{
	return vm_config_ostype(config)[0] == 'w';
}

bool vm_config_is_q35(const struct vm_config *config)
{
	cleanup(property_set_done) struct property_set set = {0};
	const char *machine = vm_config_get(config, "machine");
	const char *type;

	if (!machine || property_parse(&machine_format, machine, &set, NULL) < 0)
		return false;
	type = property_get(&set, "type");
	return type && strstr(type, "q35");
}

bool vm_config_has_agent(const struct vm_config *config)
{
	cleanup(property_set_done) struct property_set set = {0};
	const char *agent = vm_config_get(config, "agent");

	return agent && property_parse(&agent_format, agent, &set, NULL) == 0 &&
		property_is_true(&set, "enabled");
}

/* What the reader of /etc/pve needs in the child. */
struct vm_file {
	struct vm_config_read_options options;
	char path[512];
};

/* Finds the node that has NODE/@folder/VMID.conf; true when there is one. */
static bool node_that_has(
	const struct root *root, const char *folder, unsigned int vmid, char *ret_node, size_t size)
{
	cleanup(names_done) struct names nodes = {0};
	char path[512];

	if (folder_list(root, "etc/pve/nodes", &nodes) < 0)
		return false;
	for (size_t i = 0; i < nodes.count; i++) {
		snprintf(path, sizeof(path), "etc/pve/nodes/%s/%s/%u.conf", nodes.names[i], folder,
			vmid);
		if (node_name_is_valid(nodes.names[i]) && file_exists(root, path)) {
			snprintf(ret_node, size, "%s", nodes.names[i]);
			return true;
		}
	}
	return false;
}

static const char *noun_of(const struct vm_config_read_options *options)
{
	return options->container ? "container" : "VM";
}

static const char *folder_of(const struct vm_config_read_options *options)
{
	return options->container ? "lxc" : "qemu-server";
}

static int say_missing(const struct root *root, const struct vm_file *file, struct error *error)
{
	const struct vm_config_read_options *options = &file->options;
	unsigned int vmid = options->vmid;
	char path[64];
	char node[NODE_NAME_SIZE];

	snprintf(path, sizeof(path), "etc/pve/lxc/%u.conf", vmid);
	if (!options->container && file_exists(root, path))
		return error_set(error, -EISNAM, "%u is a container, not a VM (/%s)", vmid, path);
	if (!options->container && node_that_has(root, "lxc", vmid, node, sizeof(node)))
		return error_set(
			error, -EISNAM, "%u is a container (on node %s), not a VM", vmid, node);
	if (node_that_has(root, folder_of(options), vmid, node, sizeof(node)))
		return error_set(error, -EREMOTE, "%s %u is not on this node but on %s (no /%s)",
			noun_of(options), vmid, node, file->path);
	if (!file_exists(root, "etc/pve/local"))
		return error_set(error, -ENOTCONN,
			"there is no %s %u, and no /etc/pve/local: is pve-cluster running?",
			noun_of(options), vmid);
	return error_set(error, -ENOENT, "there is no %s %u (no /%s); see `%s list`",
		noun_of(options), vmid, file->path, options->container ? "pct" : "qm");
}

static int path_of_own(const struct root *root, struct vm_file *file, struct error *error)
{
	char node[NODE_NAME_SIZE];
	int r;

	snprintf(file->path, sizeof(file->path), "etc/pve/%s/%u.conf", folder_of(&file->options),
		file->options.vmid);
	if (file_exists(root, file->path))
		return 0;
	r = node_find(root, node, sizeof(node), error);
	if (r < 0)
		return r;
	snprintf(file->path, sizeof(file->path), "etc/pve/nodes/%s/%s/%u.conf", node,
		folder_of(&file->options), file->options.vmid);
	return 0;
}

static bool is_coming(const struct vm_config_read_options *options)
{
	return options->migrated_from && options->migrated_from[0];
}

static int path_find(const struct root *root, struct vm_file *file, struct error *error)
{
	const char *node = file->options.migrated_from;

	if (!is_coming(&file->options))
		return path_of_own(root, file, error);
	if (!node_name_is_valid(node))
		return error_set(error, -EINVAL,
			"PVE_MIGRATED_FROM is '%.80s', which is not a node name", node);
	snprintf(file->path, sizeof(file->path), "etc/pve/nodes/%s/qemu-server/%u.conf", node,
		file->options.vmid);
	return 0;
}

static int file_get(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	struct file_read_options options = {.max = VM_CONFIG_MAX_BYTES, .refuse_nul = true};
	struct vm_file *file = context;
	int r = path_find(root, file, error);

	if (r < 0)
		return r;
	r = file_read(root, file->path, &options, ret_text, ret_length, error);
	return r == -ENOENT ? say_missing(root, file, error) : r;
}

int vm_config_read_text(const struct root *root, const struct vm_config_read_options *options,
	char **ret_text, size_t *ret_length, struct error *error)
{
	struct vm_file file = {.options = *options};
	struct cluster_request request = {
		.read = file_get,
		.context = &file,
		.context_size = sizeof(file),
		.deadline_ms = options->deadline_ms,
	};
	int r = cluster_read(root, &request, ret_text, ret_length, error);

	return r < 0
		? error_wrap(error, r, "read the config of %s %u", noun_of(options), options->vmid)
		: 0;
}

int vm_config_read(const struct root *root, const struct vm_config_read_options *options,
	struct vm_config *ret, struct error *error)
{
	auto_free char *text = NULL;
	size_t length = 0;
	int r = vm_config_read_text(root, options, &text, &length, error);

	return r < 0 ? r : vm_config_parse(text, length, ret, error);
}
