/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Loads, unloads and looks up kernel modules with libkmod. */

#include "modules.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/library.h"
#include "kmod-helper/base/process.h"
#include "module_files.h"
#include <errno.h>
#include <fcntl.h>
#include <libkmod.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

/* modprobe.d(5) of kmod 30 and 34; an earlier folder wins. With a merged /usr two of them are the
 * same folder, and libkmod reads a file name only once. */
static const char *const config_folders[] = {
	"etc/modprobe.d",
	"run/modprobe.d",
	"usr/local/lib/modprobe.d",
	"usr/lib/modprobe.d",
	"lib/modprobe.d",
};

#define CONFIG_FOLDER_COUNT (sizeof(config_folders) / sizeof(config_folders[0]))
#define MODPROBE_DEADLINE_MS 20000
#define DESCRIPTOR_PATH_SIZE sizeof("/proc/self/fd/-2147483648")

/* A folder of a captured tree, reached through a descriptor that stays inside the tree. */
struct folder {
	int fd;
	char path[DESCRIPTOR_PATH_SIZE];
};

/* libkmod's functions, by their names without "kmod_". */
static struct {
	typeof(&kmod_config_get_blacklists) config_get_blacklists;
	typeof(&kmod_config_iter_free_iter) config_iter_free_iter;
	typeof(&kmod_config_iter_get_key) config_iter_get_key;
	typeof(&kmod_config_iter_next) config_iter_next;
	typeof(&kmod_list_next) list_next;
	typeof(&kmod_module_get_initstate) module_get_initstate;
	typeof(&kmod_module_get_install_commands) module_get_install_commands;
	typeof(&kmod_module_get_module) module_get_module;
	typeof(&kmod_module_get_name) module_get_name;
	typeof(&kmod_module_get_options) module_get_options;
	typeof(&kmod_module_new_from_lookup) module_new_from_lookup;
	typeof(&kmod_module_new_from_name) module_new_from_name;
	typeof(&kmod_module_probe_insert_module) module_probe_insert_module;
	typeof(&kmod_module_remove_module) module_remove_module;
	typeof(&kmod_module_unref) module_unref;
	typeof(&kmod_module_unref_list) module_unref_list;
	typeof(&kmod_new) new;
	typeof(&kmod_set_log_priority) set_log_priority;
	typeof(&kmod_unref) unref;
} kmod;

static const struct library_symbol symbols[] = {
	LIBRARY_SYMBOL(kmod_config_get_blacklists, kmod.config_get_blacklists),
	LIBRARY_SYMBOL(kmod_config_iter_free_iter, kmod.config_iter_free_iter),
	LIBRARY_SYMBOL(kmod_config_iter_get_key, kmod.config_iter_get_key),
	LIBRARY_SYMBOL(kmod_config_iter_next, kmod.config_iter_next),
	LIBRARY_SYMBOL(kmod_list_next, kmod.list_next),
	LIBRARY_SYMBOL(kmod_module_get_initstate, kmod.module_get_initstate),
	LIBRARY_SYMBOL(kmod_module_get_install_commands, kmod.module_get_install_commands),
	LIBRARY_SYMBOL(kmod_module_get_module, kmod.module_get_module),
	LIBRARY_SYMBOL(kmod_module_get_name, kmod.module_get_name),
	LIBRARY_SYMBOL(kmod_module_get_options, kmod.module_get_options),
	LIBRARY_SYMBOL(kmod_module_new_from_lookup, kmod.module_new_from_lookup),
	LIBRARY_SYMBOL(kmod_module_new_from_name, kmod.module_new_from_name),
	LIBRARY_SYMBOL(kmod_module_probe_insert_module, kmod.module_probe_insert_module),
	LIBRARY_SYMBOL(kmod_module_remove_module, kmod.module_remove_module),
	LIBRARY_SYMBOL(kmod_module_unref, kmod.module_unref),
	LIBRARY_SYMBOL(kmod_module_unref_list, kmod.module_unref_list),
	LIBRARY_SYMBOL(kmod_new, kmod.new),
	LIBRARY_SYMBOL(kmod_set_log_priority, kmod.set_log_priority),
	LIBRARY_SYMBOL(kmod_unref, kmod.unref),
};

static const struct library libkmod = {
	.file = "libkmod.so.2",
	.package = "libkmod2",
	.symbols = symbols,
	.symbol_count = sizeof(symbols) / sizeof(symbols[0]),
};

