/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/operation/binding.h"
#include "kmod-helper/plan/plan.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct handover handover;
static struct pci_functions host;
static struct plan plan;

static void init(void)
{
	handover_init(&handover);
}

static void done(void)
{
	plan_done(&plan);
	pci_functions_done(&host);
	handover_done(&handover);
}

TestSuite(plan, .init = init, .fini = done);

static void make(struct plan_request request)
{
	struct error error = {0};

	pci_functions_done(&host);
	plan_done(&plan);
	cr_assert_eq(pci_scan(&handover.kernel, &host, &error), 0, "%s", error.message);
	request.host = &host;
	cr_assert_eq(plan_make(&handover.kernel, &request, &plan, &error), 0, "%s", error.message);
}

static struct plan_want want(const char *address)
{
	struct plan_want made = {.target = "vfio-pci"};

	snprintf(made.address, sizeof(made.address), "%s", address);
	return made;
}

static void take(const char *address)
{
	const struct plan_want one = want(address);

	make((struct plan_request){.wants = &one, .want_count = 1});
}

static const struct plan_function *find_planned(const char *address)
{
	for (size_t i = 0; i < plan.function_count; i++) {
		if (strcmp(plan.functions[i].now.address, address) == 0)
			return &plan.functions[i];
	}
	return NULL;
}

/* What the plan says of a function that it must have. */
static const struct loan_function *planned(const char *address)
{
	static const struct loan_function none;
	const struct plan_function *function = find_planned(address);

	cr_assert_not_null(function, "%s is not in the plan", address);
	return function ? &function->loan : &none;
}

/* "load vfio-pci; override 0000:01:00.1; …" */
static void expect_steps(const char *expected)
{
	char text[4096] = "";

	for (size_t i = 0; i < plan.steps.count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %s", i ? "; " : "",
			plan.steps.items[i].operation, plan.steps.items[i].subject);
	cr_expect_str_eq(text, expected);
}

static void expect_blocker(enum blocker_code code, const char *about)
{
	cr_assert_geq(plan.blocker_count, 1u, "nothing is in the way");
	cr_expect_eq(plan.blockers[0].code, code, "%s", plan.blockers[0].message);
	cr_expect_not_null(strstr(plan.blockers[0].message, about), "%s", plan.blockers[0].message);
	cr_expect_eq(plan.blocker_count, 1u, "%s", plan.blockers[plan.blocker_count - 1].message);
}

static void expect_clear(void)
{
	cr_expect_eq(plan.blocker_count, 0u, "%s", plan.blockers[0].message);
}

#define CARD_STEPS                                                                                 \
	"load vfio-pci; "                                                                          \
	"override 0000:01:00.1; unbind 0000:01:00.1; bind 0000:01:00.1; "                          \
	"override 0000:01:00.2; unbind 0000:01:00.2; bind 0000:01:00.2; "                          \
	"override 0000:01:00.0; unbind 0000:01:00.0; bind 0000:01:00.0"

Test(plan, takes_the_whole_group_consumers_first_and_the_display_last)
{
	take("0000:01:00.0");
	expect_clear();
	expect_steps(CARD_STEPS);
	cr_expect_eq(plan.function_count, 3u);
}

/* The return goes backwards: then the first card has the lowest number that is free, as at boot. */
Test(plan, of_two_cards_the_first_display_is_the_last_to_leave)
{
	struct plan_want wants[] = {want("0000:01:00.0"), want("0000:02:00.0")};

	make((struct plan_request){.wants = wants, .want_count = 2});
	expect_clear();
	cr_assert_geq(plan.steps.count, 2u);
	cr_expect_str_eq(plan.steps.items[plan.steps.count - 1].subject, "0000:01:00.0");
	cr_expect_str_eq(plan.steps.items[plan.steps.count - 4].subject, "0000:02:00.0");
}

Test(plan, order_does_not_depend_on_which_function_is_asked_for)
{
	take("0000:01:00.1");
	expect_clear();
	expect_steps(CARD_STEPS);
}

Test(plan, a_display_with_a_higher_number_is_still_last)
{
	fake_function(handover.fake, "0000:01:00.0")->class_code = 0x0403;
	fake_function(handover.fake, "0000:01:00.2")->class_code = 0x0302;
	take("0000:01:00.0");
	cr_assert_gt(plan.steps.count, 0u);
	cr_expect_str_eq(plan.steps.items[plan.steps.count - 1].subject, "0000:01:00.2");
}

Test(plan, the_bridge_of_the_group_and_the_twin_card_stay_out)
{
	take("0000:01:00.0");
	cr_expect_null(find_planned("0000:00:01.0"));
	cr_expect_null(find_planned("0000:02:00.0"));
	cr_expect_null(find_planned("0000:03:00.0"));
}

