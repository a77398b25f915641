/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/operation/parameters.h"
#include "kmod-helper/operation/unload.h"
#include "tests/support/handover.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

/* nvidia's stack: the card 01:00 is its, and nvidia_drm of an old version keeps it. */

#define SWEEP_MAX 400
#define STACK "nvidia_drm nvidia_modeset nvidia_uvm nvidia"

static struct handover handover;
static struct loan loan;

static struct fake_module *add_module(const char *name, const char *users)
{
	struct fake_module *module = &handover.fake->modules[handover.fake->module_count++];

	cr_assert_leq(handover.fake->module_count, FAKE_MODULES);
	snprintf(module->name, sizeof(module->name), "%s", name);
	module->state = FAKE_LOADED;
	module->users = users;
	return module;
}

static void init(void)
{
	struct fake_module *nvidia;

	alarm(120);
	handover_init(&handover);
	fake_add_driver(handover.fake, "nvidia", "nvidia");
	nvidia = fake_module(handover.fake, "nvidia");
	nvidia->version = "570.124.04";
	nvidia->users = "nvidia_drm nvidia_modeset nvidia_uvm";
	add_module("nvidia_modeset", "nvidia_drm");
	add_module("nvidia_uvm", NULL);
	add_module("nvidia_drm", NULL)->modeset = "Y";
	strcpy(fake_function(handover.fake, "0000:01:00.0")->driver, "nvidia");
	strcpy(fake_function(handover.fake, "0000:01:00.0")->override, "nvidia");
	free(handover.before);
	handover.before = fake_describe(handover.fake);
}

static void done(void)
{
	loan_done(&loan);
	handover_done(&handover);
}

TestSuite(unload, .init = init, .fini = done);

static struct fake_module *module(const char *name)
{
	return fake_module(handover.fake, name);
}

