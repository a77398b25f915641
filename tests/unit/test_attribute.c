/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/operation/attribute.h"
#include "kmod-helper/plan/plan.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPU "0000:01:00.0"
#define AUDIO "0000:01:00.1"
#define ALL_THREE                                                                                  \
	(&(const struct attribute_wishes){                                                         \
		.items = all_three,                                                                \
		.count = 3,                                                                        \
	})

static const struct attribute_wish all_three[] = {
	{GPU, "power/control", "on", "asked for"},
	{GPU, "d3cold_allowed", "0", "asked for"},
	{GPU, "reset_method", "", "asked for"},
};

static struct handover handover;
static struct loan loan;

static void init(void)
{
	handover_init(&handover);
	fake_add_power(handover.fake, GPU);
	free(handover.before);
	handover.before = fake_describe(handover.fake);
}

static void done(void)
{
	loan_done(&loan);
	handover_done(&handover);
}

TestSuite(attribute, .init = init, .fini = done);

static struct fake_function *gpu(void)
{
	return fake_function(handover.fake, GPU);
}

/* The plan that takes the card with these wishes. */
static void make_plan(
	const struct attribute_wishes *wishes, const struct loan *own, struct plan *ret)
{
	static const struct plan_want want = {.address = GPU, .target = "vfio-pci"};
	struct pci_functions host = {0};
	struct plan_request request = {
		.host = &host, .wants = &want, .want_count = 1, .attributes = *wishes, .own = own};

	cr_assert_eq(pci_scan(&handover.kernel, &host, NULL), 0);
	cr_assert_eq(plan_make(&handover.kernel, &request, ret, NULL), 0);
	pci_functions_done(&host);
}

static void lend(const struct attribute_wishes *wishes)
{
	struct error error = {0};
	struct plan plan = {0};

	make_plan(wishes, NULL, &plan);
	cr_assert_eq(plan.blocker_count, 0u);
	loan_init(&loan, VM_104);
	loan.write_deadline_ms = 10000;
	cr_assert_eq(plan_record(&plan, &loan), 0);
	plan_done(&plan);
	cr_assert_eq(executor_apply(&handover.executor, &loan, &error), 0, "%s", error.message);
}

static void take_home(void)
{
	handover_undo_twice(&handover, &loan, "the return");
}

Test(attribute, the_settings_hold_while_the_card_is_lent_and_are_put_back)
{
	lend(ALL_THREE);
	cr_expect_str_eq(gpu()->driver, "vfio-pci");
	cr_expect_str_eq(gpu()->control, "on", "vfio-pci's own auto must not win");
	cr_expect_str_eq(gpu()->d3cold_allowed, "0");
	cr_expect_str_eq(gpu()->reset_method, "");
	take_home();
	handover_expect_home(&handover, "after the return");
}

/* The power may be cut as soon as vfio-pci has it: that is forbidden before. */
Test(attribute, d3cold_and_reset_are_set_before_the_driver_changes_and_control_after)
{
	char order[256] = "";

	lend(ALL_THREE);
	for (size_t i = 0; i < loan.steps.count; i++) {
		const struct step *step = &loan.steps.items[i];

		if (strcmp(step->subject, GPU) == 0 && strcmp(step->operation, "keep") != 0)
			snprintf(order + strlen(order), sizeof(order) - strlen(order), "%s %.40s; ",
				step->operation, step->argument);
	}
	cr_expect_str_eq(order,
		"set d3cold_allowed=0; set reset_method=; override vfio-pci; unbind nouveau; "
		"bind vfio-pci; set power/control=on; ");
	take_home();
}

/* vfio-pci leaves "on" behind. */
Test(attribute, a_card_that_may_sleep_comes_home_so_without_any_setting)
{
	lend(&(const struct attribute_wishes){0});
	cr_expect_str_eq(gpu()->control, "auto");
	take_home();
	cr_expect_str_eq(gpu()->control, "auto");
	handover_expect_home(&handover, "after the return");
}

/* They are made by the host's driver, and go before it does. */
Test(attribute, virtual_functions_go_before_the_driver_and_come_back_with_it)
{
	strcpy(gpu()->numvfs, "3");
	lend(&(const struct attribute_wishes){0});
	cr_expect_str_eq(gpu()->numvfs, "0");
	cr_assert_gt(loan.steps.count, 3u);
	cr_expect_str_eq(gpu()->driver, "vfio-pci");
	take_home();
	cr_expect_str_eq(gpu()->numvfs, "3");
	loan_done(&loan);
	strcpy(gpu()->numvfs, "0");
	lend(&(const struct attribute_wishes){0});
	for (size_t i = 0; i < loan.steps.count; i++)
		cr_expect_null(strstr(loan.steps.items[i].argument, "sriov_numvfs"));
	take_home();
}

Test(attribute, where_nothing_would_be_lost_nothing_is_written)
{
	strcpy(gpu()->control, "on");
	lend(&(const struct attribute_wishes){0});
	for (size_t i = 0; i < loan.steps.count; i++)
		cr_expect_str_neq(loan.steps.items[i].operation, "keep");
	take_home();
}

