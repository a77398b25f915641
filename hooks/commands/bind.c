/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry bind`: lends devices by hand. */

#include "commands.h"

#include "hooks/base/devices.h"
#include "hooks/base/output.h"
#include "hooks/ferry/plan_output.h"
#include "hooks/ferry/return.h"
#include "hooks/ferry/take.h"
#include "kmod-helper/base/cleanup.h"
#include <string.h>

struct bind_options {
	const char *driver; /* NULL: vfio-pci */
	bool dry_run;
};

/* What each of its loans needs. */
struct bind_files {
	struct settings settings;
	struct quirks quirks;
};

static void bind_files_done(struct bind_files *files)
{
	quirks_done(&files->quirks);
	settings_done(&files->settings);
}

/* The functions of one group: each loan by hand is for one group. */
struct portion {
	struct plan_want *wants;
	size_t count;
	long iommu_group;
};

static int next_portion(const struct bind_options *options, const struct devices *devices,
	size_t *position, struct portion *ret, struct error *error)
{
	struct plan_want *wants = calloc(devices->count + 1, sizeof(*wants));
	long group = devices->functions[*position]->iommu_group;
	size_t count = 0;

	if (!wants)
		return error_set_errno(error, -ENOMEM, "bind");
	for (; *position < devices->count; (*position)++) {
		const struct pci_function *function = devices->functions[*position];

		if (function->iommu_group != group)
			break;
		snprintf(wants[count].address, sizeof(wants[count].address), "%s",
			function->address);
		snprintf(wants[count].target, sizeof(wants[count].target), "%s",
			options->driver ? options->driver : "vfio-pci");
		count++;
	}
	*ret = (struct portion){.wants = wants, .count = count, .iommu_group = group};
	return 0;
}

static int print_plan(
	struct context *context, const struct take_request *request, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	cleanup(plan_done) struct plan plan = {0};
	struct json_object *object;
	int r = loans_read(&context->kernel.root, &loans, error);

	if (r == 0)
		r = loans_check(&loans, error);
	if (r == 0)
		r = take_plan(context, request, &loans, &plan, error);
	if (r < 0)
		return r;
	if (context->output == OUTPUT_TEXT) {
		r = plan_output_text(context, &plan, error);
	} else {
		object = json_object_new_object();
		plan_output_json(context, object, &plan);
		r = output_json(context, object, error);
	}
	return r == 0 && plan.blocker_count ? take_refusal(&plan, error) : r;
}

static int bind_portion(struct context *context, const struct bind_options *options,
	const struct devices *devices, const struct bind_files *files,
	const struct portion *portion, struct error *error)
{
	const struct take_request request = {
		.owner = {.kind = LOAN_OWNER_HAND, .iommu_group = portion->iommu_group},
		.host = &devices->host,
		.wants = portion->wants,
		.want_count = portion->count,
		.settings = &files->settings,
		.quirks = &files->quirks,
	};

	return options->dry_run ? print_plan(context, &request, error)
				: take_run(context, &request, error);
}

static void return_portions(struct context *context, const long *groups, size_t count)
{
	struct error error = {0};

	for (size_t i = 0; i < count; i++) {
		const struct loan_owner owner = {.kind = LOAN_OWNER_HAND, .iommu_group = groups[i]};

		if (return_loan(context, &owner, &error) < 0)
			log_write(&context->log, LOG_ERR, "%s", error.message);
	}
}

/* Binds all devices or none: when one fails, those that this call has bound are returned. */
static int bind_all(struct context *context, const struct bind_options *options,
	const struct devices *devices, const struct bind_files *files, struct error *error)
{
	auto_free long *done = calloc(devices->count + 1, sizeof(*done));
	size_t done_count = 0;
	size_t position = 0;
	int r = 0;

	if (!done)
		return error_set_errno(error, -ENOMEM, "bind");
	while (r == 0 && position < devices->count) {
		struct portion portion = {0};
		const struct loan_owner owner = {.kind = LOAN_OWNER_HAND,
			.iommu_group = devices->functions[position]->iommu_group};
		cleanup(loan_done) struct loan before = {0};
		bool stood = loan_read(&context->kernel.root, &owner, &before, error) == 0;

		r = next_portion(options, devices, &position, &portion, error);
		if (r == 0)
			r = bind_portion(context, options, devices, files, &portion, error);
		free(portion.wants);
		if (r == 0 && !stood && !options->dry_run)
			done[done_count++] = owner.iommu_group;
	}
	if (r < 0)
		return_portions(context, done, done_count);
	return r;
}

static int run_bind(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct bind_options *options = data;
	cleanup(devices_done) struct devices devices = {0};
	cleanup(bind_files_done) struct bind_files files = {0};
	struct error later = {0};
	int r;

	if (options->driver && (!*options->driver || strchr(options->driver, '/')))
		return error_set(error, USAGE, "'%s' is not the name of a driver", options->driver);
	r = devices_find(context, arguments, &devices, error);
	if (r < 0)
		return r;
	r = options->dry_run ? 0 : context_require_live(context, error);
	if (r == 0)
		r = settings_read(&context->kernel.root, 0, &files.settings, error);
	if (r == 0)
		r = quirks_read(&context->kernel.root, &files.quirks, error);
	if (r < 0)
		return r;
	context_catch_signals();
	if (!options->dry_run && return_gone(context, NULL, NULL, &later) < 0)
		log_write(&context->log, LOG_WARNING, "%s", later.message);
	r = bind_all(context, options, &devices, &files, error);
	if (r < 0)
		return error_wrap(error, r, "bind");
	if (!options->dry_run)
		output_next(context, "gpu-ferry unbind %s", arguments[0]);
	return 0;
}

#define AT(field) offsetof(struct bind_options, field)

static const struct command_option options_of_bind[] = {
	{"driver", 0, "NAME", "the driver to use instead of vfio-pci", AT(driver)},
	{"dry-run", 0, NULL, "show what would be done, and change nothing", AT(dry_run)},
	{0},
};

const struct command command_bind = {
	.name = "bind",
	.arguments = "DEVICE…",
	.options = options_of_bind,
	.options_size = sizeof(struct bind_options),
	.example = "gpu-ferry bind 2b:00 --dry-run",
	.run = run_bind,
};
