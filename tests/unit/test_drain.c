/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/drain.h"
#include "hooks/ferry/stop_step.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/operation/binding.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct scratch scratch;
static struct context context;
static struct plan plan;

static void setup(void)
{
	scratch_init(&scratch);
	cr_assert_eq(kernel_open(scratch.path, &context.kernel, NULL), 0);
	plan = (struct plan){0};
}

static void teardown(void)
{
	plan_done(&plan);
	kernel_close(&context.kernel);
	scratch_done(&scratch);
}

TestSuite(drain, .init = setup, .fini = teardown);

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

static void expect_steps(const char *expected)
{
	char text[1024] = "";

	cr_assert_eq(drain_plan(&context, &plan), 0);
	for (size_t i = 0; i < plan.steps.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %s;",
			plan.steps.items[i].operation, plan.steps.items[i].subject + 5);
	cr_expect_str_eq(text, expected, "'%s' instead of '%s'", text, expected);
}

Test(drain, a_card_of_nvidias_driver_is_closed_after_its_holders_are_stopped)
{
	struct step stop = stop_step_make(STOP_UNIT, "unit:nvidia-persistenced.service", 60);

	scratch_write(&scratch, "usr/bin/nvidia-smi", "");
	cr_assert_not_null(steps_add(&plan.steps, &stop));
	add_function("0000:01:00.1", "snd_hda_intel", true);
	add_function("0000:01:00.0", "nvidia", true);
	add_function("0000:02:00.0", "nvidia", false);
	expect_steps("stop-unit nvidia-persistenced.service;drain 01:00.0;override 01:00.1;"
		     "unbind 01:00.1;bind 01:00.1;override 01:00.0;unbind 01:00.0;bind 01:00.0;");
}

Test(drain, without_nvidia_smi_nothing_is_added)
{
	add_function("0000:01:00.0", "nvidia", true);
	expect_steps("override 01:00.0;unbind 01:00.0;bind 01:00.0;");
}