static void expect_stack(const char *when)
{
	static const char *const names[] = {"nvidia", "nvidia_modeset", "nvidia_drm", "nvidia_uvm"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_expect_eq(module(names[i])->state, FAKE_LOADED, "%s: %s is not loaded", when,
			names[i]);
}

static void make_plan(struct plan *plan)
{
	static const struct plan_want wants[] = {{.address = "0000:01:00.0", .target = "vfio-pci"}};
	struct pci_functions host = {0};
	struct plan_request request = {.host = &host, .wants = wants, .want_count = 1};

	cr_assert_eq(pci_scan(&handover.kernel, &host, NULL), 0);
	handover_know(&handover, &request);
	cr_assert_eq(plan_make(&handover.kernel, &request, plan, NULL), 0);
	pci_functions_done(&host);
}

/* "reload,load,override,…" */
static void expect_operations(const struct steps *steps, const char *expected)
{
	char text[512] = "";

	for (size_t i = 0; i < steps->count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? "," : "",
			steps->items[i].operation);
	cr_expect_str_eq(text, expected);
}

#define THREE "override,unbind,bind"

Test(unload, stack_that_keeps_the_card_leaves_before_the_display_and_is_first_in_the_loan)
{
	cleanup(plan_done) struct plan plan = {0};

	make_plan(&plan);
	cr_expect_eq(plan.blocker_count, 0u);
	expect_operations(&plan.steps, "reload,load," THREE "," THREE ",unload," THREE);
	cr_expect_str_eq(plan.steps.items[0].subject, "nvidia");
	cr_expect_str_eq(plan.steps.items[0].argument, STACK);
	cr_expect_str_eq(plan.steps.items[8].argument, "nvidia_drm nvidia_modeset nvidia_uvm");
	cr_expect_str_eq(plan.steps.items[9].subject, "0000:01:00.0");
}

static void expect_alone(const char *version, const char *modeset)
{
	cleanup(plan_done) struct plan plan = {0};

	module("nvidia")->version = version;
	module("nvidia_drm")->modeset = modeset;
	make_plan(&plan);
	expect_operations(&plan.steps, "load," THREE "," THREE "," THREE);
}

Test(unload, card_of_a_driver_that_lets_go_is_unbound_alone)
{
	expect_alone("580.105.08", "Y");
	expect_alone("580.119.02", "Y");
	expect_alone("595.45.04", "Y");
	expect_alone("470.256.02", "N");
	module("nvidia_drm")->state = FAKE_LOADABLE;
	expect_alone("470.256.02", NULL);
}

static void expect_unloaded(void)
{
	cleanup(plan_done) struct plan plan = {0};

	make_plan(&plan);
	expect_operations(&plan.steps, "reload,load," THREE "," THREE ",unload," THREE);
}

Test(unload, what_cannot_be_read_counts_as_keeping_the_card)
{
	module("nvidia")->version = NULL;
	module("nvidia_drm")->modeset = NULL;
	expect_unloaded();
	module("nvidia")->version = "580.95.05";
	expect_unloaded();
}

Test(unload, stack_that_another_card_or_a_stranger_uses_is_a_blocker)
{
	cleanup(plan_done) struct plan second = {0};
	cleanup(plan_done) struct plan stranger = {0};

	strcpy(fake_function(handover.fake, "0000:02:00.0")->driver, "nvidia");
	make_plan(&second);
	cr_assert_eq(second.blocker_count, 1u);
	cr_expect_eq(second.blockers[0].code, BLOCKER_HELD);
	cr_expect(strstr(second.blockers[0].message, "because 0000:02:00.0 uses nvidia too"), "%s",
		second.blockers[0].message);
	cr_expect(strstr(second.blockers[0].message, "570.124.04"));
	strcpy(fake_function(handover.fake, "0000:02:00.0")->driver, "nouveau");
	add_module("gdrdrv", NULL);
	module("nvidia")->users = "nvidia_drm nvidia_modeset nvidia_uvm gdrdrv";
	make_plan(&stranger);
	cr_assert_eq(stranger.blocker_count, 1u);
	cr_expect(strstr(stranger.blockers[0].message, "the module gdrdrv uses nvidia"), "%s",
		stranger.blockers[0].message);
}

Test(unload, stack_is_unloaded_users_first_and_loaded_again_nvidia_first)
{
	static const char away[] = "unload = nvidia_drm\nunload = nvidia_modeset\n"
				   "unload = nvidia_uvm\n";
	struct error error = {0};
	const char *home;

	handover_plan(&handover, &loan);
	cr_assert_eq(executor_apply(&handover.executor, &loan, &error), 0, "%s", error.message);
	cr_expect(strstr(handover.fake->writes, away), "%s", handover.fake->writes);
	cr_expect_eq(module("nvidia")->state, FAKE_LOADED);
	/* gone as a whole meanwhile: then it is loaded by the card's own return */
	module("nvidia")->state = FAKE_BLOCKED;
	fake_driver(handover.fake, "nvidia")->registered = false;
	fake_restart(handover.fake);
	handover_undo_twice(&handover, &loan, "the return");
	expect_stack("after the return");
	handover_expect_home(&handover, "after the return");
	home = strstr(handover.fake->writes, "module = nvidia\n");
	cr_assert(home, "%s", handover.fake->writes);
	home = strstr(home, "module = nvidia_uvm\n");
	cr_assert(home, "%s", handover.fake->writes);
	home = strstr(home, "module = nvidia_modeset\n");
	cr_assert(home, "%s", handover.fake->writes);
	home = strstr(home, "module = nvidia_drm\n");
	cr_assert(home, "%s", handover.fake->writes);
	cr_expect(strstr(home, "run = /usr/bin/nvidia-modprobe\n"), "%s", handover.fake->writes);
}

Test(unload, module_in_use_is_an_error_before_the_display_is_touched)
{
	struct error error = {0};

	handover_plan(&handover, &loan);
	module("nvidia_modeset")->busy = true;
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -EBUSY);
	cr_expect(strstr(error.message, "nvidia_modeset: it is in use"), "%s", error.message);
	cr_expect_str_eq(fake_function(handover.fake, "0000:01:00.0")->driver, "nvidia");
	cr_expect_eq(
		executor_undo(&handover.executor, &loan, NULL, &error), 0, "%s", error.message);
	expect_stack("after the undo");
	handover_expect_home(&handover, "after the undo");
}

Test(unload, whatever_operation_fails_the_undo_loads_the_stack_again)
{
	unsigned int at, ran, failures = 0;
	struct error error;
	char when[64];

	for (at = 1; at < SWEEP_MAX; at++) {
		handover_plan(&handover, &loan);
		handover.fake->event =
			(struct fake_event){.kind = FAKE_FAIL, .at = at, .status = -EIO};
		failures += executor_apply(&handover.executor, &loan, &error) < 0;
		ran = handover.fake->operations;
		fake_restart(handover.fake);
		snprintf(when, sizeof(when), "operation %u failed", at);
		cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, &error), 0, "%s: %s",
			when, error.message);
		handover_expect_home(&handover, when);
		expect_stack(when);
		done();
		init();
		loan = (struct loan){0};
		if (ran < at)
			break;
	}
	cr_expect_lt(at, SWEEP_MAX);
	cr_expect_gt(failures, 20u);
}

