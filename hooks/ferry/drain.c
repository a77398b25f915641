/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The step `drain`: keeps new users away from a card of NVIDIA's driver while it is taken. */

#include "drain.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/operation/binding.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DRAIN "drain"
#define NVIDIA_SMI "/usr/bin/nvidia-smi"

/* The persistence mode in its words. */
#define PERSISTENT "Enabled"
#define NOT_PERSISTENT "Disabled"

/* nvidia-smi starts the card first, when nobody uses it: that takes some seconds. */
#define RUN_MS 10000u
#define STEP_MS (3 * RUN_MS)

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

	(void)kernel;
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

	(void)kernel;
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

void drain_cards_done(struct drain_cards *cards)
{
	free(cards->items);
	*cards = (struct drain_cards){0};
}

static bool has_nvidia(const struct context *context, const struct plan_want *want)
{
	char driver[PCI_DRIVER_SIZE];

	return !want->alternative &&
		pci_read_driver(&context->kernel, want->address, driver, sizeof(driver)) == 0 &&
		strcmp(driver, "nvidia") == 0;
}

static void ask(const char *address, struct drain_cards *ret)
{
	const char *const arguments[] = {NVIDIA_SMI, "-i", address, "--query-gpu=persistence_mode",
		"--format=csv,noheader", NULL};
	struct drain_card *card;
	char output[512];

	if (run(arguments, output, sizeof(output), NULL) < 0 ||
		(strcmp(output, PERSISTENT) != 0 && strcmp(output, NOT_PERSISTENT) != 0))
		return;
	card = LIST_ADD(ret->items, ret->count);
	if (!card)
		return;
	snprintf(card->address, sizeof(card->address), "%s", address);
	card->is_persistent = strcmp(output, PERSISTENT) == 0;
}

void drain_ask(const struct context *context, const struct plan_want *wants, size_t want_count,
	struct drain_cards *ret)
{
	for (size_t i = 0; i < want_count && context->kernel.root.live; i++) {
		if (has_nvidia(context, &wants[i]))
			ask(wants[i].address, ret);
	}
}

static bool leaves_nvidia(const struct plan *plan, const char *address)
{
	for (size_t i = 0; i < plan->function_count; i++) {
		const struct plan_function *function = &plan->functions[i];

		if (strcmp(function->now.address, address) == 0)
			return strcmp(function->now.driver, "nvidia") == 0 &&
				strcmp(function->loan.target, "nvidia") != 0 &&
				binding_has_step(&plan->steps, address);
	}
	return false;
}

int drain_plan(const struct drain_cards *cards, struct plan *plan)
{
	size_t place = 0;

	for (size_t i = 0; i < cards->count; i++) {
		const struct drain_card *card = &cards->items[i];
		struct step step = {
			.operation = DRAIN, .why = "no program may open the card from now on"};

		if (!leaves_nvidia(plan, card->address))
			continue;
		snprintf(step.subject, sizeof(step.subject), "%s", card->address);
		snprintf(step.original, sizeof(step.original), "%s",
			card->is_persistent ? PERSISTENT : NOT_PERSISTENT);
		if (!steps_insert(&plan->steps, place++, &step))
			return -ENOMEM;
	}
	return 0;
}
