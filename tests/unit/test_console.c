/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/operation/console.h"

#include "kmod-helper/plan/plan.h"
#include "tests/support/handover.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPU "0000:01:00.0"
#define FIRMWARE "sys/bus/platform/drivers/efi-framebuffer/efi-framebuffer.0"
#define FIRMWARE_DRIVER "sys/bus/platform/devices/efi-framebuffer.0/driver"
#define CONSOLE "sys/class/vtconsole/vtcon1"
#define IOMEM                                                                                      \
	"00001000-0009ffff : System RAM\n"                                                         \
	"c0000000-febfffff : PCI Bus 0000:00\n"                                                    \
	"  cf000000-cfffffff : 0000:02:00.0\n"                                                     \
	"  d0000000-dfffffff : PCI Bus 0000:01\n"                                                  \
	"    d0000000-d0ffffff : 0000:01:00.1\n"                                                   \
	"    e0000000-efffffff : 0000:01:00.0\n"                                                   \
	"      e0000000-e07fffff : efifb\n"                                                        \
	"  f0000000-f0ffffff : 0000:02:00.0\n"

static struct handover handover;
static struct plan plan;
static struct loan loan;

/* A host whose firmware drew its screen on the first card. */
static void init(void)
{
	handover_init(&handover);
	fake_function(handover.fake, GPU)->boot_vga = true;
	fake_add_file(handover.fake, "sys/bus/platform/devices/efi-framebuffer.0/uevent", "");
	fake_add_link(handover.fake, FIRMWARE, "efi-framebuffer.0");
	fake_add_link(handover.fake, FIRMWARE_DRIVER, "efi-framebuffer");
	fake_add_file(handover.fake, "proc/iomem", IOMEM);
	fake_add_file(handover.fake, "proc/fb", "0 EFI VGA");
	fake_add_file(handover.fake, "sys/class/vtconsole/vtcon0/name", "(S) dummy device");
	fake_add_file(handover.fake, "sys/class/vtconsole/vtcon0/bind", "0");
	fake_add_file(handover.fake, CONSOLE "/name", "(M) frame buffer device");
	fake_add_file(handover.fake, CONSOLE "/bind", "1");
	free(handover.before);
	handover.before = fake_describe(handover.fake);
}

static void done(void)
{
	plan_done(&plan);
	loan_done(&loan);
	handover_done(&handover);
}

TestSuite(console, .init = init, .fini = done);

static void make_plan(const char *address, const struct loan *own)
{
	struct plan_want want = {.target = "vfio-pci"};
	struct pci_functions host = {0};
	struct plan_request request = {.host = &host, .wants = &want, .want_count = 1, .own = own};

	strcpy(want.address, address);
	plan_done(&plan);
	cr_assert_eq(pci_scan(&handover.kernel, &host, NULL), 0);
	handover_know(&handover, &request);
	cr_assert_eq(plan_make(&handover.kernel, &request, &plan, NULL), 0);
	cr_assert_eq(plan.blocker_count, 0u);
	pci_functions_done(&host);
}

/* The steps of the console, "blank framebuffer"; what stands around them is
 * told by its first letter: "u" for unbind. */
static void expect_steps(const char *expected)
{
	char text[512] = "";

	for (size_t i = 0; i < plan.steps.count; i++) {
		const struct step *step = &plan.steps.items[i];
		const char *name = step->operation;
		bool ours = !strcmp(name, "framebuffer") || !strcmp(name, "blank") ||
			!strcmp(name, "show");

		if (strcmp(step->subject, GPU) != 0)
			continue;
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s ", ours ? 24 : 1,
			name);
	}
	cr_expect_str_eq(text, expected);
}

static int run(struct error *error)
{
	loan_init(&loan, VM_104);
	loan.write_deadline_ms = 10000;
	cr_assert_eq(plan_record(&plan, &loan), 0);
	return executor_apply(&handover.executor, &loan, error);
}

static void take_home(void)
{
	handover_undo_twice(&handover, &loan, "the return");
}