/* As delete_module(2), which takes a driver from all that it drives. */
Test(unload, unused_driver_that_has_a_device_stays_with_a_remark)
{
	const struct operation *operation = unload_operations;
	struct step step = {.subject = "nouveau", .argument = "nouveau"};
	struct error error = {0};

	while (strcmp(operation->name, "unload_unused") != 0)
		operation++;
	cr_expect_eq(operation->apply(&handover.kernel, &step, &error), 0);
	cr_expect_str_eq(error.message, "nouveau stays loaded: 0000:02:00.0 uses it");
	cr_expect_eq(module("nouveau")->state, FAKE_LOADED);
	fake_function(handover.fake, "0000:02:00.0")->driver[0] = '\0';
	module("nouveau")->busy = true;
	cr_expect_eq(operation->apply(&handover.kernel, &step, &error), 0);
	cr_expect_str_eq(
		error.message, "nouveau stays loaded: unload the module nouveau: it is in use");
	module("nouveau")->busy = false;
	error = (struct error){0};
	cr_expect_eq(operation->apply(&handover.kernel, &step, &error), 0);
	cr_expect_str_empty(error.message);
	cr_expect_eq(module("nouveau")->state, FAKE_LOADABLE);
}

/* A start that was killed after it had unloaded some: the next one sees only the rest. */
Test(unload, second_try_forgets_nothing_that_the_first_unloaded)
{
	struct error error = {0};

	handover_plan(&handover, &loan);
	module("nvidia_drm")->state = FAKE_LOADABLE;
	loan.steps.items[0].state = STEP_DONE;
	for (unsigned int i = 0; i < 2; i++) {
		cleanup(plan_done) struct plan plan = {0};

		make_plan(&plan);
		cr_assert_eq(plan_record(&plan, &loan), 0);
	}
	cr_expect_str_eq(loan.steps.items[0].argument, STACK);
	cr_assert_eq(executor_apply(&handover.executor, &loan, &error), 0, "%s", error.message);
	handover_undo_twice(&handover, &loan, "the return");
	expect_stack("after the return");
	handover_expect_home(&handover, "after the return");
}

Test(unload, reload_of_a_standing_loan_is_added_to)
{
	struct steps steps = {0};
	struct step bind = {.operation = "bind", .subject = "0000:01:00.0"};
	struct step reload = {.operation = "reload",
		.subject = "nvidia",
		.argument = "nvidia_modeset nvidia",
		.original = "nvidia_modeset.x=1"};

	cr_assert(steps_add(&steps, &bind));
	cr_assert_eq(unload_record_reload(&steps, &reload), 0);
	cr_expect_str_eq(steps.items[0].operation, "reload");
	strcpy(reload.argument, "nvidia_drm nvidia_uvm nvidia_modeset nvidia");
	strcpy(reload.original, "nvidia_drm.y=2 nvidia_drm.z=3 nvidia_modeset.x=4");
	cr_assert_eq(unload_record_reload(&steps, &reload), 0);
	cr_expect_eq(steps.count, 2u);
	cr_expect_str_eq(steps.items[0].argument, "nvidia_drm nvidia_uvm nvidia_modeset nvidia");
	cr_expect_str_eq(
		steps.items[0].original, "nvidia_modeset.x=1 nvidia_drm.y=2 nvidia_drm.z=3");
	steps_done(&steps);
}