/* kmod_list_foreach, which calls the library by its name */
#define for_each_module(entry, list)                                                               \
	for ((entry) = (list); (entry); (entry) = kmod.list_next(list, entry))

struct modules {
	struct root root; /* borrowed */
	char release[NAME_MAX + 1];
	struct folder folder; /* of a captured tree; libkmod reads it at every look-up */
};

static void folder_open(const struct root *root, const char *path, struct folder *ret)
{
	int fd = file_open(root, path, O_PATH | O_DIRECTORY);

	ret->fd = fd;
	snprintf(ret->path, sizeof(ret->path), "/proc/self/fd/%d", fd);
}

static void folder_close(const struct folder *folder)
{
	cleanup_close(&folder->fd);
}

static void context_free(struct kmod_ctx **context)
{
	if (*context)
		kmod.unref(*context);
}

static void list_free(struct kmod_list **list)
{
	if (*list)
		kmod.module_unref_list(*list);
}

static void module_free(struct kmod_module **module)
{
	if (*module)
		kmod.module_unref(*module);
}

static void iterator_free(struct kmod_config_iter **iterator)
{
	if (*iterator)
		kmod.config_iter_free_iter(*iterator);
}

#define auto_context cleanup(context_free)
#define auto_list cleanup(list_free)
#define auto_module cleanup(module_free)
#define auto_iterator cleanup(iterator_free)

/* Finds the kernel release to use for a captured tree: the one that ran, else the newest. */
static void release_find(const struct root *root, char *release, size_t size)
{
	cleanup(names_done) struct names names = {0};
	const char *latest;

	if (file_read_attribute(root, "proc/sys/kernel/osrelease", release, size) > 0)
		return;
	release[0] = '\0';
	if (folder_list(root, "lib/modules", &names) < 0 || names.count == 0)
		return;
	latest = names.names[0];
	for (size_t i = 1; i < names.count; i++) {
		if (strverscmp(names.names[i], latest) > 0)
			latest = names.names[i];
	}
	snprintf(release, size, "%s", latest);
}

static void folder_find(struct modules *modules)
{
	char path[sizeof("lib/modules/") + NAME_MAX];

	release_find(&modules->root, modules->release, sizeof(modules->release));
	snprintf(path, sizeof(path), "lib/modules/%s", modules->release);
	folder_open(&modules->root, path, &modules->folder);
}

int modules_open(const struct root *root, struct modules **ret, struct error *error)
{
	struct modules *modules = calloc(1, sizeof(*modules));

	if (!modules)
		return error_set_errno(error, -ENOMEM, "open the modules folder");
	modules->root = *root;
	modules->folder.fd = -1;
	if (!root->live)
		folder_find(modules);
	*ret = modules;
	return 0;
}

void modules_close(struct modules *modules)
{
	if (!modules)
		return;
	folder_close(&modules->folder);
	free(modules);
}

/* A missing folder gets a path that cannot be opened; libkmod takes that as an empty folder. */
static struct kmod_ctx *context_new_captured(const struct modules *modules)
{
	struct folder config[CONFIG_FOLDER_COUNT];
	const char *paths[CONFIG_FOLDER_COUNT + 1] = {0};
	struct kmod_ctx *context;

	for (size_t i = 0; i < CONFIG_FOLDER_COUNT; i++) {
		folder_open(&modules->root, config_folders[i], &config[i]);
		paths[i] = config[i].path;
	}
	context = kmod.new(modules->folder.path, paths);
	for (size_t i = 0; i < CONFIG_FOLDER_COUNT; i++)
		folder_close(&config[i]);
	return context;
}

static int context_check(struct kmod_ctx *context, struct kmod_ctx **ret, struct error *error)
{
	if (!context)
		return error_set_errno(error, -ENOMEM, "read the configuration of modprobe");
	/* libkmod would print to stderr itself; its return value says enough */
	kmod.set_log_priority(context, LOG_EMERG);
	*ret = context;
	return 0;
}

/*
 * A new context each time: libkmod reads modprobe.d once, and its own check for changes
 * (kmod_validate_resources) misses a folder that did not exist then, as /run/modprobe.d does not at
 * boot. We write there between an unload and a load.
 */
static int context_new(const struct modules *modules, struct kmod_ctx **ret, struct error *error)
{
	int r = library_load(&libkmod, error);

	if (r < 0)
		return r;
	return context_check(
		modules->root.live ? kmod.new(NULL, NULL) : context_new_captured(modules), ret,
		error);
}