Test(console, the_firmwares_framebuffer_is_unbound_first_and_put_back_last)
{
	struct error error = {0};

	make_plan(GPU, NULL);
	expect_steps("framebuffer o u b ");
	cr_assert_eq(run(&error), 0, "%s", error.message);
	cr_expect_null(fake_file(handover.fake, FIRMWARE_DRIVER));
	cr_expect_str_eq(fake_function(handover.fake, GPU)->driver, "vfio-pci");
	take_home();
	cr_expect_not_null(fake_file(handover.fake, FIRMWARE_DRIVER));
	handover_expect_home(&handover, "after the return");
}

/* vfio-pci's bind of a VGA device takes the platform device away; so does a DRM driver's. */
Test(console, a_framebuffer_that_the_kernel_removed_owes_nothing)
{
	make_plan(GPU, NULL);
	cr_assert_eq(run(NULL), 0);
	handover.fake->files[0] = handover.fake->files[--handover.fake->file_count];
	take_home();
	cr_expect_eq(loan.steps.count, 0u);
	cr_expect_str_eq(fake_function(handover.fake, GPU)->driver, "nouveau");
}

Test(console, another_cards_framebuffer_is_left_alone)
{
	make_plan("0000:02:00.0", NULL);
	for (size_t i = 0; i < plan.steps.count; i++)
		cr_expect_str_neq(plan.steps.items[i].operation, "framebuffer");
	cr_expect_eq(plan.notice_count, 0u);
}

/* Who is inside of whom, the indent says. */
Test(console, a_region_is_inside_of_what_it_is_indented_below)
{
	bool anywhere = false;

	cr_expect(console_memory_is_inside(IOMEM, GPU, "efifb", &anywhere));
	cr_expect(anywhere);
	anywhere = false;
	cr_expect_not(console_memory_is_inside(IOMEM, "0000:01:00.1", "efifb", &anywhere));
	cr_expect(anywhere, "it is another's");
	anywhere = false;
	cr_expect_not(console_memory_is_inside(IOMEM, GPU, "vesafb", &anywhere));
	cr_expect_not(console_memory_is_inside("", GPU, "efifb", &anywhere));
	cr_expect_not(anywhere);
	cr_expect(console_memory_is_inside(
		"1-2 : " GPU "\n  1-1 : x\n    1-1 : efifb", GPU, "efifb", &anywhere));
}

/* What could not be reserved is not in /proc/iomem: then the framebuffer is the boot display's. */
Test(console, a_framebuffer_without_memory_of_its_own_is_the_boot_displays)
{
	strcpy(fake_file(handover.fake, "proc/iomem")->text, "");
	make_plan(GPU, NULL);
	expect_steps("framebuffer o u b ");
	fake_function(handover.fake, GPU)->boot_vga = false;
	make_plan(GPU, NULL);
	expect_steps("o u b ");
}

Test(console, without_any_of_it_nothing_is_done)
{
	handover.fake->file_count = 0;
	make_plan(GPU, NULL);
	expect_steps("o u b ");
	cr_expect_eq(plan.notice_count, 1u, "it is the boot display all the same");
}

static void with_nvidia(const char *version)
{
	strcpy(fake_function(handover.fake, GPU)->driver, "nvidia");
	fake_driver(handover.fake, "nouveau")->registered = false;
	if (!fake_driver(handover.fake, "nvidia")) {
		fake_add_driver(handover.fake, "nvidia", "nvidia");
		fake_driver(handover.fake, "nvidia")->ids[0] =
			(struct fake_id){.vendor = 0x10de, .class_code = 0x0300};
		fake_driver(handover.fake, "nvidia")->id_count = 1;
		fake_add_file(handover.fake, "sys/module/nvidia_drm/version", version);
		fake_add_file(
			handover.fake, "sys/bus/pci/devices/" GPU "/graphics/fb1/dev", "29:1");
	}
	strcpy(fake_file(handover.fake, "sys/module/nvidia_drm/version")->text, version);
	fake_module(handover.fake, "nvidia")->version = version;
	free(handover.before);
	handover.before = fake_describe(handover.fake);
}

