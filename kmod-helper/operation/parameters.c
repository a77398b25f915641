/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Records the parameters of a module, and gives those back that a plain load has lost. */

#include "parameters.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/driver_use.h"
#include "kmod-helper/device/pci.h"
#include <errno.h>
#include <string.h>

#define VALUE_SIZE 128
#define PLAIN "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.,:+-/%@"

static bool read_value(
	const struct kernel *kernel, const char *module, const char *name, char ret[VALUE_SIZE])
{
	char path[2 * PCI_PATH_SIZE];

	return (size_t)snprintf(path, sizeof(path), "sys/module/%s/parameters/%s", module, name) <
		sizeof(path) &&
		kernel_read(kernel, path, ret, VALUE_SIZE) > 0;
}

static void add_word(char *text, size_t size, const char *word)
{
	size_t used = strlen(text), length = strlen(word) + (used > 0);

	if (used + length < size)
		snprintf(text + used, size - used, "%s%s", used ? " " : "", word);
}

void parameters_add(const struct kernel *kernel, const char *module, char *text, size_t size)
{
	cleanup(names_done) struct names names = {0};
	char path[PCI_PATH_SIZE];

	snprintf(path, sizeof(path), "sys/module/%s/parameters", module);
	if (kernel_list(kernel, path, &names) < 0)
		return;
	for (size_t i = 0; i < names.count; i++) {
		char value[VALUE_SIZE], word[2 * PCI_PATH_SIZE + VALUE_SIZE];

		if (!read_value(kernel, module, names.names[i], value) ||
			value[strspn(value, PLAIN)])
			continue;
		snprintf(word, sizeof(word), "%s.%s=%s", module, names.names[i], value);
		add_word(text, size, word);
	}
}

/* The next word of @module's; *@save is NULL at first, and @copy is taken apart. */
static char *next_word(char *copy, const char *module, char **save)
{
	size_t length = strlen(module);
	char *word = strtok_r(*save ? NULL : copy, " ", save);

	while (word && (strncmp(word, module, length) != 0 || word[length] != '.'))
		word = strtok_r(NULL, " ", save);
	return word;
}

void parameters_copy(const char *from, const char *module, char to[static STEP_ORIGINAL_SIZE])
{
	char copy[STEP_ORIGINAL_SIZE], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", from);
	for (char *word; (word = next_word(copy, module, &save));)
		add_word(to, STEP_ORIGINAL_SIZE, word);
}

/* "modeset=Y": those of @module whose values are not what @text says, as modprobe takes them. One
 * that is not there any more cannot be given back. */
static void find_lost(const struct kernel *kernel, const char *module, const char *text,
	char ret[static STEP_ORIGINAL_SIZE])
{
	char copy[STEP_ORIGINAL_SIZE], *save = NULL;

	ret[0] = '\0';
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word; (word = next_word(copy, module, &save));) {
		char *name = word + strlen(module) + 1, *equals = strchr(name, '=');
		char now[VALUE_SIZE];

		if (!equals)
			continue;
		*equals = '\0';
		if (!read_value(kernel, module, name, now) || strcmp(now, equals + 1) == 0)
			continue;
		*equals = '=';
		add_word(ret, STEP_ORIGINAL_SIZE, name);
	}
}

/* With the parameters, or as it was now when it does not load with them. A message says why they
 * are not given. */
static int load_with(const struct kernel *kernel, const char *module, const char *parameters,
	struct error *why, struct error *error)
{
	const struct names none = {0};
	char device[64];
	int r;

	if (driver_module_find_device(kernel, module, &none, device, sizeof(device))) {
		error_set(why, 0, "it drives %s", device);
		return 0;
	}
	if (kernel->ops->module_unload(kernel->context, module, why) < 0)
		return 0;
	r = kernel->ops->module_reload(kernel->context, module, parameters, why);
	return r < 0 ? kernel->ops->module_reload(kernel->context, module, NULL, error) : 0;
}

int parameters_restore(
	const struct kernel *kernel, const char *module, const char *text, struct error *error)
{
	char lost[STEP_ORIGINAL_SIZE];
	struct error why = {0};
	int r;

	find_lost(kernel, module, text, lost);
	if (!*lost)
		return 0;
	r = load_with(kernel, module, lost, &why, error);
	if (r < 0)
		return r;
	find_lost(kernel, module, text, lost);
	if (*lost)
		error_set(error, 0,
			"%s had %s before, and does not have it now%s%s%s: run `rmmod %s && "
			"modprobe %s %s` when nothing uses it",
			module, lost, *why.message ? " (" : "", why.message,
			*why.message ? ")" : "", module, module, lost);
	return 0;
}