/* The same without modprobe.d: an alias line there hides what the modules say themselves. */
static int context_new_bare(
	const struct modules *modules, struct kmod_ctx **ret, struct error *error)
{
	const char *const no_folders[] = {NULL};
	int r = library_load(&libkmod, error);

	if (r < 0)
		return r;
	return context_check(
		kmod.new(modules->root.live ? NULL : modules->folder.path, no_folders), ret, error);
}

static int lookup(
	struct kmod_ctx *context, const char *alias, struct kmod_list **ret, struct error *error)
{
	int r = kmod.module_new_from_lookup(context, alias, ret);

	return r < 0 ? error_set_errno(error, r, "look up the module %s", alias) : 0;
}

/* Looks up a module by its name only, not by an alias: `alias nouveau off` must not keep nouveau
 * in. */
static int module_by_name(
	struct kmod_ctx *context, const char *name, struct kmod_module **ret, struct error *error)
{
	int r = kmod.module_new_from_name(context, name, ret);

	return r < 0 ? error_set_errno(error, r, "look up the module %s", name) : 0;
}

static bool is_blacklisted(struct kmod_ctx *context, const struct kmod_module *module)
{
	auto_iterator struct kmod_config_iter *iterator = kmod.config_get_blacklists(context);

	while (kmod.config_iter_next(iterator)) {
		if (strcmp(kmod.config_iter_get_key(iterator), kmod.module_get_name(module)) == 0)
			return true;
	}
	return false;
}

static bool is_blocked(struct kmod_ctx *context, const struct kmod_module *module)
{
	return is_blacklisted(context, module) || kmod.module_get_install_commands(module);
}

/* The line may spell the name with dashes or underscores. */
static void name_pattern(const char *name, char *pattern, size_t size)
{
	size_t length = 0;

	for (; *name && length + sizeof("[-_]") < size; name++) {
		const char *text = *name == '_' ? "[-_]" : (const char[]){*name, '\0'};

		length += (size_t)snprintf(pattern + length, size - length, "%s", text);
	}
	pattern[length] = '\0';
}

static int blocked_error(const struct kmod_module *module, struct error *error)
{
	const char *name = kmod.module_get_name(module);
	char pattern[256];

	name_pattern(name, pattern, sizeof(pattern));
	return error_set(error, -EPERM,
		"load the module %s: modprobe.d forbids it (a \"blacklist\" or \"install\" line); "
		"find it with: grep -rwE '%s' /etc/modprobe.d /run/modprobe.d "
		"/usr/local/lib/modprobe.d /lib/modprobe.d /proc/cmdline",
		name, pattern);
}

/* Called instead of a shell for a dependency that an install line replaces. */
static int install_refuse(struct kmod_module *module, const char *command, void *data)
{
	(void)command;
	return blocked_error(module, data);
}

/* "sys/module/NAME/LEAF", the name as the kernel writes it. */
static int module_path(const char *name, const char *leaf, char *buffer, size_t size)
{
	int length = snprintf(buffer, size, "sys/module/%s/%s", name, leaf);

	if (length < 0 || (size_t)length >= size)
		return -ENAMETOOLONG;
	module_name_underscores(buffer);
	return 0;
}

/* Loaded and done with its init, whether or not modules.dep knows it (dkms, insmod). */
static bool is_live(const struct modules *modules, const char *name)
{
	char path[PATH_MAX];
	char state[16];

	if (module_path(name, "initstate", path, sizeof(path)) < 0)
		return false;
	return file_read_attribute(&modules->root, path, state, sizeof(state)) > 0 &&
		strcmp(state, "live") == 0;
}

static int check_one(const struct modules *modules, struct kmod_ctx *context,
	const struct kmod_module *module, struct error *error)
{
	if (is_live(modules, kmod.module_get_name(module)) ||
		kmod.module_get_initstate(module) == KMOD_MODULE_BUILTIN)
		return 0;
	return is_blocked(context, module) ? blocked_error(module, error) : 0;
}

static int load_one(struct kmod_module *module, const char *parameters, struct error *error)
{
	struct error refused = {0};
	int r;

	r = kmod.module_probe_insert_module(module, 0, parameters, install_refuse, &refused, NULL);
	if (r < 0 && refused.status < 0)
		return error_set(error, refused.status, "%s", refused.message);
	if (r < 0)
		return error_set_errno(
			error, r, "load the module %s", kmod.module_get_name(module));
	return 0;
}

