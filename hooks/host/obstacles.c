/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds the lines that keep the host from its GPUs, and what setup does about each. */

#include "obstacles.h"

#include "conf/host/kernel_arguments.h"
#include "kmod-helper/base/cleanup.h"
#include "own_files.h"
#include <errno.h>
#include <string.h>

/* What is at work. */
struct search {
	const struct context *context;
	const struct pci_functions *host;
	struct names *drivers; /* of each function of the host, if it is a GPU */
	struct obstacles *found;
};

static void obstacle_done(struct obstacle *obstacle)
{
	free(obstacle->text);
	free(obstacle->module);
	free(obstacle->ids);
}

void obstacles_done(struct obstacles *obstacles)
{
	for (size_t i = 0; i < obstacles->count; i++)
		obstacle_done(&obstacles->items[i]);
	free(obstacles->items);
	gpu_driver_files_done(&obstacles->files);
	*obstacles = (struct obstacles){0};
}

/* Copies the strings of @obstacle. */
static int obstacle_add(const struct search *search, const struct obstacle *obstacle)
{
	struct obstacles *found = search->found;
	struct obstacle *grown = reallocarray(found->items, found->count + 1, sizeof(*grown));
	struct obstacle copy = *obstacle;

	if (!grown)
		return -ENOMEM;
	found->items = grown;
	copy.text = strdup(obstacle->text);
	copy.module = strdup(obstacle->module);
	copy.ids = obstacle->ids ? strdup(obstacle->ids) : NULL;
	if (!copy.text || !copy.module || (obstacle->ids && !copy.ids)) {
		obstacle_done(&copy);
		return -ENOMEM;
	}
	grown[found->count++] = copy;
	return 0;
}

static bool drives_a_gpu(const struct search *search, const char *module)
{
	for (size_t i = 0; i < search->host->count; i++) {
		if (names_have(&search->drivers[i], module))
			return true;
	}
	return false;
}

static bool is_companion(const char *module)
{
	return strcmp(module, "snd_hda_intel") == 0 || strcmp(module, "xhci_hcd") == 0 ||
		strcmp(module, "xhci_pci") == 0;
}

/* ---- modprobe.d */

static bool is_own_file(const char *path)
{
	return strcmp(path, SETUP_OPTIONS_PATH) == 0 || strcmp(path, SETUP_BLACKLIST_PATH) == 0 ||
		strncmp(path, "run/modprobe.d/gpu-ferry", strlen("run/modprobe.d/gpu-ferry")) == 0;
}

static int find_in_line(const struct search *search, const struct modprobe_line *line)
{
	auto_free char *ids = NULL;
	auto_free char *text = NULL;
	struct obstacle obstacle = {
		.line = line, .module = line->module, .is_ours = is_own_file(line->path)};
	int length = -1;

	if (line->kind == MODPROBE_OPTIONS && strcmp(line->module, "vfio_pci") == 0)
		ids = modprobe_option_value(line->arguments, "ids");
	if (!ids && !modprobe_line_blocks(line))
		return 0;
	if (ids)
		obstacle.kind = OBSTACLE_IDS;
	else if (drives_a_gpu(search, line->module))
		obstacle.kind =
			line->kind == MODPROBE_OPTIONS ? OBSTACLE_MODESET : OBSTACLE_BLACKLIST;
	else if (is_companion(line->module))
		obstacle.kind = OBSTACLE_COMPANION;
	else
		return 0;
	if (ids)
		length = asprintf(&text, "options vfio-pci ids=%s", ids);
	else
		length = asprintf(&text, "%s %s%s", modprobe_kind_name(line->kind), line->module,
			line->kind == MODPROBE_OPTIONS ? " modeset=0" : "");
	if (length < 0)
		return -ENOMEM;
	obstacle.text = text;
	obstacle.ids = ids;
	obstacle.is_linked = path_is_link(&search->context->kernel.root, line->path);
	return obstacle_add(search, &obstacle);
}

/* ---- the kernel's command line */

/* "modprobe.blacklist=", or the kernel's own "module_blacklist=". */
static int find_in_list(
	const struct search *search, const struct obstacle *argument, const char *list)
{
	auto_free char *copy = strdup(list);
	struct obstacle obstacle = *argument;
	size_t first = search->found->count;
	size_t gpus = 0, all = 0;
	char *rest = copy;
	int r = copy ? 0 : -ENOMEM;

	while (r == 0 && (obstacle.module = strsep(&rest, ","))) {
		module_name_underscores(obstacle.module);
		all += *obstacle.module != '\0';
		obstacle.kind = drives_a_gpu(search, obstacle.module) ? OBSTACLE_BLACKLIST
								      : OBSTACLE_COMPANION;
		gpus += obstacle.kind == OBSTACLE_BLACKLIST;
		if (obstacle.kind == OBSTACLE_BLACKLIST || is_companion(obstacle.module))
			r = obstacle_add(search, &obstacle);
	}
	for (size_t i = first; i < search->found->count; i++)
		search->found->items[i].is_mixed = gpus < all;
	return r;
}

