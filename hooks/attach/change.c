/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Plans changes of a guest's config and makes them with `qm set` or `pct set`. */

#include "change.h"

#include "conf/pve/cluster.h"
#include "conf/pve/container.h"
#include "conf/pve/vm_keys.h"
#include "hooks/base/output.h"
#include "hooks/base/program.h"
#include "hooks/base/screen.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <sha1.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct guest_kind guest_is_vm = {"VM", "qm", QM_PATH};
const struct guest_kind guest_is_container = {"container", "pct", PCT_PATH};

/* The text of the VM's config, or of the container's that has this number. */
static int read_text(struct context *context, struct guest_config *config, char **ret_text,
	size_t *ret_length, struct error *error)
{
	struct vm_config_read_options options = {
		.vmid = config->vmid, .deadline_ms = CLUSTER_DEADLINE_MS};
	int r = vm_config_read_text(&context->kernel.root, &options, ret_text, ret_length, error);

	if (r != -EISNAM)
		return r;
	options.container = true;
	config->kind = &guest_is_container;
	return vm_config_read_text(&context->kernel.root, &options, ret_text, ret_length, error);
}

static int parse_nodes(const char *text, struct names *ret)
{
	auto_free char *copy = strdup(text);

	return copy ? container_nodes_parse(copy, ret) : -ENOMEM;
}

int guest_config_read(
	struct context *context, unsigned int vmid, struct guest_config *ret, struct error *error)
{
	cleanup(guest_config_done) struct guest_config config = {
		.kind = &guest_is_vm, .vmid = vmid};
	auto_free char *text = NULL;
	size_t length = 0;
	int r = read_text(context, &config, &text, &length, error);

	if (r == 0)
		r = vm_config_parse(text, length, &config.now, error);
	if (r == 0)
		r = vm_sections_parse(text, length, &config.sections, error);
	config.sections.container = config.kind == &guest_is_container;
	if (r == 0 && config.sections.container && parse_nodes(text, &config.nodes) < 0)
		r = error_set_errno(error, -ENOMEM, "read the config of container %u", vmid);
	if (r < 0)
		return r;
	/* the same digest as in PVE/QemuServer.pm (parse_vm_config), PVE/LXC/Config.pm */
	SHA1Data((const uint8_t *)text, length, config.digest);
	*ret = config;
	config = (struct guest_config){0};
	return 0;
}

void guest_config_done(struct guest_config *config)
{
	vm_config_done(&config->now);
	vm_sections_done(&config->sections);
	names_done(&config->nodes);
}

const char *guest_config_now(const struct guest_config *config, const char *key)
{
	const char *value = vm_config_get(&config->now, key);

	return value ? value : vm_section_get(&config->sections.own, key);
}

const char *guest_config_get(const struct guest_config *config, const char *key)
{
	bool pending;
	const char *value = vm_pending_get(&config->sections, key, &pending);

	return pending ? value : guest_config_now(config, key);
}

bool guest_config_is_pending(const struct guest_config *config, const char *key)
{
	bool pending;

	vm_pending_get(&config->sections, key, &pending);
	return pending;
}

bool guest_config_is_q35(const char *machine)
{
	cleanup(property_set_done) struct property_set set = {0};
	const char *type;

	if (!machine || property_parse(&machine_format, machine, &set, NULL) < 0)
		return false;
	type = property_get(&set, "type");
	return type && strstr(type, "q35");
}

/* ---- the list */

static struct change *find(const struct changes *changes, const char *key)
{
	for (size_t i = 0; i < changes->count; i++) {
		if (strcmp(changes->items[i].key, key) == 0)
			return &changes->items[i];
	}
	return NULL;
}

const char *changes_get(
	const struct changes *changes, const struct guest_config *config, const char *key)
{
	const struct change *change = find(changes, key);

	return change ? change->after : guest_config_get(config, key);
}

static bool is_same(const char *left, const char *right)
{
	return left && right ? strcmp(left, right) == 0 : left == right;
}

int changes_add(struct changes *changes, const struct guest_config *config, const char *key,
	const char *after, const char *why)
{
	const char *before = guest_config_get(config, key);
	struct change *change = find(changes, key);

	if (!change && is_same(before, after))
		return 0;
	if (change) {
		change->why = why;
		return text_replace(&change->after, after);
	}
	change = LIST_ADD(changes->items, changes->count);
	if (!change)
		return -ENOMEM;
	memcpy(changes->digest, config->digest, sizeof(changes->digest));
	change->why = why;
	snprintf(change->key, sizeof(change->key), "%s", key);
	return text_replace(&change->before, before) < 0 || text_replace(&change->after, after) < 0
		? -ENOMEM
		: 0;
}