static int load_all(const struct kmod_list *list, const char *parameters, struct error *error)
{
	const struct kmod_list *entry;
	int r = 0;

	for_each_module(entry, list)
	{
		auto_module struct kmod_module *module = kmod.module_get_module(entry);

		if (r == 0)
			r = load_one(module, parameters, error);
	}
	return r;
}

static int check_all(const struct modules *modules, struct kmod_ctx *context,
	const struct kmod_list *list, struct error *error)
{
	const struct kmod_list *entry;
	int r = 0;

	for_each_module(entry, list)
	{
		auto_module struct kmod_module *module = kmod.module_get_module(entry);

		if (r == 0)
			r = check_one(modules, context, module, error);
	}
	return r;
}

/* A tree captured without its modules folder cannot say that a module is missing. */
static bool has_index(const struct modules *modules)
{
	char path[sizeof("lib/modules//modules.dep.bin") + NAME_MAX];
	auto_close int fd = -1;

	if (modules->root.live)
		return true;
	snprintf(path, sizeof(path), "lib/modules/%s/modules.dep.bin", modules->release);
	fd = file_open(&modules->root, path, O_PATH);
	return fd >= 0;
}

static int missing_error(const struct modules *modules, const char *name, struct error *error)
{
	char release[NAME_MAX + 1];

	if (!has_index(modules))
		return 0;
	release_find(&modules->root, release, sizeof(release));
	return error_set(error, -ENOENT,
		"%s is not installed for kernel %s: `dkms autoinstall -k %s` where dkms builds it, "
		"else `apt install --reinstall %s-%s`",
		name, release, release, kernel_package(release), release);
}

/* A module that modules.dep does not know may also be forbidden; that is the better reason to
 * report. */
static int unknown_error(const struct modules *modules, struct kmod_ctx *context, const char *name,
	struct error *error)
{
	auto_module struct kmod_module *module = NULL;
	int r = module_by_name(context, name, &module, error);

	if (r < 0)
		return r;
	if (is_blocked(context, module))
		return blocked_error(module, error);
	return missing_error(modules, name, error);
}

/* Finds the modules to load for @name, after a check; none when it is already loaded. */
static int find_loadable(const struct modules *modules, const char *name,
	struct kmod_ctx **ret_context, struct kmod_list **ret_list, struct error *error)
{
	int r;

	if (is_live(modules, name))
		return 0;
	r = context_new(modules, ret_context, error);
	if (r == 0)
		r = lookup(*ret_context, name, ret_list, error);
	if (r < 0)
		return r;
	if (!*ret_list)
		return unknown_error(modules, *ret_context, name, error);
	return check_all(modules, *ret_context, *ret_list, error);
}

static int refuse_captured(const struct modules *modules, const char *name, struct error *error)
{
	if (modules->root.live)
		return 0;
	return error_set(error, -EROFS, "change the module %s: this is a captured tree", name);
}

int module_load(struct modules *modules, const char *name, struct error *error)
{
	auto_context struct kmod_ctx *context = NULL;
	auto_list struct kmod_list *list = NULL;
	int r;

	r = refuse_captured(modules, name, error);
	if (r == 0)
		r = find_loadable(modules, name, &context, &list, error);
	return r < 0 ? r : load_all(list, NULL, error);
}

int module_check(struct modules *modules, const char *name, struct error *error)
{
	auto_context struct kmod_ctx *context = NULL;
	auto_list struct kmod_list *list = NULL;

	return find_loadable(modules, name, &context, &list, error);
}

int module_options(
	struct modules *modules, const char *name, char *buffer, size_t size, struct error *error)
{
	auto_context struct kmod_ctx *context = NULL;
	auto_module struct kmod_module *module = NULL;
	const char *options;
	int r = context_new(modules, &context, error);

	if (r == 0)
		r = module_by_name(context, name, &module, error);
	if (r < 0)
		return r;
	options = kmod.module_get_options(module);
	if ((size_t)snprintf(buffer, size, "%s", options ? options : "") >= size)
		return error_set_errno(error, -ENAMETOOLONG, "read the options of %s", name);
	return 0;
}

/* modprobe takes each parameter as an argument of its own. */
static int run_modprobe_with(
	const char *folder, const char *name, const char *parameters, struct error *error)
{
	const struct process_options options = {.deadline_ms = MODPROBE_DEADLINE_MS};
	auto_free char *copy = strdup(parameters ? parameters : "");
	auto_free const char **arguments =
		calloc(6 + (copy ? strlen(copy) : 0), sizeof(*arguments));
	size_t count = 0;
	char *save = NULL;

	if (!copy || !arguments)
		return error_set_errno(error, -ENOMEM, "load the module %s", name);
	arguments[count++] = "/sbin/modprobe";
	if (folder) {
		arguments[count++] = "-C";
		arguments[count++] = folder;
	}
	arguments[count++] = "--";
	arguments[count++] = name;
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		arguments[count++] = word;
	return process_run(arguments, &options, error);
}