/* `modprobe nvidia-drm modeset=1`: no file says so. */
Test(unload, parameters_given_by_hand_are_given_again)
{
	const struct log log = {.write = handover_tell};
	struct error error = {0};

	strcpy(module("nvidia_drm")->given, "Y");
	module("nvidia_drm")->modeset = "N";
	handover_plan(&handover, &loan);
	cr_expect_str_eq(loan.steps.items[0].original, "nvidia_drm.modeset=Y");
	cr_assert_eq(executor_apply(&handover.executor, &loan, &error), 0, "%s", error.message);
	module("nvidia_drm")->given[0] = '\0';
	fake_restart(handover.fake);
	handover.executor.log = &log;
	handover_undo_twice(&handover, &loan, "the return");
	handover.executor.log = NULL;
	expect_stack("after the return");
	handover_expect_home(&handover, "after the return");
	cr_expect_str_eq(module("nvidia_drm")->given, "Y");
	cr_expect(strstr(handover.fake->writes,
			  "module = nvidia_drm\nunload = nvidia_drm\nmodule = nvidia_drm\n"
			  "parameters = modeset=Y\n"),
		"%s", handover.fake->writes);
	cr_expect_not(strstr(handover_told, "had modeset"), "%s", handover_told);
}

/* modprobe.d gives the same: it is loaded once. */
Test(unload, parameters_that_modprobe_gives_are_not_given_again)
{
	struct error error = {0};

	handover_plan(&handover, &loan);
	cr_assert_eq(executor_apply(&handover.executor, &loan, &error), 0, "%s", error.message);
	fake_restart(handover.fake);
	handover_undo_twice(&handover, &loan, "the return");
	cr_expect_not(strstr(handover.fake->writes, "unload = "), "%s", handover.fake->writes);
	cr_expect_not(strstr(handover.fake->writes, "parameters = "), "%s", handover.fake->writes);
}

Test(unload, parameters_that_cannot_be_given_again_are_told_and_the_module_stays)
{
	struct error error = {0};
	const char *told = "nvidia_drm had modeset=Y before, and does not have it now (unload the "
			   "module nvidia_drm: it is in use): run `rmmod nvidia_drm && "
			   "modprobe nvidia_drm modeset=Y` when nothing uses it";

	module("nvidia_drm")->busy = true;
	module("nvidia_drm")->modeset = "N";
	cr_expect_eq(parameters_restore(&handover.kernel, "nvidia_drm",
			     "nvidia_uvm.x=1 nvidia_drm.modeset=Y nvidia_drm.gone=1", &error),
		0);
	cr_expect_str_eq(error.message, told);
	module("nvidia_drm")->busy = false;
	/* the driver has been updated, and takes that value no longer */
	error = (struct error){0};
	cr_expect_eq(
		parameters_restore(&handover.kernel, "nvidia_drm", "nvidia_drm.modeset=7", &error),
		0);
	cr_expect(strstr(error.message,
			  "nvidia_drm had modeset=7 before, and does not have it now ("),
		"%s", error.message);
	cr_expect_eq(module("nvidia_drm")->state, FAKE_LOADED);
	/* unloading it would take the card away again */
	module("nvidia")->users = NULL;
	module("nvidia")->modeset = "N";
	error = (struct error){0};
	cr_expect_eq(parameters_restore(&handover.kernel, "nvidia", "nvidia.modeset=Y", &error), 0);
	cr_expect(strstr(error.message, "(it drives 0000:01:00.0)"), "%s", error.message);
	cr_expect_eq(module("nvidia")->state, FAKE_LOADED);
}

Test(unload, parameters_that_modprobe_could_not_take_are_left_out)
{
	static const char *const values[] = {"(null)", "", "a b", "a;b", "$(a)", "\"a\"", "a\\b"};
	char text[STEP_ORIGINAL_SIZE];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		module("nvidia_drm")->modeset = values[i];
		text[0] = '\0';
		parameters_add(&handover.kernel, "nvidia_drm", text, sizeof(text));
		cr_expect_str_empty(text);
	}
	module("nvidia_drm")->modeset = "0,-1,0x1f";
	parameters_add(&handover.kernel, "nvidia_drm", text, sizeof(text));
	cr_expect_str_eq(text, "nvidia_drm.modeset=0,-1,0x1f");
	/* the next one does not fit */
	parameters_add(&handover.kernel, "nvidia_drm", text, strlen(text) + 10);
	cr_expect_str_eq(text, "nvidia_drm.modeset=0,-1,0x1f");
}

/* The kernel makes no such circle; a captured tree may hold one. */
Test(unload, modules_that_use_each_other_are_an_error)
{
	cleanup(names_done) struct names names = {0};
	struct error error = {0};

	module("nvidia_drm")->users = "nvidia_modeset";
	cr_expect_eq(unload_find_modules(&handover.kernel, "nvidia", &names, &error), -ELOOP);
	cr_expect_str_eq(error.message,
		"look for the modules that use nvidia: they use each other in a circle");
}