Test(plan, a_bridge_asked_for_is_refused)
{
	bool refused = false;

	take("0000:00:01.0");
	for (size_t i = 0; i < plan.blocker_count; i++)
		refused = refused ||
			(plan.blockers[i].code == BLOCKER_CONFIG &&
				strstr(plan.blockers[i].message, "0000:00:01.0"));
	cr_expect(refused);
}

Test(plan, records_home_driver_module_and_override)
{
	strcpy(fake_function(handover.fake, "0000:01:00.2")->override, "xhci_hcd");
	take("0000:01:00.0");
	cr_expect_str_eq(planned("0000:01:00.2")->home_driver, "xhci_hcd");
	cr_expect_str_eq(planned("0000:01:00.2")->home_module, "xhci_pci");
	cr_expect_str_eq(planned("0000:01:00.2")->driver_override, "xhci_hcd");
	cr_expect_str_eq(planned("0000:01:00.0")->driver_override, "");
	cr_expect_eq(planned("0000:01:00.0")->iommu_group, 15);
}

Test(plan, a_function_without_a_driver_has_no_unbind)
{
	fake_function(handover.fake, "0000:01:00.2")->driver[0] = '\0';
	take("0000:01:00.0");
	expect_steps("load vfio-pci; "
		     "override 0000:01:00.1; unbind 0000:01:00.1; bind 0000:01:00.1; "
		     "override 0000:01:00.2; bind 0000:01:00.2; "
		     "override 0000:01:00.0; unbind 0000:01:00.0; bind 0000:01:00.0");
}

Test(plan, loads_nothing_when_the_driver_is_there)
{
	fake_driver(handover.fake, "vfio-pci")->registered = true;
	take("0000:01:00.0");
	cr_assert_gt(plan.steps.count, 0u);
	cr_expect_str_eq(plan.steps.items[0].operation, "override");
}

Test(plan, a_blocked_driver_module_is_no_driver)
{
	fake_module(handover.fake, "vfio-pci")->state = FAKE_BLOCKED;
	take("0000:01:00.0");
	expect_blocker(BLOCKER_NO_DRIVER, "forbids");
}

Test(plan, a_missing_driver_module_is_no_driver)
{
	strcpy(fake_module(handover.fake, "vfio-pci")->name, "something_else");
	take("0000:01:00.0");
	expect_blocker(BLOCKER_NO_DRIVER, "vfio-pci");
}

/* ---- foreign members */

static void add_foreign(const char *driver)
{
	fake_add_function(handover.fake, "0000:04:00.0", 0x0106, 15, driver);
}

Test(plan, a_foreign_member_of_the_group_is_refused_by_name)
{
	add_foreign("ahci");
	take("0000:01:00.0");
	expect_blocker(BLOCKER_FOREIGN_MEMBER, "0000:04:00.0");
	cr_expect_not_null(strstr(plan.blockers[0].message, "ahci"));
	cr_expect_null(find_planned("0000:04:00.0"));
}

Test(plan, all_foreign_members_of_a_group_are_one_blocker)
{
	add_foreign("ahci");
	fake_add_function(handover.fake, "0000:05:00.0", 0x0200, 15, "");
	take("0000:01:00.0");
	expect_blocker(BLOCKER_FOREIGN_MEMBER,
		"0000:04:00.0 (class 0106, ahci), 0000:05:00.0 (class 0200, no driver)");
}

Test(plan, an_allowed_foreign_member_is_taken_along_before_the_display)
{
	const struct plan_want one = want("0000:01:00.0");
	const char *const allow[] = {"0000:04:00.0"};

	add_foreign("ahci");
	make((struct plan_request){
		.wants = &one, .want_count = 1, .allow = allow, .allow_count = COUNT(allow)});
	expect_clear();
	cr_expect_eq(planned("0000:04:00.0")->use, LOAN_TAKEN);
	cr_expect_str_eq(plan.steps.items[plan.steps.count - 1].subject, "0000:01:00.0");
}

Test(plan, a_foreign_member_that_is_asked_for_is_no_foreigner)
{
	const struct plan_want wants[] = {want("0000:01:00.0"), want("0000:04:00.0")};

	add_foreign("");
	fake_function(handover.fake, "0000:04:00.0")->class_code = 0x0300;
	make((struct plan_request){.wants = wants, .want_count = COUNT(wants)});
	expect_clear();
	cr_expect_not_null(find_planned("0000:04:00.0"));
}

Test(plan, a_foreign_member_on_vfio_pci_already_stays_there)
{
	add_foreign("vfio-pci");
	strcpy(fake_function(handover.fake, "0000:04:00.0")->override, "vfio-pci");
	take("0000:01:00.0");
	expect_clear();
	cr_expect_eq(planned("0000:04:00.0")->use, LOAN_STATIC);
}