/* An install line that refuses may be our own, for another VM with Windows: those are in /run. */
static int run_modprobe(const char *name, const char *parameters, struct error *error)
{
	int r = run_modprobe_with(NULL, name, parameters, error);

	if (r > 0)
		r = run_modprobe_with("/etc/modprobe.d", name, parameters, error);
	if (r > 0)
		return error_set(error, -EIO,
			"load the module %s: its install line in modprobe.d failed; see: modprobe "
			"-v %s",
			name, name);
	return r;
}

/* If the module, or one that it depends on, has an install line, modprobe does the whole load. */
static int reload_all(
	const struct kmod_list *list, const char *name, const char *parameters, struct error *error)
{
	struct error why = {0};
	int r = load_all(list, parameters, &why);

	if (r == -EPERM)
		return run_modprobe(name, parameters, error);
	if (r < 0 && error)
		*error = why;
	return r;
}

int module_reload(
	struct modules *modules, const char *name, const char *parameters, struct error *error)
{
	auto_context struct kmod_ctx *context = NULL;
	auto_list struct kmod_list *list = NULL;
	int r = refuse_captured(modules, name, error);

	if (r < 0 || is_live(modules, name))
		return r;
	r = context_new(modules, &context, error);
	if (r == 0)
		r = lookup(context, name, &list, error);
	if (r < 0)
		return r;
	return list ? reload_all(list, name, parameters, error)
		    : missing_error(modules, name, error);
}

static int unload_one(struct kmod_module *module, const char *name, struct error *error)
{
	int r = kmod.module_get_initstate(module);

	if (r == -ENOENT)
		return 0;
	if (r == KMOD_MODULE_BUILTIN)
		return error_set(
			error, -EBUSY, "unload the module %s: it is built into the kernel", name);
	r = kmod.module_remove_module(module, KMOD_REMOVE_NOLOG);
	/* delete_module(2): EWOULDBLOCK while it has users; ENOENT when another was faster */
	if (r == -EWOULDBLOCK || r == -EBUSY)
		return error_set(error, -EBUSY,
			"unload the module %s: it is in use; see: lsmod | grep -w %s", name, name);
	if (r < 0 && r != -ENOENT)
		return error_set_errno(error, r, "unload the module %s", name);
	return 0;
}

int module_unload(struct modules *modules, const char *name, struct error *error)
{
	auto_context struct kmod_ctx *context = NULL;
	auto_module struct kmod_module *module = NULL;
	int r;

	r = refuse_captured(modules, name, error);
	if (r == 0)
		r = context_new(modules, &context, error);
	if (r == 0)
		r = module_by_name(context, name, &module, error);
	return r < 0 ? r : unload_one(module, name, error);
}

static int names_from_list(const struct kmod_list *list, struct names *names, struct error *error)
{
	const struct kmod_list *entry;

	for_each_module(entry, list)
	{
		auto_module struct kmod_module *module = kmod.module_get_module(entry);
		const char *name = kmod.module_get_name(module);

		/* an alias can name it twice, by its ids and by its class */
		if (names_add_once(names, name) < 0)
			return error_set_errno(error, -ENOMEM, "look up the module %s", name);
	}
	return 0;
}

static int add_found(
	struct kmod_ctx *context, const char *alias, struct names *names, struct error *error)
{
	auto_list struct kmod_list *list = NULL;
	int r = lookup(context, alias, &list, error);

	return r < 0 ? r : names_from_list(list, names, error);
}

int module_lookup(
	struct modules *modules, const char *alias, struct names *ret, struct error *error)
{
	auto_context struct kmod_ctx *context = NULL;
	auto_context struct kmod_ctx *bare = NULL;
	cleanup(names_done) struct names names = {0};
	int r = context_new(modules, &context, error);

	if (r == 0)
		r = add_found(context, alias, &names, error);
	if (r == 0)
		r = context_new_bare(modules, &bare, error);
	if (r == 0)
		r = add_found(bare, alias, &names, error);
	if (r < 0)
		return r;
	*ret = names;
	names = (struct names){0};
	return 0;
}