int changes_note(struct changes *changes, const char *format, ...)
{
	char text[ERROR_MESSAGE_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return names_add_once(&changes->notes, text);
}

int changes_free_key(const struct changes *changes, const struct guest_config *config,
	const char *prefix, unsigned int count, char *ret, size_t size, struct error *error)
{
	for (unsigned int i = 0; i < count; i++) {
		snprintf(ret, size, "%s%u", prefix, i);
		if (!changes_get(changes, config, ret) && !guest_config_now(config, ret))
			return 0;
	}
	return error_set(error, -ENOSPC, "all %u %s entries of %s %u are in use", count, prefix,
		config->kind->noun, config->vmid);
}

/* Lists the keys whose change waits until the guest stops, as "a, b". */
static void list_pending(const struct changes *changes, char *text, size_t size)
{
	size_t length = 0;

	text[0] = '\0';
	for (size_t i = 0; i < changes->count && length < size; i++) {
		if (changes->items[i].pending)
			length += (size_t)snprintf(text + length, size - length, "%s%s",
				length ? ", " : "", changes->items[i].key);
	}
}

int changes_note_pending(struct changes *changes)
{
	bool is_vm = changes->kind == &guest_is_vm;
	char keys[512];

	list_pending(changes, keys, sizeof(keys));
	return keys[0] ? changes_note(changes,
				 "%s %u is running: %s must wait until it is stopped and started "
				 "(`%s reboot %u` does that%s)",
				 changes->kind->noun, changes->vmid, keys, changes->kind->tool,
				 changes->vmid, is_vm ? ", a reboot inside the guest does not" : "")
		       : 0;
}

void changes_done(struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		free(changes->items[i].before);
		free(changes->items[i].after);
	}
	free(changes->items);
	names_done(&changes->notes);
	*changes = (struct changes){0};
}

/* ---- qm set, pct set */

/* The words of a command, NULL at the end. */
struct words {
	struct names names;
	const char **list;
};

static void words_done(struct words *words)
{
	names_done(&words->names);
	free(words->list);
}

static int add_option(struct names *names, const char *key, const char *value)
{
	char option[48];

	snprintf(option, sizeof(option), "--%s", key);
	return names_add(names, option) < 0 || names_add(names, value) < 0 ? -ENOMEM : 0;
}

static int add_deletions(struct names *names, const struct changes *changes)
{
	auto_free char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);

	if (!stream)
		return -ENOMEM;
	for (size_t i = 0; i < changes->count; i++) {
		if (!changes->items[i].after)
			fprintf(stream, "%s%s", ftell(stream) ? "," : "", changes->items[i].key);
	}
	if (fclose(stream) != 0)
		return -ENOMEM;
	return length ? add_option(names, "delete", text) : 0;
}

static int make_command(const struct changes *changes, struct words *words, struct error *error)
{
	char vmid[16];
	int r;

	snprintf(vmid, sizeof(vmid), "%u", changes->vmid);
	r = names_add(&words->names, changes->kind->path);
	if (r == 0)
		r = names_add(&words->names, "set");
	if (r == 0)
		r = names_add(&words->names, vmid);
	for (size_t i = 0; r == 0 && i < changes->count; i++) {
		if (changes->items[i].after)
			r = add_option(
				&words->names, changes->items[i].key, changes->items[i].after);
	}
	if (r == 0)
		r = add_deletions(&words->names, changes);
	if (r == 0)
		r = add_option(&words->names, "digest", changes->digest);
	words->list = calloc(words->names.count + 1, sizeof(*words->list));
	if (r < 0 || !words->list)
		return error_set_errno(error, -ENOMEM, "make the command");
	for (size_t i = 0; i < words->names.count; i++)
		words->list[i] = words->names.names[i];
	return 0;
}

static int run_tool(const struct changes *changes, struct error *error)
{
	cleanup(words_done) struct words words = {0};
	int r = make_command(changes, &words, error);

	return r < 0 ? r : program_run(words.list, error);
}

/* Reads what the config has now. A value that qm wrote in a different form is fine; a key that did
 * not change is an error. */
static int read_back(struct context *context, struct changes *changes, struct error *error)
{
	cleanup(guest_config_done) struct guest_config config = {0};
	int r = guest_config_read(context, changes->vmid, &config, error);

	for (size_t i = 0; r == 0 && i < changes->count; i++) {
		struct change *change = &changes->items[i];
		const char *value = guest_config_get(&config, change->key);

		if (!is_same(value, change->after) &&
			(!change->after || is_same(value, change->before)))
			return error_set(error, -EIO,
				"%s set reported no error, but '%s' of %s %u is '%.200s' afterwards",
				changes->kind->tool, change->key, changes->kind->noun,
				changes->vmid, value ? value : "(not set)");
		change->pending = guest_config_is_pending(&config, change->key);
		r = text_replace(&change->after, value);
		if (r < 0)
			error_set_errno(error, r, "read back the config of %s %u",
				changes->kind->noun, changes->vmid);
	}
	return r;
}

