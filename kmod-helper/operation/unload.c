/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Operations: unload a driver's modules and load them again. */

#include "unload.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/device_nodes.h"
#include "kmod-helper/device/driver_use.h"
#include "kmod-helper/device/pci.h"
#include "parameters.h"
#include <errno.h>
#include <string.h>

#define RELOAD "reload"
#define UNLOAD "unload"
#define UNLOAD_UNUSED "unload_unused"

static int list_words(const char *text, struct names *ret)
{
	auto_free char *copy = strdup(text);
	char *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	for (char *word = copy ? strtok_r(copy, " ", &save) : NULL; r == 0 && word;
		word = strtok_r(NULL, " ", &save))
		r = names_add(ret, word);
	return r;
}

/* Built-in modules have a folder there too, but no count of users. */
static bool is_loaded(const struct kernel *kernel, const char *module)
{
	char path[PCI_PATH_SIZE], text[16];

	snprintf(path, sizeof(path), "sys/module/%s/refcnt", module);
	return kernel_read(kernel, path, text, sizeof(text)) > 0;
}

/* Deeper than any family of modules. The kernel lets no two modules use each other, but a captured
 * tree may say so. */
#define USERS_DEPTH_MAX 16

/* Appends the modules that use @module, each after its own users, and then @module itself. */
static int add_with_users(const struct kernel *kernel, const char *family, const char *module,
	unsigned int depth, struct names *names, struct error *error)
{
	cleanup(names_done) struct names users = {0};
	char path[PCI_PATH_SIZE];
	int r;

	if (depth > USERS_DEPTH_MAX)
		return error_set(error, -ELOOP,
			"look for the modules that use %s: they use each other in a circle",
			family);
	snprintf(path, sizeof(path), "sys/module/%s/holders", module);
	r = kernel_list(kernel, path, &users);
	if (r == -ENOENT)
		r = 0;
	for (size_t i = 0; r == 0 && i < users.count; i++) {
		if (names_have(names, users.names[i]))
			continue;
		if (!driver_module_is_family(family, users.names[i]))
			return error_set(
				error, -EBUSY, "the module %s uses %s", users.names[i], module);
		r = add_with_users(kernel, family, users.names[i], depth + 1, names, error);
	}
	if (r == 0)
		r = names_add(names, module);
	return r < 0 && r != -EBUSY && r != -ELOOP
		? error_set_errno(error, r, "find the users of the module %s", module)
		: r;
}

static size_t text_length(const struct names *names)
{
	size_t length = 0;

	for (size_t i = 0; i < names->count; i++)
		length += strlen(names->names[i]) + 1;
	return length;
}

int unload_find_modules(
	const struct kernel *kernel, const char *module, struct names *ret, struct error *error)
{
	cleanup(names_done) struct names names = {0};
	int r;

	if (!is_loaded(kernel, module))
		return error_set(error, -ENOENT, "the module %s is not loaded", module);
	r = add_with_users(kernel, module, module, 0, &names, error);
	if (r < 0)
		return r;
	if (text_length(&names) > STEP_TEXT_SIZE)
		return error_set(error, -E2BIG, "too many modules use %s", module);
	*ret = names;
	names = (struct names){0};
	return 0;
}

bool unload_is_reload(const struct step *step)
{
	return strcmp(step->operation, RELOAD) == 0;
}

static struct step make_step(
	const char *operation, const struct names *modules, size_t count, const char *why)
{
	struct step step = {0};
	size_t used = 0;

	snprintf(step.operation, sizeof(step.operation), "%s", operation);
	snprintf(step.subject, sizeof(step.subject), "%s", modules->names[modules->count - 1]);
	for (size_t i = 0; i < count && used < sizeof(step.argument); i++)
		used += (size_t)snprintf(step.argument + used, sizeof(step.argument) - used, "%s%s",
			i ? " " : "", modules->names[i]);
	snprintf(step.why, sizeof(step.why), "%s", why);
	return step;
}

int unload_plan_reload(const struct kernel *kernel, struct steps *steps,
	const struct names *modules, size_t count, const char *why)
{
	struct step step = make_step(RELOAD, modules, count, why);

	for (size_t i = 0; i < count; i++)
		parameters_add(kernel, modules->names[i], step.original, sizeof(step.original));
	return steps_insert(steps, 0, &step) ? 0 : -ENOMEM;
}

int unload_plan_unload(
	struct steps *steps, const struct names *modules, size_t count, const char *why)
{
	struct step step = make_step(UNLOAD, modules, count, why);

	return steps_add(steps, &step) ? 0 : -ENOMEM;
}

int unload_plan_unused(
	struct steps *steps, const struct names *modules, size_t count, const char *why)
{
	struct step step = make_step(UNLOAD_UNUSED, modules, count, why);

	return steps_add(steps, &step) ? 0 : -ENOMEM;
}

