/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The step `drain`: keeps new users away from a card of NVIDIA's driver while it is taken. */

#include "drain.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/file.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/operation/binding.h"
#include "stop_step.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define DRAIN "drain"
#define NVIDIA_SMI "/usr/bin/nvidia-smi"
#define PERSISTENT "Enabled" /* as nvidia-smi writes it */

/* nvidia-smi starts the card first, when nobody uses it: that takes some seconds. */
#define RUN_MS 10000u
#define STEP_MS (3 * RUN_MS)

static bool is_drain(const struct step *step)
{
	return strcmp(step->operation, DRAIN) == 0;
}

static bool is_installed(const struct root *root)
{
	auto_close int fd = file_open(root, NVIDIA_SMI + 1, O_PATH | O_CLOEXEC);

	return fd >= 0;
}

/* Runs nvidia-smi with @arguments, its output into @output. */
static int run(const char *const *arguments, char *output, size_t size, struct error *error)
{
	const struct process_options options = {
		.output = PROCESS_TEXT, .deadline_ms = RUN_MS, .text = output, .size = size};
	int r = process_run(arguments, &options, error);

	if (r <= 0)
		return r;
	return error_set(error, -EIO, "%s %s: %.200s", arguments[0], arguments[1],
		*output ? text_last_line(output) : "it failed and says nothing");
}

static int set_persistence(const char *address, bool on, struct error *error)
{
	const char *const arguments[] = {NVIDIA_SMI, "-i", address, "-pm", on ? "1" : "0", NULL};
	char output[512];

	return run(arguments, output, sizeof(output), error);
}

static int set_drain(const char *address, bool on, struct error *error)
{
	const char *const arguments[] = {
		NVIDIA_SMI, "drain", "-p", address, "-m", on ? "1" : "0", NULL};
	char output[512];

	return run(arguments, output, sizeof(output), error);
}

/* A remark: the search for holders before the unbind is what counts. */
static int close_card(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};
	int r = 0;

	if (!is_installed(&kernel->root))
		return 0;
	if (strcmp(step->original, PERSISTENT) == 0)
		r = set_persistence(step->subject, false, &why);
	if (r == 0)
		r = set_drain(step->subject, true, &why);
	if (r < 0)
		error_set(error, 0, "%s is not closed to new users meanwhile: %s", step->subject,
			why.message);
	return 0;
}

/* The driver forgets a drain when the card leaves it: one that fails now is over too. */
static int open_card(const struct kernel *kernel, const struct step *step, struct error *error)
{
	struct error why = {0};

	if (!is_installed(&kernel->root))
		return 0;
	(void)set_drain(step->subject, false, NULL);
	if (strcmp(step->original, PERSISTENT) == 0 &&
		set_persistence(step->subject, true, &why) < 0)
		error_set(error, 0, "%s does not have its persistence mode back: %s", step->subject,
			why.message);
	return 0;
}

static unsigned int deadline_ms(const struct step *step)
{
	(void)step;
	return STEP_MS;
}

const struct operation drain_operations[] = {
	{.name = DRAIN,
		.apply_text = "close {subject} to new users",
		.undo_text = "open {subject} to users",
		.is_of_function = true,
		.is_minor = true,
		.apply = close_card,
		.undo = open_card,
		.deadline_ms = deadline_ms},
	{.name = NULL},
};

static bool leaves_nvidia(const struct plan *plan, const struct plan_function *function)
{
	return strcmp(function->now.driver, "nvidia") == 0 &&
		strcmp(function->loan.target, "nvidia") != 0 &&
		binding_has_step(&plan->steps, function->now.address);
}

int drain_plan(const struct context *context, struct plan *plan)
{
	size_t place = 0;

	while (place < plan->steps.count && stop_step_is(&plan->steps.items[place]))
		place++;
	for (size_t i = 0; i < plan->function_count; i++) {
		struct step step = {.why = "no program may open the card from now on"};

		if (!leaves_nvidia(plan, &plan->functions[i]) ||
			!is_installed(&context->kernel.root))
			continue;
		snprintf(step.operation, sizeof(step.operation), "%s", DRAIN);
		snprintf(step.subject, sizeof(step.subject), "%s", plan->functions[i].now.address);
		if (!steps_insert(&plan->steps, place++, &step))
			return -ENOMEM;
	}
	return 0;
}

void drain_ask(const struct context *context, struct plan *plan)
{
	for (size_t i = 0; i < plan->steps.count && context->kernel.root.live; i++) {
		struct step *step = &plan->steps.items[i];
		const char *const arguments[] = {NVIDIA_SMI, "-i", step->subject,
			"--query-gpu=persistence_mode", "--format=csv,noheader", NULL};
		char output[512];

		if (is_drain(step) && run(arguments, output, sizeof(output), NULL) == 0)
			snprintf(step->original, sizeof(step->original), "%.16s", output);
	}
}