/* "nouveau.modeset=0" */
static int find_modeset(const struct search *search, struct obstacle *obstacle)
{
	const char *dot = strchr(obstacle->text, '.');
	auto_free char *module =
		dot ? strndup(obstacle->text, (size_t)(dot - obstacle->text)) : NULL;
	const char *value = dot ? kernel_argument_value(dot + 1, "modeset") : NULL;

	if (dot && !module)
		return -ENOMEM;
	if (!value || strcmp(value, "0") != 0 || !drives_a_gpu(search, module))
		return 0;
	obstacle->kind = OBSTACLE_MODESET;
	obstacle->module = module;
	return obstacle_add(search, obstacle);
}

static int find_in_argument(const struct search *search, struct obstacle *obstacle)
{
	const char *list = kernel_argument_value(obstacle->text, "modprobe.blacklist");
	const char *ids = kernel_argument_value(obstacle->text, "vfio-pci.ids");
	auto_free char *copy = ids ? strdup(ids) : NULL;
	static char none[] = "";

	if (!list)
		list = kernel_argument_value(obstacle->text, "module_blacklist");
	if (list)
		return find_in_list(search, obstacle, list);
	if (ids && !copy)
		return -ENOMEM;
	obstacle->module = none;
	obstacle->ids = copy;
	if (ids)
		obstacle->kind = OBSTACLE_IDS;
	else if (strcmp(obstacle->text, "nomodeset") == 0)
		obstacle->kind = OBSTACLE_NOMODESET;
	else
		return find_modeset(search, obstacle);
	return obstacle_add(search, obstacle);
}

static bool is_configured(const struct boot_command_line *line, const char *argument)
{
	for (size_t i = 0; i < line->configured_count; i++) {
		if (strcmp(line->configured[i].text, argument) == 0)
			return true;
	}
	return false;
}

static int find_in_command_line(const struct search *search, const struct boot_command_line *line)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < line->configured_count; i++) {
		const struct boot_argument *argument = &line->configured[i];
		struct obstacle obstacle = {
			.argument = argument,
			.text = argument->text,
			.running = names_have(&line->running, argument->text),
		};

		r = find_in_argument(search, &obstacle);
	}
	for (size_t i = 0; r == 0 && i < line->running.count; i++) {
		struct obstacle obstacle = {.text = line->running.names[i], .running = true};

		if (!is_configured(line, obstacle.text))
			r = find_in_argument(search, &obstacle);
	}
	return r;
}

/* ---- the driver that the GPUs have instead */

static bool is_one_place(const struct obstacle *left, const struct obstacle *right)
{
	if (left->line && right->line)
		return strcmp(left->line->path, right->line->path) == 0;
	return !left->line && !right->line && strcmp(left->text, right->text) == 0;
}

/* Is @driver kept away, by one of the same place or by any? */
static bool is_kept_away(
	const struct search *search, const struct obstacle *place, const struct gpu_driver *driver)
{
	for (size_t i = 0; i < search->found->count; i++) {
		const struct obstacle *other = &search->found->items[i];

		if (gpu_driver_find(other->module) == driver &&
			(!place || is_one_place(place, other)))
			return true;
	}
	return false;
}

/*
 * Can @driver do for the module of @obstacle? Of two drivers of the kernel's the first one is for
 * the cards of today, so the second one does not do for it. NVIDIA's own is installed to be used:
 * its package keeps nouveau away, and where a guide's line keeps it away too, that line is the one
 * to go; but not both where one file names both, for then it is the guide's.
 */
static bool does_instead(const struct search *search, const struct obstacle *obstacle,
	const struct gpu_driver *driver)
{
	const struct gpu_driver *kept = gpu_driver_find(obstacle->module);

	if (!kept || driver == kept || (driver > kept && !driver->is_nvidias_own))
		return false;
	if (is_kept_away(search, driver->is_nvidias_own && !kept->is_nvidias_own ? obstacle : NULL,
		    driver))
		return false;
	return gpu_driver_is_installed(
		&search->context->kernel.root, &search->found->files, driver);
}