Test(console, the_console_is_taken_off_an_older_nvidia_drm_before_all_else)
{
	struct error error = {0};

	with_nvidia("570.86.16");
	make_plan(GPU, NULL);
	cr_expect_str_eq(plan.steps.items[0].operation, "blank");
	cr_expect_str_eq(plan.steps.items[0].argument, "vtcon1");
	expect_steps("blank framebuffer o u b show ");
	cr_assert_eq(run(&error), 0, "%s", error.message);
	cr_expect_not_null(strstr(handover.fake->writes, CONSOLE "/bind = 0"));
	cr_expect_str_eq(
		fake_file(handover.fake, CONSOLE "/bind")->text, "1", "the other displays have it");
	take_home();
	handover_expect_home(&handover, "after the return");
}

Test(console, the_console_comes_back_where_no_display_was_left_for_it)
{
	with_nvidia("535.183.01");
	make_plan(GPU, NULL);
	loan_init(&loan, VM_104);
	loan.write_deadline_ms = 10000;
	cr_assert_eq(plan_record(&plan, &loan), 0);
	strcpy(fake_file(handover.fake, "proc/fb")->text, "");
	cr_assert_eq(executor_apply(&handover.executor, &loan, NULL), 0);
	cr_expect_str_eq(fake_file(handover.fake, CONSOLE "/bind")->text, "0");
	take_home();
	cr_expect_str_eq(fake_file(handover.fake, CONSOLE "/bind")->text, "1");
}

Test(console, a_newer_nvidia_drm_and_one_without_a_framebuffer_need_nothing)
{
	static const char *const newer[] = {"580.105.08", "580.126.01", "595.10"};
	static const char *const older[] = {"580.105.07", "580.95.05", "470.256.02"};

	for (size_t i = 0; i < 3; i++) {
		with_nvidia(newer[i]);
		make_plan(GPU, NULL);
		expect_steps("framebuffer o u b ");
		with_nvidia(older[i]);
		make_plan(GPU, NULL);
		expect_steps("blank framebuffer o u b show ");
	}
	handover.fake->file_count--; /* graphics */
	make_plan(GPU, NULL);
	expect_steps("framebuffer o u b ");
}

/* A hook killed in the middle: what it unbound must still be put back. */
Test(console, a_handover_begun_anew_knows_what_was_there_at_first)
{
	with_nvidia("570.86.16");
	make_plan(GPU, NULL);
	cr_assert_eq(run(NULL), 0);
	strcpy(fake_function(handover.fake, GPU)->driver, "nvidia");
	strcpy(fake_file(handover.fake, CONSOLE "/bind")->text, "0");
	make_plan(GPU, &loan);
	expect_steps("blank framebuffer o u b show ");
}

Test(console, the_boot_display_and_what_ends_with_the_loan_are_noticed)
{
	make_plan(GPU, NULL);
	cr_assert_eq(plan.notice_count, 2u);
	cr_expect_not_null(strstr(plan.notices[0].message,
				   GPU " is the display that this host booted with: while"),
		"%s", plan.notices[0].message);
	cr_expect_not_null(strstr(plan.notices[1].message, "(efi-framebuffer.0)"), "%s",
		plan.notices[1].message);
}

Test(console, the_last_display_of_the_host_is_noticed)
{
	for (unsigned int i = 0; i < 3; i++)
		fake_function(handover.fake,
			(const char *[]){"0000:02:00.0", "0000:02:00.1", "0000:02:00.2"}[i])
			->class_code = 0x0c80;
	make_plan(GPU, NULL);
	cr_expect_not_null(
		strstr(plan.notices[0].message, "and its only one"), "%s", plan.notices[0].message);
	fake_function(handover.fake, GPU)->boot_vga = false;
	make_plan(GPU, NULL);
	cr_expect_not_null(
		strstr(plan.notices[0].message, GPU " is the last display that this host has"),
		"%s", plan.notices[0].message);
}