Test(plan, what_is_left_of_a_card_is_told)
{
	fake_function(handover.fake, "0000:01:00.1")->group = 31;
	take("0000:01:00.0");
	expect_clear();
	cr_assert_eq(plan.notice_count, 1u);
	cr_expect_not_null(strstr(plan.notices[0].message,
				   "0000:01:00.1 (snd_hda_intel); ask for 0000:01:00 to give"),
		"%s", plan.notices[0].message);
	cr_expect_null(find_planned("0000:01:00.1"));
}

/* ---- virtual functions */

#define VIRTUAL "0000:01:00.4"

static void add_virtual(const char *driver)
{
	fake_add_function(handover.fake, VIRTUAL, 0x0300, 30, driver);
	strcpy(fake_function(handover.fake, VIRTUAL)->parent, "0000:01:00.0");
}

Test(plan, a_physical_function_stays_while_a_virtual_one_is_on_vfio_pci)
{
	add_virtual("vfio-pci");
	take("0000:01:00.0");
	expect_blocker(BLOCKER_VFS, VIRTUAL " (on vfio-pci)");
}

Test(plan, a_physical_function_stays_while_a_virtual_one_is_lent)
{
	struct loan_function lent = {.address = VIRTUAL, .use = LOAN_TAKEN};
	struct loan loan = {
		.owner = {.kind = LOAN_OWNER_VM, .vmid = 106},
		.functions = &lent,
		.function_count = 1,
	};
	const struct loans loans = {.items = &loan, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	add_virtual("");
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	expect_blocker(BLOCKER_VFS, VIRTUAL " (VM 106)");
	lent.use = LOAN_ALTERNATIVE;
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	expect_clear();
}

Test(plan, a_physical_function_and_a_virtual_one_cannot_both_be_asked_for)
{
	const struct plan_want wants[] = {want("0000:01:00.0"), want(VIRTUAL)};

	add_virtual("");
	make((struct plan_request){.wants = wants, .want_count = COUNT(wants)});
	expect_blocker(BLOCKER_VFS, VIRTUAL " (asked for together with it)");
}

Test(plan, unused_virtual_functions_end_with_a_notice)
{
	add_virtual("");
	take("0000:01:00.0");
	expect_clear();
	cr_assert_eq(plan.notice_count, 1u);
	cr_expect_not_null(strstr(plan.notices[0].message, "1 virtual function"), "%s",
		plan.notices[0].message);
	cr_expect_null(find_planned(VIRTUAL));
}

/* It has no screen. */
Test(plan, a_virtual_function_is_taken_alone_and_counts_as_no_display)
{
	add_virtual("");
	fake_function(handover.fake, "0000:02:00.0")->class_code = 0x0c80;
	take(VIRTUAL);
	expect_clear();
	cr_expect_eq(plan.function_count, 1u);
	cr_expect_eq(plan.notice_count, 0u);
	take("0000:01:00.0");
	cr_assert_eq(plan.notice_count, 2u);
	cr_expect_not_null(strstr(plan.notices[1].message, "is the last display"), "%s",
		plan.notices[1].message);
}

Test(plan, another_choice_of_a_mapping_is_still_a_display_of_the_host)
{
	struct plan_want wants[] = {want("0000:01:00.0"), want("0000:02:00.0")};

	wants[1].alternative = true;
	fake_function(handover.fake, "0000:01:00.0")->boot_vga = false;
	make((struct plan_request){.wants = wants, .want_count = COUNT(wants)});
	cr_expect_eq(plan.notice_count, 0u, "%s", plan.notices[0].message);
}

/* ---- checks */

Test(plan, without_a_group_there_is_no_iommu)
{
	for (unsigned int i = 0; i < handover.fake->function_count; i++)
		handover.fake->functions[i].group = PCI_NO_GROUP;
	take("0000:01:00.0");
	expect_blocker(BLOCKER_NO_IOMMU, "0000:01:00.0");
	cr_expect_eq(plan.function_count, 1u);
}

Test(plan, an_address_that_is_not_there_is_no_device)
{
	take("0000:09:00.0");
	expect_blocker(BLOCKER_NO_DEVICE, "0000:09:00.0");
	expect_steps("");
}

Test(plan, a_dead_card_is_refused)
{
	fake_function(handover.fake, "0000:01:00.0")->dead = true;
	take("0000:01:00.0");
	expect_blocker(BLOCKER_DEAD, "0000:01:00.0");
}

Test(plan, a_card_asleep_in_d3cold_is_neither_dead_nor_woken)
{
	fake_function(handover.fake, "0000:01:00.0")->dead = true;
	strcpy(fake_function(handover.fake, "0000:01:00.0")->power_state, "D3cold");
	take("0000:01:00.0");
	expect_clear();
}

Test(plan, the_boot_display_is_refused_where_the_settings_say_so)
{
	const struct plan_want one = want("0000:01:00.0");

	fake_function(handover.fake, "0000:01:00.0")->boot_vga = true;
	make((struct plan_request){.wants = &one, .want_count = 1, .refuse_boot_display = true});
	expect_blocker(BLOCKER_BOOT_DISPLAY, "0000:01:00.0");
	take("0000:01:00.0");
	expect_clear();
}

/* The file of sysfs that says so is gone once the card is lent. */
Test(plan, a_lent_boot_display_is_still_known_as_one)
{
	cleanup(loans_done) struct loans loans = {
		.items = calloc(1, sizeof(struct loan)), .count = 1};

	fake_function(handover.fake, "0000:01:00.0")->boot_vga = true;
	take("0000:01:00.0");
	cr_assert_eq(plan_record(&plan, &loans.items[0]), 0);
	for (size_t i = 0; i < host.count; i++)
		host.items[i].boot_display = false;
	loans_mark_boot_displays(&loans, &host);
	cr_expect(pci_find(&host, "0000:01:00.0")->boot_display);
	cr_expect_not(pci_find(&host, "0000:02:00.0")->boot_display);
}

Test(plan, the_twin_of_the_boot_display_is_not_refused)
{
	const struct plan_want one = want("0000:02:00.0");

	fake_function(handover.fake, "0000:01:00.0")->boot_vga = true;
	make((struct plan_request){.wants = &one, .want_count = 1, .refuse_boot_display = true});
	expect_clear();
}

/* ---- what is on vfio-pci already */

static void put_on_vfio(const char *slot)
{
	char address[PCI_ADDRESS_SIZE];

	fake_driver(handover.fake, "vfio-pci")->registered = true;
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(address, sizeof(address), "%s.%u", slot, i);
		strcpy(fake_function(handover.fake, address)->driver, "vfio-pci");
	}
}