/* What the function has instead of the module of @obstacle. */
static const char *find_instead(
	const struct search *search, const struct obstacle *obstacle, size_t function)
{
	const struct gpu_driver *driver = NULL;

	while ((driver = gpu_driver_next(search->host->items[function].vendor_id, driver))) {
		if (names_have(&search->drivers[function], driver->module) &&
			does_instead(search, obstacle, driver))
			return driver->module;
	}
	return NULL;
}

/* Where one GPU has nothing instead, the line is in the way. */
static const char *find_instead_for_all(
	const struct search *search, const struct obstacle *obstacle)
{
	const char *instead = NULL;

	for (size_t i = 0; i < search->host->count; i++) {
		if (!names_have(&search->drivers[i], obstacle->module))
			continue;
		instead = find_instead(search, obstacle, i);
		if (!instead)
			return NULL;
	}
	return instead;
}

/* A list is taken out whole or not at all: what is not in the way stays for what is. */
static void mix_choices(const struct search *search, struct obstacle *obstacle)
{
	for (size_t i = 0; i < search->found->count; i++) {
		const struct obstacle *other = &search->found->items[i];

		if (!other->line && !obstacle->line && strcmp(other->text, obstacle->text) == 0 &&
			!other->instead != !obstacle->instead)
			obstacle->is_mixed = true;
	}
}

static void find_choices(const struct search *search)
{
	struct obstacle *items = search->found->items;

	for (size_t i = 0; i < search->found->count; i++) {
		if (items[i].kind == OBSTACLE_BLACKLIST || items[i].kind == OBSTACLE_MODESET)
			items[i].instead = find_instead_for_all(search, &items[i]);
	}
	for (size_t i = 0; i < search->found->count; i++)
		mix_choices(search, &items[i]);
}

/* ---- all of it */

static int find_drivers(struct search *search)
{
	int r = 0;

	search->drivers = calloc(search->host->count + 1, sizeof(*search->drivers));
	if (!search->drivers)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < search->host->count; i++) {
		if (pci_is_display(&search->host->items[i]))
			r = gpu_driver_modules(search->context, &search->host->items[i],
				&search->found->files, &search->drivers[i]);
	}
	return r;
}

static void search_done(struct search *search)
{
	for (size_t i = 0; search->drivers && i < search->host->count; i++)
		names_done(&search->drivers[i]);
	free(search->drivers);
}

int obstacles_find(const struct context *context, const struct pci_functions *host,
	const struct modprobe_files *files, const struct boot_command_line *line,
	struct obstacles *ret, struct error *error)
{
	cleanup(search_done) struct search search = {
		.context = context, .host = host, .found = ret};
	int r = find_drivers(&search);

	for (size_t i = 0; r == 0 && i < files->count; i++)
		r = find_in_line(&search, &files->lines[i]);
	if (r == 0)
		r = find_in_command_line(&search, line);
	if (r < 0)
		return error_set_errno(error, r, "find what keeps the host from its GPUs");
	find_choices(&search);
	return 0;
}

bool obstacle_setup_removes(const struct obstacle *obstacle, char *why, size_t size)
{
	snprintf(why, size, "%s", "");
	if (obstacle->is_ours || obstacle->kind == OBSTACLE_COMPANION ||
		(!obstacle->line && !obstacle->argument))
		return false;
	if (obstacle->line && strncmp(obstacle->line->path, "etc/", 4) != 0)
		snprintf(why, size, "it belongs to a package or another program");
	else if (obstacle->instead)
		snprintf(why, size, "%s is the card's driver instead", obstacle->instead);
	else if (obstacle->is_linked)
		snprintf(why, size, "the file is behind a link, so it is another program's");
	else if (obstacle->kind == OBSTACLE_NOMODESET)
		snprintf(why, size, "most GPU drivers do not work with it");
	else if (obstacle->is_mixed)
		snprintf(why, size, "it names other modules too");
	return !*why;
}

const struct obstacle *obstacles_find_argument(
	const struct obstacles *obstacles, const struct boot_argument *argument)
{
	const struct obstacle *found = NULL;

	for (size_t i = 0; i < obstacles->count; i++) {
		const struct obstacle *obstacle = &obstacles->items[i];

		if (obstacle->argument == argument && (!found || found->kind == OBSTACLE_COMPANION))
			found = obstacle;
	}
	return found;
}

const struct obstacle *obstacles_find_line(
	const struct obstacles *obstacles, const struct modprobe_line *line)
{
	for (size_t i = 0; i < obstacles->count; i++) {
		if (obstacles->items[i].line == line)
			return &obstacles->items[i];
	}
	return NULL;
}