Test(attribute, another_functions_settings_are_left_alone)
{
	const struct attribute_wish other = {AUDIO, "reset_method", "flr", "asked for"};

	fake_add_power(handover.fake, AUDIO);
	lend(&(const struct attribute_wishes){&other, 1});
	cr_expect_str_eq(fake_function(handover.fake, AUDIO)->reset_method, "flr");
	cr_expect_str_eq(gpu()->reset_method, "flr bus");
	take_home();
	cr_expect_str_eq(fake_function(handover.fake, AUDIO)->reset_method, "flr bus");
}

Test(attribute, a_file_that_the_device_does_not_have_stops_the_start)
{
	const struct attribute_wish wish = {AUDIO, "d3cold_allowed", "0", "asked for"};
	struct plan plan = {0};

	make_plan(&(const struct attribute_wishes){&wish, 1}, NULL, &plan);
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_NO_ATTRIBUTE);
	cr_expect_not_null(strstr(plan.blockers[0].message, "d3cold_allowed of " AUDIO), "%s",
		plan.blockers[0].message);
	plan_done(&plan);
}

Test(attribute, a_value_that_the_kernel_refuses_undoes_the_handover)
{
	const struct attribute_wish wishes[] = {
		{GPU, "d3cold_allowed", "0", "asked for"},
		{GPU, "reset_method", "pm", "asked for"},
	};
	struct error error = {0};
	struct plan plan = {0};

	make_plan(&(const struct attribute_wishes){wishes, 2}, NULL, &plan);
	loan_init(&loan, VM_104);
	loan.write_deadline_ms = 10000;
	cr_assert_eq(plan_record(&plan, &loan), 0);
	plan_done(&plan);
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -EINVAL);
	cr_expect_not_null(
		strstr(error.message, "write 'pm' to /sys/bus/pci/devices/" GPU "/reset_method"),
		"%s", error.message);
	take_home();
	handover_expect_home(&handover, "after the undoing");
}

/* The hook was killed in the middle: what the files say now is our own doing. */
Test(attribute, a_handover_begun_anew_keeps_what_was_there_at_first)
{
	struct plan plan = {0};
	bool kept = false;

	lend(ALL_THREE);
	strcpy(gpu()->driver, "nouveau");
	make_plan(ALL_THREE, &loan, &plan);
	for (size_t i = 0; i < plan.steps.count; i++) {
		const struct step *step = &plan.steps.items[i];

		if (strcmp(step->operation, "keep") != 0 || strcmp(step->argument, "reset_method"))
			continue;
		kept = true;
		cr_expect_str_eq(step->original, "flr bus");
	}
	cr_expect(kept);
	plan_done(&plan);
}

/* Removed and found again, a device may come without: that is owed to nobody. */
Test(attribute, a_file_that_went_away_meanwhile_owes_nothing)
{
	lend(ALL_THREE);
	gpu()->power = false;
	take_home();
	cr_expect_str_eq(gpu()->driver, "nouveau");
	cr_expect_eq(loan.steps.count, 0u);
}

/* Of a card of several functions "bus" is offered only until the others have been found. */
Test(attribute, a_reset_method_that_is_offered_no_more_gives_way_to_the_kernels_own)
{
	struct error error = {0};
	const struct operation *keep = attribute_operations;
	struct step step = {.subject = GPU, .argument = "reset_method", .original = "flr bus"};

	lend(ALL_THREE);
	strcpy(gpu()->reset_offers, "flr");
	take_home();
	cr_expect_str_eq(gpu()->reset_method, "flr");
	cr_expect_str_eq(gpu()->driver, "nouveau");
	cr_expect_eq(loan.steps.count, 0u, "nobody owes what cannot be had");
	cr_expect_eq(keep->undo(&handover.kernel, &step, &error), 0);
	cr_expect_str_eq(error.message,
		GPU ": the kernel no longer accepts 'flr bus' as its reset_method: it has 'flr' "
		    "until the next boot");
	/* as it was: nothing to be said */
	strcpy(gpu()->reset_offers, "flr bus");
	error = (struct error){0};
	cr_expect_eq(keep->undo(&handover.kernel, &step, &error), 0);
	cr_expect_str_eq(error.message, "");
	cr_expect_str_eq(gpu()->reset_method, "flr bus");
}

Test(attribute, a_device_that_died_on_the_way_is_told_and_comes_back)
{
	struct error error = {0};
	struct plan plan = {0};

	make_plan(&(const struct attribute_wishes){0}, NULL, &plan);
	loan_init(&loan, VM_104);
	loan.write_deadline_ms = 10000;
	cr_assert_eq(plan_record(&plan, &loan), 0);
	plan_done(&plan);
	gpu()->dead = true;
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -EIO);
	cr_expect_not_null(
		strstr(error.message, GPU " does not answer any more"), "%s", error.message);
	take_home();
	handover_expect_home(&handover, "after the undoing");
}
