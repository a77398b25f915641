/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/make_room.h"
#include "hooks/ferry/stop_step.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct plan plan;
static struct settings settings;

static void read_settings(const char *text)
{
	struct error error = {0};

	settings_done(&settings);
	cr_assert_eq(settings_parse(text, "f", 0, &settings, &error), 0, "%s", error.message);
}

static void setup(void)
{
	plan = (struct plan){0};
	read_settings("");
}

static void teardown(void)
{
	plan_done(&plan);
	settings_done(&settings);
}

TestSuite(room, .init = setup, .fini = teardown);

static void add_holder(enum holder_kind kind, pid_t pid, unsigned int guest, const char *unit)
{
	struct holder holder = {
		.kind = kind, .pid = pid, .guest = guest, .command = "x", .node = "card0"};

	snprintf(holder.unit, sizeof(holder.unit), "%s", unit);
	cr_assert_eq(holders_add(&plan.holders, &holder), 0);
}

static void expect_steps(const char *expected)
{
	char text[4096] = "";

	for (size_t i = 0; i < plan.steps.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %s %s;",
			plan.steps.items[i].operation, plan.steps.items[i].subject,
			plan.steps.items[i].argument);
	cr_expect_str_eq(text, expected, "'%s' instead of '%s'", text, expected);
}

static void add_own_step(const char *operation)
{
	struct step step = {.argument = "vfio-pci"};

	snprintf(step.operation, sizeof(step.operation), "%s", operation);
	snprintf(step.subject, sizeof(step.subject), "0000:01:00.0");
	cr_assert_not_null(steps_add(&plan.steps, &step));
}

Test(room, nvidias_daemons_are_stopped_under_every_policy_and_first)
{
	static const char *const policies[] = {
		"busy = \"fail\";", "busy = \"wait\";", "busy = \"stop\";"};

	for (size_t i = 0; i < 3; i++) {
		plan_done(&plan);
		read_settings(policies[i]);
		add_own_step("override");
		add_holder(HOLDER_PROCESS, 300, 0, "nvidia-persistenced.service");
		add_holder(HOLDER_PROCESS, 301, 0, "nvidia-powerd.service");
		add_holder(HOLDER_PROCESS, 302, 0, "nvidia-powerd.service");
		cr_assert_eq(make_room_plan(&settings, &plan), 0);
		expect_steps("stop-unit nvidia-persistenced.service 60;stop-unit "
			     "nvidia-powerd.service 60;override 0000:01:00.0 vfio-pci;");
		cr_expect_eq(plan.blocker_count, 0u);
		cr_expect(make_room_is_needed(&plan));
	}
}

/* Nobody knows whom to wait for, or what to stop besides. */
Test(room, users_who_are_not_known_are_in_the_way_and_nothing_is_stopped)
{
	read_settings("busy = \"wait\";");
	add_holder(HOLDER_PROCESS, 300, 0, "nvidia-persistenced.service");
	strcpy(plan.holders.unknown, "looked at much");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	expect_steps("");
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_HELD);
	cr_expect_str_eq(plan.blockers[0].message, "gpu-ferry looked at much");
	cr_expect_not(plan.is_held);
}

Test(room, who_is_not_listed_is_named_and_nothing_is_stopped)
{
	read_settings("busy = \"stop\"; containers = [ 105 ];");
	add_holder(HOLDER_PROCESS, 300, 0, "nvidia-persistenced.service");
	add_holder(HOLDER_CONTAINER, 301, 105, "");
	add_holder(HOLDER_PROCESS, 302, 0, "ollama.service");
	add_holder(HOLDER_CONTAINER, 303, 106, "");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	expect_steps("");
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect(plan.is_held);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_HELD);
	cr_expect_not_null(strstr(plan.blockers[0].message,
		"by x (PID 302, card0) of ollama.service, container 106 (x, PID 303): end that first, "
		"or let a start stop it: make_room = ( { unit = \"ollama.service\"; }, { container = "
		"106; } ); in /etc/gpu-ferry/gpu-ferry.conf"));
	cr_expect_null(strstr(plan.blockers[0].message, "PID 300"));
}

