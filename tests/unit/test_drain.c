/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/drain.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/operation/binding.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct plan plan;

static void teardown(void)
{
	plan_done(&plan);
}

TestSuite(drain, .fini = teardown);

/* With the steps that take it, or without, as what is on its target already. */
static void add_function(const char *address, const char *driver, bool moves)
{
	struct plan_function *function = LIST_ADD(plan.functions, plan.function_count);

	cr_assert_not_null(function);
	snprintf(function->now.address, sizeof(function->now.address), "%s", address);
	snprintf(function->now.driver, sizeof(function->now.driver), "%s", driver);
	snprintf(function->loan.address, sizeof(function->loan.address), "%s", address);
	snprintf(function->loan.home_driver, sizeof(function->loan.home_driver), "%s", driver);
	strcpy(function->loan.target, "vfio-pci");
	if (moves)
		cr_assert_eq(binding_plan_steps(&function->loan, STEP_PLANNED, &plan.steps), 0);
}

static void expect_steps(const struct drain_cards *cards, const char *expected)
{
	char text[8192] = "";

	cr_assert_eq(drain_plan(cards, &plan), 0);
	for (size_t i = 0; i < plan.steps.count; i++) {
		const struct step *step = &plan.steps.items[i];

		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %s%s%s;",
			step->operation, step->subject + 5,
			strcmp(step->operation, "drain") == 0 ? " " : "",
			strcmp(step->operation, "drain") == 0 ? step->original : "");
	}
	cr_expect_str_eq(text, expected, "'%s' instead of '%s'", text, expected);
}

Test(drain, what_leaves_nvidia_is_closed_before_all_else)
{
	struct drain_card items[] = {{"0000:02:00.0", false}, {"0000:01:00.0", true}};
	const struct drain_cards cards = {items, 2};

	add_function("0000:01:00.1", "snd_hda_intel", true);
	add_function("0000:01:00.0", "nvidia", true);
	add_function("0000:02:00.0", "nvidia", false);
	expect_steps(&cards,
		"drain 01:00.0 Enabled;override 01:00.1;unbind 01:00.1;bind 01:00.1;"
		"override 01:00.0;unbind 01:00.0;bind 01:00.0;");
}

Test(drain, a_card_of_which_nvidia_smi_gives_no_answer_is_left)
{
	add_function("0000:01:00.0", "nvidia", true);
	expect_steps(&(struct drain_cards){0}, "override 01:00.0;unbind 01:00.0;bind 01:00.0;");
}