#define BOOT_IDS "ids=10de:2704,10de:22bb,10de:1ada"

Test(plan, a_static_set_up_is_left_alone)
{
	put_on_vfio("0000:01:00");
	strcpy(handover.fake->vfio_options, BOOT_IDS);
	take("0000:01:00.0");
	expect_clear();
	expect_steps("");
	cr_expect_eq(planned("0000:01:00.0")->use, LOAN_STATIC);
}

/* driverctl's rules, and scripts in the initramfs. */
Test(plan, an_override_that_is_in_no_loan_is_a_static_set_up)
{
	put_on_vfio("0000:01:00");
	for (unsigned int i = 0; i < handover.fake->function_count; i++)
		strcpy(handover.fake->functions[i].override, "vfio-pci");
	take("0000:01:00.0");
	expect_clear();
	expect_steps("");
	cr_expect_eq(planned("0000:01:00.2")->use, LOAN_STATIC);
}

/* Proxmox's new_id, which nobody undoes, is no home: else the host had lost the card until its next
 * boot. */
Test(plan, a_card_that_proxmox_left_on_vfio_pci_goes_home_to_the_hosts_driver)
{
	put_on_vfio("0000:01:00");
	strcpy(handover.fake->vfio_options, "ids=10de:2705");
	take("0000:01:00.0");
	expect_clear();
	cr_expect_eq(planned("0000:01:00.0")->use, LOAN_TAKEN);
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
	cr_expect_str_eq(planned("0000:01:00.1")->home_driver, "snd_hda_intel");
	cr_expect_str_eq(planned("0000:01:00.2")->home_driver, "xhci_hcd");
	cr_expect_str_eq(planned("0000:01:00.2")->home_module, "xhci_pci");
	expect_steps("override 0000:01:00.1; unbind 0000:01:00.1; bind 0000:01:00.1; "
		     "id 0000:01:00.1; "
		     "override 0000:01:00.2; unbind 0000:01:00.2; bind 0000:01:00.2; "
		     "id 0000:01:00.2; "
		     "override 0000:01:00.0; unbind 0000:01:00.0; bind 0000:01:00.0; "
		     "id 0000:01:00.0");
	for (size_t i = 0; i < plan.steps.count; i++)
		cr_expect_eq(plan.steps.items[i].state, STEP_DONE);
}

Test(plan, a_stray_card_of_a_blacklisted_driver_has_none_to_go_home_to)
{
	put_on_vfio("0000:01:00");
	fake_driver(handover.fake, "nouveau")->registered = false;
	take("0000:01:00.0");
	expect_clear();
	cr_expect_eq(planned("0000:01:00.0")->use, LOAN_TAKEN);
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "");
}