Test(room, containers_are_stopped_only_where_the_policy_says_stop)
{
	read_settings("containers = [ 105 ];");
	add_holder(HOLDER_CONTAINER, 301, 105, "");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	cr_expect_eq(plan.blocker_count, 1u);
	plan_done(&plan);
	read_settings("busy = \"stop\"; containers = \"any\"; busy_wait_seconds = 7;");
	add_holder(HOLDER_CONTAINER, 301, 105, "");
	add_holder(HOLDER_CONTAINER, 302, 105, "");
	add_holder(HOLDER_CONTAINER, 303, 1234, "");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	expect_steps("stop-container 105 7;stop-container 1234 7;");
}

/* Whoever holds the card, what is stopped goes in the order of the list. */
Test(room, the_list_gives_the_order_and_the_first_entry_that_fits_counts)
{
	read_settings("stop_units = ( ); make_room = ( { unit = \"a.service\"; }, { vm = 106; }, "
		      "{ container = 105; unit = \"o.service\"; }, { container = 105; } );");
	add_holder(HOLDER_CONTAINER, 301, 105, "o.service");
	add_holder(HOLDER_CONTAINER, 302, 105, "p.service");
	add_holder(HOLDER_VM, 303, 106, "");
	add_holder(HOLDER_PROCESS, 304, 0, "a.service");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	cr_expect_eq(plan.blocker_count, 0u);
	expect_steps("stop-unit a.service 60;stop-vm 106 60;stop-container-unit 105/o.service 60;"
		     "stop-container 105 60;");
}

Test(room, a_service_of_another_container_does_not_count)
{
	read_settings("make_room = ( { container = 105; unit = \"o.service\"; } );");
	add_holder(HOLDER_CONTAINER, 301, 106, "o.service");
	add_holder(HOLDER_PROCESS, 302, 0, "o.service");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	expect_steps("");
	cr_expect_not_null(strstr(plan.blockers[0].message,
		"make_room = ( { container = 106; unit = \"o.service\"; }, { unit = "
		"\"o.service\"; } )"));
}

/* Root in a container gives its groups any name. */
Test(room, a_strange_name_of_a_service_is_not_offered_to_be_pasted)
{
	add_holder(
		HOLDER_CONTAINER, 301, 106, "x.service\"; }, { vm = 106; }, { unit = \"y.service");
	add_holder(HOLDER_CONTAINER, 302, 107, "a\\x2db.service");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	cr_expect_not_null(strstr(plan.blockers[0].message,
		"make_room = ( { container = 106; }, { container = 107; } );"));
}

Test(room, a_program_is_asked_for_whom_no_other_entry_names)
{
	read_settings("make_room = ( { program = \"/etc/x\"; }, { container = 105; } );");
	add_holder(HOLDER_PROCESS, 301, 0, "");
	add_holder(HOLDER_CONTAINER, 302, 105, "");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	cr_expect_eq(plan.blocker_count, 0u);
	expect_steps("stop-program /etc/x 60;stop-container 105 60;");
}

/* Nobody can be told what to write for a shell. */
Test(room, a_program_of_nobody_gets_no_line)
{
	add_holder(HOLDER_PROCESS, 301, 0, "user@1000.service");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	cr_expect_not_null(strstr(
		plan.blockers[0].message, "end that first, or see make_room in gpu-ferry.conf(5)"));
}

Test(room, a_vm_that_is_not_named_or_the_kernel_is_never_stopped)
{
	read_settings("busy = \"stop\"; containers = \"any\"; stop_units = [ \"a.service\" ];");
	add_holder(HOLDER_VM, 300, 105, "a.service");
	add_holder(HOLDER_KERNEL, 0, 0, "");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	expect_steps("");
	cr_expect_not_null(strstr(plan.blockers[0].message, "VM 105"));
	cr_expect_not_null(strstr(plan.blockers[0].message, "the kernel"));
}

Test(room, what_was_stopped_comes_first_and_so_is_started_last)
{
	add_own_step("override");
	add_holder(HOLDER_PROCESS, 300, 0, "nvidia-powerd.service");
	cr_assert_eq(make_room_plan(&settings, &plan), 0);
	add_own_step("unbind");
	cr_assert_not_null(steps_add(&plan.steps,
		&(struct step){.operation = "stop-container", .subject = "105", .argument = "9"}));
	make_room_sort(&plan.steps);
	expect_steps("stop-unit nvidia-powerd.service 60;stop-container 105 9;override "
		     "0000:01:00.0 vfio-pci;unbind 0000:01:00.0 vfio-pci;");
}