/* Puts back what a failed `qm set` has changed nevertheless. *@ret_stale is true when it changed
 * nothing, and the config is no longer the one that the changes were planned for. */
static int put_back(struct context *context, const struct changes *changes, bool *ret_stale,
	struct error *error)
{
	cleanup(guest_config_done) struct guest_config config = {0};
	cleanup(changes_done) struct changes back = {.kind = changes->kind, .vmid = changes->vmid};
	int r = guest_config_read(context, changes->vmid, &config, error);

	for (size_t i = 0; r == 0 && i < changes->count; i++) {
		const struct change *change = &changes->items[i];

		if (is_same(guest_config_get(&config, change->key), change->after))
			r = changes_add(&back, &config, change->key, change->before, NULL);
		if (r < 0)
			error_set_errno(error, r, "put back the config");
	}
	*ret_stale = r == 0 && !back.count && strcmp(config.digest, changes->digest) != 0;
	return r < 0 || !back.count ? r : run_tool(&back, error);
}

static void undo(
	struct context *context, const struct changes *changes, bool *ret_stale, bool *ret_left)
{
	struct error error = {0};

	*ret_left = put_back(context, changes, ret_stale, &error) < 0;
	if (*ret_left)
		log_write(&context->log, LOG_ERR, "put back the config of %s %u: %s",
			changes->kind->noun, changes->vmid, error.message);
}

int changes_apply(
	struct context *context, struct changes *changes, bool *ret_left, struct error *error)
{
	bool stale = false;
	int r;

	*ret_left = false;
	if (!changes->count) {
		changes->applied = true;
		return 0;
	}
	r = program_check(context, changes->kind->path, error);
	if (r < 0)
		return r;
	r = run_tool(changes, error);
	if (r < 0) {
		undo(context, changes, &stale, ret_left);
		return !stale
			? r
			: error_wrap(error, r,
				  "somebody else has just changed the config, nothing was done "
				  "(try again)");
	}
	r = read_back(context, changes, error);
	if (r < 0)
		undo(context, changes, &stale, ret_left);
	changes->applied = r == 0;
	return r;
}

bool changes_undo(struct context *context, struct changes *changes)
{
	bool stale, left;

	undo(context, changes, &stale, &left);
	changes->applied = false;
	return !left;
}

/* ---- printing */

static struct json_object *format_change(const struct change *change)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "key", change->key);
	json_add_text_or_null(object, "before", change->before ? change->before : "");
	json_add_text_or_null(object, "after", change->after ? change->after : "");
	json_add_text_or_null(object, "why", change->why ? change->why : "");
	json_object_object_add(object, "pending", json_object_new_boolean(change->pending));
	return object;
}

static int print_json(const struct context *context, const struct changes *changes,
	const struct words *words, struct error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *array = json_object_new_array();

	json_add_number(object, "vmid", changes->vmid);
	if (changes->count)
		json_add_strings(object, "command", &words->names);
	else
		json_object_object_add(object, "command", NULL);
	for (size_t i = 0; i < changes->count; i++)
		json_object_array_add(array, format_change(&changes->items[i]));
	json_object_object_add(object, "changes", array);
	json_add_strings(object, "notes", &changes->notes);
	json_object_object_add(object, "applied", json_object_new_boolean(changes->applied));
	return output_json(context, object, error);
}

/* "- KEY: VALUE" */
static void print_line(bool coloured, char sign, const char *key, const char *value)
{
	screen_paint(coloured, sign == '+' ? COLOUR_GREEN : COLOUR_RED);
	output_print("%c %s: %s", sign, key, value);
	screen_paint(coloured, NULL);
	putchar('\n');
}

static int print_text(const struct context *context, const struct changes *changes,
	const struct words *words, struct error *error)
{
	bool coloured = screen_has_colours(context);
	auto_free char *command = program_format(words->list);

	if (!command)
		return error_set_errno(error, -ENOMEM, "print the command");
	if (changes->count)
		output_print("%s\n", command);
	else
		output_print("%s %u: nothing to change\n", changes->kind->noun, changes->vmid);
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->items[i];

		if (change->before)
			print_line(coloured, '-', change->key, change->before);
		if (change->after)
			print_line(coloured, '+', change->key, change->after);
		if (change->why)
			output_print("    %s\n", change->why);
	}
	for (size_t i = 0; i < changes->notes.count; i++)
		output_print("note: %s\n", changes->notes.names[i]);
	if (fflush(stdout) != 0)
		return error_set_errno(error, -EIO, "write to standard output");
	return 0;
}

int changes_print(struct context *context, const struct changes *changes, struct error *error)
{
	cleanup(words_done) struct words words = {0};
	int r = make_command(changes, &words, error);

	if (r < 0)
		return r;
	return context->output == OUTPUT_TEXT ? print_text(context, changes, &words, error)
					      : print_json(context, changes, &words, error);
}