Test(plan, keep_leaves_a_variant_driver_in_place)
{
	struct plan_want one = want("0000:01:00.0");

	fake_add_driver(handover.fake, "nvgrace-gpu-vfio-pci", "nvgrace_gpu_vfio_pci");
	strcpy(fake_function(handover.fake, "0000:01:00.0")->driver, "nvgrace-gpu-vfio-pci");
	one.keep = true;
	make((struct plan_request){.wants = &one, .want_count = 1});
	expect_clear();
	cr_expect_str_eq(planned("0000:01:00.0")->target, "nvgrace-gpu-vfio-pci");
	for (size_t i = 0; i < plan.steps.count; i++)
		cr_expect_str_neq(plan.steps.items[i].subject, "0000:01:00.0");
}

Test(plan, without_keep_a_variant_driver_is_torn_off_as_proxmox_does)
{
	fake_add_driver(handover.fake, "nvgrace-gpu-vfio-pci", "nvgrace_gpu_vfio_pci");
	strcpy(fake_function(handover.fake, "0000:01:00.0")->driver, "nvgrace-gpu-vfio-pci");
	take("0000:01:00.0");
	cr_expect_str_eq(planned("0000:01:00.0")->target, "vfio-pci");
	cr_expect_eq(planned("0000:01:00.0")->use, LOAN_TAKEN);
}

static struct loan make_loan(const struct loan_owner *owner, const char *slot, enum loan_use use)
{
	static const char *const homes[] = {"nouveau", "snd_hda_intel", "xhci_hcd"};
	struct loan loan;

	loan_init(&loan, owner);
	loan.state = LOAN_LENT;
	for (unsigned int i = 0; i < 3; i++) {
		struct loan_function function = {
			.iommu_group = 15, .target = "vfio-pci", .use = use};

		snprintf(function.address, sizeof(function.address), "%s.%u", slot, i);
		snprintf(function.home_driver, sizeof(function.home_driver), "%s", homes[i]);
		cr_assert_eq(loan_add_function(&loan, &function), 0);
	}
	return loan;
}

/* As a handover leaves it: each function's bind is a step. */
static void add_binds(struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++)
		cr_assert_eq(binding_plan_steps(&loan->functions[i], STEP_DONE, &loan->steps), 0);
}

static const struct loan_owner by_hand = {.kind = LOAN_OWNER_HAND, .iommu_group = 15};