static struct step *find_reload(struct steps *steps, const char *subject)
{
	for (size_t i = 0; i < steps->count; i++) {
		if (unload_is_reload(&steps->items[i]) &&
			strcmp(steps->items[i].subject, subject) == 0)
			return &steps->items[i];
	}
	return NULL;
}

/* Puts the modules that only @reload has in front: they may use the others. */
static int merge(struct step *step, const struct step *reload)
{
	cleanup(names_done) struct names known = {0};
	cleanup(names_done) struct names added = {0};
	int r = list_words(step->argument, &known);

	if (r == 0)
		r = list_words(reload->argument, &added);
	for (size_t i = added.count; r == 0 && i-- > 0;) {
		char text[STEP_TEXT_SIZE];

		if (names_have(&known, added.names[i]))
			continue;
		if (snprintf(text, sizeof(text), "%s %s", added.names[i], step->argument) >=
			(int)sizeof(text))
			break;
		memcpy(step->argument, text, sizeof(text));
		parameters_copy(reload->original, added.names[i], step->original);
	}
	return r;
}

int unload_record_reload(struct steps *steps, const struct step *reload)
{
	struct step *known = find_reload(steps, reload->subject);

	if (known)
		return merge(known, reload);
	return steps_insert(steps, 0, reload) ? 0 : -ENOMEM;
}

static int apply_unload(const struct kernel *kernel, const struct step *step, struct error *error)
{
	cleanup(names_done) struct names modules = {0};
	int r = list_words(step->argument, &modules);

	if (r < 0)
		return error_set_errno(error, r, "unload %s", step->argument);
	for (size_t i = 0; r == 0 && i < modules.count; i++)
		r = kernel->ops->module_unload(kernel->context, modules.names[i], error);
	return r;
}

/* A message with status 0 is a remark. */
static int unload_one_unused(const struct kernel *kernel, const char *module, struct error *error)
{
	const struct names none = {0};
	struct error why = {0};
	char device[64];
	int r;

	if (driver_module_find_device(kernel, module, &none, device, sizeof(device))) {
		error_set(error, 0, "%s stays loaded: %s uses it", module, device);
		return -EBUSY;
	}
	r = kernel->ops->module_unload(kernel->context, module, &why);
	if (r < 0)
		error_set(error, 0, "%s stays loaded: %s", module, why.message);
	return r;
}

static int apply_unload_unused(
	const struct kernel *kernel, const struct step *step, struct error *error)
{
	cleanup(names_done) struct names modules = {0};
	int r = list_words(step->argument, &modules);

	if (r < 0)
		return error_set_errno(error, r, "unload %s", step->argument);
	/* each is used by those before it, so the first one that stays ends it */
	for (size_t i = 0; i < modules.count; i++) {
		if (unload_one_unused(kernel, modules.names[i], error) < 0)
			break;
	}
	return 0;
}

/* The kernel makes no node for nvidia_uvm, and its major number may have changed. If the program is
 * missing, whoever needs the node makes it, as after a boot. */
static int make_uvm_nodes(const struct kernel *kernel, struct error *error)
{
	struct error why = {0};

	if (nodes_make_nvidia(kernel, "0", false, &why) < 0 && why.status != -ENOENT)
		error_set(error, 0, "make /dev/nvidia-uvm: %s", why.message);
	return 0;
}

static int reload_one(const struct kernel *kernel, const char *module, struct error *error)
{
	int r = kernel->ops->module_reload(kernel->context, module, NULL, error);

	/* the driver wants a device and has none at home yet: it comes with the next device */
	if (r == -ENODEV)
		return error_set(
			error, 0, "%s is not loaded again: it found no device of its own", module);
	return r;
}

static int undo_reload(const struct kernel *kernel, const struct step *step, struct error *error)
{
	cleanup(names_done) struct names modules = {0};
	int r = list_words(step->argument, &modules), first = 0;

	if (r < 0)
		return error_set_errno(error, r, "load %s again", step->argument);
	for (size_t i = modules.count; i-- > 0;) {
		struct error why = {0};

		r = reload_one(kernel, modules.names[i], &why);
		if (r == 0)
			r = parameters_restore(kernel, modules.names[i], step->original, &why);
		if (first == 0 && *why.message)
			*error = why;
		first = first ? first : r;
	}
	if (first == 0 && names_have(&modules, "nvidia_uvm"))
		return make_uvm_nodes(kernel, error);
	return first;
}

const struct operation unload_operations[] = {
	{.name = RELOAD,
		.apply_text = "load {argument}",
		.undo_text = "load {argument}",
		.undo = undo_reload},
	{.name = UNLOAD, .apply_text = "unload {argument}", .apply = apply_unload},
	{.name = UNLOAD_UNUSED, .apply_text = "unload {argument}", .apply = apply_unload_unused},
	{.name = NULL},
};