Test(plan, a_second_plan_with_the_loan_standing_does_nothing_and_keeps_the_first_home)
{
	cleanup(loan_done) struct loan own = make_loan(VM_104, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &own, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	add_binds(&own);
	put_on_vfio("0000:01:00");
	make((struct plan_request){.wants = &one, .want_count = 1, .own = &own, .loans = &loans});
	expect_clear();
	expect_steps("");
	cr_expect_eq(planned("0000:01:00.0")->use, LOAN_TAKEN);
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
	cr_expect_eq(plan_record(&plan, &own), 0);
	cr_expect_eq(own.function_count, 3u);
	cr_expect_str_eq(loan_find(&own, "0000:01:00.2")->home_driver, "xhci_hcd");
}

/* A return had brought it home, and failed with the others; then Proxmox bound it. */
Test(plan, a_function_whose_steps_were_undone_is_adopted)
{
	cleanup(loan_done) struct loan own = make_loan(VM_104, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &own, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	add_binds(&own);
	for (unsigned int i = 0; i < 3; i++)
		steps_remove(&own.steps, 0);
	put_on_vfio("0000:01:00");
	make((struct plan_request){.wants = &one, .want_count = 1, .own = &own, .loans = &loans});
	expect_clear();
	expect_steps("override 0000:01:00.0; unbind 0000:01:00.0; bind 0000:01:00.0; "
		     "id 0000:01:00.0");
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
}

Test(plan, a_half_done_handover_is_begun_anew_with_the_first_home)
{
	cleanup(loan_done) struct loan own = make_loan(VM_104, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &own, .count = 1};
	const struct plan_want one = want("0000:01:00.0");
	struct step started = {.operation = "unbind",
		.subject = "0000:01:00.0",
		.argument = "nouveau",
		.state = STEP_STARTED};
	/* of settings that were other ones then */
	struct step kept = {.operation = "keep",
		.subject = "0000:01:00.0",
		.argument = "d3cold_allowed",
		.original = "1",
		.state = STEP_DONE};
	struct step stale = {.operation = "set",
		.subject = "0000:01:00.0",
		.argument = "d3cold_allowed=0",
		.state = STEP_PLANNED};

	cr_assert_not_null(steps_add(&own.steps, &kept));
	cr_assert_not_null(steps_add(&own.steps, &stale));
	cr_assert_not_null(steps_add(&own.steps, &started));
	fake_function(handover.fake, "0000:01:00.0")->driver[0] = '\0';
	strcpy(fake_function(handover.fake, "0000:01:00.0")->override, "vfio-pci");
	make((struct plan_request){.wants = &one, .want_count = 1, .own = &own, .loans = &loans});
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
	cr_expect_str_eq(planned("0000:01:00.0")->driver_override, "");
	cr_assert_eq(plan_record(&plan, &own), 0);
	/* killed once more before any of it, it still knows that the driver may have been left */
	cr_expect_str_eq(own.steps.items[0].argument, "d3cold_allowed");
	for (size_t i = 1; i < own.steps.count; i++) {
		const struct step *step = &own.steps.items[i];

		cr_expect_eq(step->state,
			strcmp(step->operation, "unbind") == 0 &&
					strcmp(step->subject, "0000:01:00.0") == 0
				? STEP_STARTED
				: STEP_PLANNED,
			"%s %s", step->operation, step->subject);
	}
	cr_expect_eq(own.steps.count, 11u);
}

/* Its loan still names the address; what is there now has never been lent. */
Test(plan, another_card_at_the_address_of_a_loan_has_a_home_of_its_own)
{
	cleanup(loan_done) struct loan own = make_loan(VM_104, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &own, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	strcpy(own.functions[0].identity, "1002:744c 1458:40bc");
	strcpy(own.functions[0].home_driver, "amdgpu");
	make((struct plan_request){.wants = &one, .want_count = 1, .own = &own, .loans = &loans});
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
	cr_expect_str_eq(planned("0000:01:00.0")->identity, "10de:2704 1458:3702");
	cr_expect_str_eq(planned("0000:01:00.1")->home_driver, "snd_hda_intel");
}

/* A's hook was killed after the unbind, and B gets the card before anybody has cleared up. */
Test(plan, a_card_left_half_way_by_another_loan_keeps_the_home_recorded_there)
{
	cleanup(loan_done) struct loan other = make_loan(
		&(struct loan_owner){.kind = LOAN_OWNER_VM, .vmid = 105}, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &other, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	fake_function(handover.fake, "0000:01:00.0")->driver[0] = '\0';
	strcpy(fake_function(handover.fake, "0000:01:00.0")->override, "vfio-pci");
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
	cr_expect_str_eq(planned("0000:01:00.0")->driver_override, "");
	cr_expect_eq(planned("0000:01:00.0")->use, LOAN_TAKEN);
}

/* vfio-pci has left "on" behind, and A's return came no further than that. */
Test(plan, a_card_half_way_home_keeps_the_setting_recorded_before)
{
	cleanup(loan_done) struct loan other = make_loan(
		&(struct loan_owner){.kind = LOAN_OWNER_VM, .vmid = 105}, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &other, .count = 1};
	const struct plan_want one = want("0000:01:00.0");
	struct step kept = {.operation = "keep",
		.subject = "0000:01:00.0",
		.argument = "power/control",
		.original = "auto",
		.state = STEP_DONE};
	unsigned int found = 0;

	cr_assert_not_null(steps_add(&other.steps, &kept));
	fake_add_power(handover.fake, "0000:01:00.0");
	strcpy(fake_function(handover.fake, "0000:01:00.0")->control, "on");
	fake_function(handover.fake, "0000:01:00.0")->driver[0] = '\0';
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	for (size_t i = 0; i < plan.steps.count; i++) {
		if (strcmp(plan.steps.items[i].operation, "keep") == 0) {
			cr_expect_str_eq(plan.steps.items[i].original, "auto");
			found++;
		}
	}
	cr_expect_eq(found, 1u);
}

/* Proxmox bound it itself for a start that failed: only another VM's loan knows where it came from.
 */
Test(plan, what_proxmox_left_on_vfio_pci_is_adopted_with_the_home_of_the_loan_that_knew_it)
{
	cleanup(loan_done) struct loan other =
		make_loan(&(struct loan_owner){.kind = LOAN_OWNER_VM, .vmid = 105}, "0000:01:00",
			LOAN_ALTERNATIVE);
	const struct loans loans = {.items = &other, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	put_on_vfio("0000:01:00");
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	expect_clear();
	cr_expect_eq(planned("0000:01:00.0")->use, LOAN_TAKEN);
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
	cr_assert_eq(plan.steps.count, 12u, "three functions, each with the id that Proxmox added");
	cr_expect_str_eq(plan.steps.items[3].operation, "id");
	cr_expect_str_eq(plan.steps.items[3].argument, "10de 22bb");
	for (size_t i = 0; i < plan.steps.count; i++)
		cr_expect_eq(plan.steps.items[i].state, STEP_DONE);
}

/* An alternative's record is old news once the function is on a driver of the host. */
Test(plan, an_alternative_that_has_another_driver_by_now_goes_home_to_that)
{
	cleanup(loan_done) struct loan other =
		make_loan(&(struct loan_owner){.kind = LOAN_OWNER_VM, .vmid = 105}, "0000:01:00",
			LOAN_ALTERNATIVE);
	const struct loans loans = {.items = &other, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	strcpy(other.functions[0].home_driver, "nvidia");
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	cr_expect_str_eq(planned("0000:01:00.0")->home_driver, "nouveau");
}

Test(plan, a_function_lent_to_one_driver_is_not_lent_to_another_as_well)
{
	cleanup(loan_done) struct loan own = make_loan(&by_hand, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &own, .count = 1};
	struct plan_want one = want("0000:01:00.0");

	put_on_vfio("0000:01:00");
	strcpy(one.target, "xhci_hcd");
	make((struct plan_request){.wants = &one, .want_count = 1, .own = &own, .loans = &loans});
	cr_assert_eq(plan.blocker_count, 3u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_RESERVED);
	cr_expect_not_null(strstr(plan.blockers[0].message, "0000:01:00.0"));
}

Test(plan, functions_lent_by_hand_are_borrowed)
{
	cleanup(loan_done) struct loan hand = make_loan(&by_hand, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &hand, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	put_on_vfio("0000:01:00");
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	expect_clear();
	expect_steps("");
	for (size_t i = 0; i < plan.function_count; i++)
		cr_expect_eq(plan.functions[i].loan.use, LOAN_BORROWED);
}

Test(plan, an_overdue_function_is_not_looked_at_and_refused)
{
	cleanup(loan_done) struct loan other = make_loan(
		&(struct loan_owner){.kind = LOAN_OWNER_VM, .vmid = 105}, "0000:01:00", LOAN_TAKEN);
	const struct loans loans = {.items = &other, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	other.state = LOAN_OVERDUE;
	cr_assert_not_null(steps_add(&other.steps,
		&(struct step){.operation = "unbind",
			.subject = "0000:01:00.2",
			.state = STEP_STUCK,
			.child = 77}));
	/* on Linux 6.1 reading its driver_override would hang */
	handover.fake->linux_6_1 = true;
	fake_function(handover.fake, "0000:01:00.2")->locked = true;
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	expect_blocker(BLOCKER_OVERDUE, "0000:01:00.2");
	for (size_t i = 0; i < plan.steps.count; i++)
		cr_expect_str_not_empty(plan.steps.items[i].subject);
}

/* ---- alternatives */

Test(plan, alternatives_are_recorded_and_not_moved)
{
	struct plan_want wants[] = {want("0000:01:00.0"), want("0000:02:00.0")};

	wants[1].alternative = true;
	make((struct plan_request){.wants = wants, .want_count = COUNT(wants)});
	expect_clear();
	expect_steps(CARD_STEPS);
	cr_expect_eq(planned("0000:02:00.0")->use, LOAN_ALTERNATIVE);
	cr_expect_str_eq(planned("0000:02:00.0")->home_driver, "nouveau");
	cr_expect_eq(planned("0000:02:00.1")->use, LOAN_ALTERNATIVE);
}

/* Proxmox takes the chosen one's whole group, the other choice with it. Off: it is only recorded
 * now, and Proxmox's new_id moves it, the twins of its id included. */
Test(plan, an_alternative_in_the_chosen_ones_group_goes_with_it)
{
	struct plan_want wants[] = {want("0000:01:00.0"), want("0000:02:00.0")};

	for (unsigned int i = 0; i < handover.fake->function_count; i++) {
		if (handover.fake->functions[i].group == 16)
			handover.fake->functions[i].group = 15;
	}
	wants[1].alternative = true;
	make((struct plan_request){.wants = wants, .want_count = COUNT(wants)});
	cr_expect(plan.blocker_count || planned("0000:02:00.0")->use == LOAN_TAKEN);
}

Test(plan, every_blocker_code_has_its_name)
{
	cr_expect_str_eq(blocker_name(BLOCKER_NO_IOMMU), "no_iommu");
	cr_expect_str_eq(blocker_name(BLOCKER_FOREIGN_MEMBER), "foreign_member");
	cr_expect_str_eq(blocker_name(BLOCKER_CONFIG), "config");
	cr_expect_str_eq(blocker_name(BLOCKER_NO_ATTRIBUTE), "config");
	cr_expect_str_eq(blocker_name(BLOCKER_HELD), "held");
	cr_expect_str_eq(blocker_name(BLOCKER_HOST_USE), "held");
}

/* Whatever cannot be read: a plan that takes less than it was asked for must say so. */
Test(plan, no_failed_read_makes_a_plan_that_would_lose_a_home_driver)
{
	const struct plan_want one = want("0000:01:00.0");
	const char *const homes[] = {"nouveau", "snd_hda_intel", "xhci_hcd"};

	for (unsigned int at = 1; at < 400; at++) {
		const struct plan_request request = {.host = &host, .wants = &one, .want_count = 1};

		plan_done(&plan);
		pci_functions_done(&host);
		fake_restart(handover.fake);
		handover.fake->event =
			(struct fake_event){.kind = FAKE_FAIL, .at = at, .status = -EIO};
		if (pci_scan(&handover.kernel, &host, NULL) < 0 ||
			plan_make(&handover.kernel, &request, &plan, NULL) < 0)
			continue;
		if (handover.fake->operations < at)
			break;
		for (size_t i = 0; i < plan.function_count && !plan.blocker_count; i++) {
			const struct plan_function *function = &plan.functions[i];

			cr_expect_str_eq(function->loan.home_driver,
				homes[function->now.address[11] - '0'],
				"operation %u: %s goes home to '%s'", at, function->now.address,
				function->loan.home_driver);
		}
	}
}

/* As take_locked does with the card of a VM that is gone: first into our loan, then recorded. */
Test(plan, a_function_that_came_straight_from_another_loan_is_still_to_go_home)
{
	const struct loan_owner other = {.kind = LOAN_OWNER_VM, .vmid = 105};
	cleanup(loan_done) struct loan from = make_loan(&other, "0000:01:00", LOAN_TAKEN);
	cleanup(loan_done) struct loan own = {0};
	const struct loans loans = {.items = &from, .count = 1};
	const struct plan_want one = want("0000:01:00.0");

	add_binds(&from);
	put_on_vfio("0000:01:00");
	make((struct plan_request){.wants = &one, .want_count = 1, .loans = &loans});
	expect_steps("");
	loan_init(&own, VM_104);
	cr_assert_eq(loan_move_function(&from, &own, "0000:01:00.0"), 0);
	cr_assert_eq(plan_record(&plan, &own), 0);
	cr_assert_not_null(loan_find(&own, "0000:01:00.0"));
	cr_expect_eq(loan_find(&own, "0000:01:00.0")->use, LOAN_TAKEN);
	cr_expect_str_eq(loan_find(&own, "0000:01:00.0")->home_driver, "nouveau");
}

/* ---- what is known of the functions */

Test(plan, what_is_known_of_a_function_is_told_and_its_driver_gets_more_time)
{
	const struct plan_want one = want("0000:01:00.0");
	const struct plan_quirk quirks[] = {
		{.address = "0000:01:00.0", .name = "n", .source = "s", .notice = "so it is"},
		{.address = "0000:01:00.0",
			.name = "w",
			.source = "s",
			.warning = "hangs",
			.fix = "f"},
		{.address = "0000:01:00.2", .name = "a", .source = "s", .deadline_ms = 240000},
		{.address = "0000:01:00.2", .name = "b", .source = "s", .deadline_ms = 60000},
		{.address = "0000:02:00.0", .name = "o", .source = "s", .blocker = "another card"},
	};
	cleanup(loan_done) struct loan loan = {0};

	make((struct plan_request){
		.wants = &one, .want_count = 1, .quirks = quirks, .quirk_count = COUNT(quirks)});
	cr_expect_eq(plan.blocker_count, 0u);
	cr_assert_geq(plan.notice_count, 2u);
	cr_expect_str_eq(plan.notices[0].message, "0000:01:00.0: so it is (n, s)");
	cr_expect_not(plan.notices[0].is_warning);
	cr_expect_str_eq(plan.notices[1].message, "0000:01:00.0: hangs; fix: f (w, s)");
	cr_expect(plan.notices[1].is_warning);
	loan_init(&loan, VM_104);
	cr_assert_eq(plan_record(&plan, &loan), 0);
	cr_expect_eq(loan_find(&loan, "0000:01:00.2")->slow_deadline_ms, 240000u);
	cr_expect_eq(loan_find(&loan, "0000:01:00.0")->slow_deadline_ms, 0u);
}

Test(plan, what_is_known_to_fail_is_a_blocker_until_the_function_has_moved)
{
	const struct plan_want one = want("0000:01:00.0");
	const struct plan_quirk quirk = {
		.address = "0000:01:00.0", .name = "n", .source = "s", .blocker = "it hangs"};
	const struct plan_request request = {
		.wants = &one, .want_count = 1, .quirks = &quirk, .quirk_count = 1};

	make(request);
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_QUIRK);
	cr_expect_str_eq(plan.blockers[0].message, "0000:01:00.0: it hangs (n, s)");
	strcpy(fake_function(handover.fake, "0000:01:00.0")->driver, "vfio-pci");
	make(request);
	cr_expect_eq(plan.blocker_count, 0u);
}
