/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/return.h"
#include "hooks/ferry/stop_step.h"
#include "hooks/ferry/story.h"
#include "hooks/ferry/take.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/loan/lock.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct handover handover;
static struct context context;
static struct kernel_ops ops;
static struct settings settings;
static struct pci_functions host;
static struct plan plan;

static const struct plan_want wants[] = {
	{.address = "0000:01:00.0", .target = "vfio-pci"},
	{.address = "0000:01:00.1", .target = "vfio-pci"},
	{.address = "0000:01:00.2", .target = "vfio-pci"},
};
static struct take_request request = {
	.owner = {.kind = LOAN_OWNER_VM, .vmid = 105},
	.host = &host,
	.wants = wants,
	.want_count = COUNT(wants),
	.settings = &settings,
};

static void init(void)
{
	handover_init(&handover);
	context.kernel = handover.kernel;
	ops = *handover.kernel.ops;
	context.kernel.ops = &ops;
	cr_assert_eq(settings_parse("", SETTINGS_PATH, 0, &settings, NULL), 0);
}

static void done(void)
{
	plan_done(&plan);
	pci_functions_done(&host);
	settings_done(&settings);
	handover_done(&handover);
}

TestSuite(take, .init = init, .fini = done);

static void scan(void)
{
	cr_assert_eq(pci_scan(&context.kernel, &host, NULL), 0);
}

static void put_on_vfio(void)
{
	fake_driver(handover.fake, "vfio-pci")->registered = true;
	for (size_t i = 0; i < COUNT(wants); i++)
		strcpy(fake_function(handover.fake, wants[i].address)->driver, "vfio-pci");
}

static void put_home(void)
{
	static const char *const homes[] = {"nouveau", "snd_hda_intel", "xhci_hcd"};

	for (size_t i = 0; i < COUNT(wants); i++)
		strcpy(fake_function(handover.fake, wants[i].address)->driver, homes[i]);
}

/* VM 104's loan, as it stands in the folder of loans. */
static void write_loan(enum loan_state state)
{
	cleanup(loan_done) struct loan loan = {0};

	handover_plan(&handover, &loan);
	loan.state = state;
	for (size_t i = 0; i < loan.steps.count; i++)
		loan.steps.items[i].state = STEP_DONE;
	cr_assert_eq(loan_write(&context.kernel.root, &loan, NULL), 0);
}

static void expect_driver(const char *address, const char *driver)
{
	cr_expect_str_eq(fake_function(handover.fake, address)->driver, driver, "%s is on %s",
		address, fake_function(handover.fake, address)->driver);
}

/* The return ended between the scan, which the config's devices were resolved with, and the locks.
 */
Test(take, the_plan_is_made_from_what_is_there_under_the_locks)
{
	cleanup(loan_done) struct loan loan = {0};
	struct error error = {0};

	strcpy(handover.fake->vfio_options, "ids=10de:2704,10de:22bb,10de:1ada");
	put_on_vfio();
	scan();
	put_home();
	cr_assert_eq(take_run(&context, &request, &error), 0, "%s", error.message);
	for (size_t i = 0; i < COUNT(wants); i++)
		expect_driver(wants[i].address, "vfio-pci");
	cr_assert_eq(loan_read(&context.kernel.root, &request.owner, &loan, &error), 0);
	cr_expect_eq(loan.state, LOAN_LENT);
	cr_expect_eq(loan_find(&loan, "0000:01:00.1")->use, LOAN_TAKEN);
	cr_expect_str_eq(loan_find(&loan, "0000:01:00.1")->home_driver, "snd_hda_intel");
}

static int (*real_write)(void *fake, const char *path, const char *value);

/* When the display, the last one, comes to vfio-pci, another program takes the sound away. */
static int write_and_meddle(void *fake, const char *path, const char *value)
{
	int r = real_write(fake, path, value);

	if (strcmp(value, "0000:01:00.0") == 0 &&
		strcmp(fake_function(fake, value)->driver, "vfio-pci") == 0)
		strcpy(fake_function(fake, "0000:01:00.1")->driver, "snd_hda_intel");
	return r;
}

Test(take, a_function_that_is_not_on_its_target_at_the_end_is_a_failure)
{
	cleanup(loan_done) struct loan loan = {0};
	struct error error = {0};

	real_write = ops.write;
	ops.write = write_and_meddle;
	cr_expect_eq(take_run(&context, &request, &error), -EIO);
	cr_expect_str_eq(error.message,
		"0000:01:00.1 is on snd_hda_intel now, not on vfio-pci: another program moved it; "
		"try again");
	handover_expect_home(&handover, "after the failure");
	cr_expect_eq(loan_read(&context.kernel.root, &request.owner, &loan, NULL), -ENOENT);
}

static int lock_config(void)
{
	char path[128];
	int fd;

	scratch_write(&handover.scratch, "var/lock/qemu-server/lock-104.conf", "");
	snprintf(
		path, sizeof(path), "%s/var/lock/qemu-server/lock-104.conf", handover.scratch.path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(flock(fd, LOCK_EX), 0);
	return fd;
}

static void make_plan(void)
{
	cleanup(loans_done) struct loans loans = {0};
	struct error error = {0};

	plan_done(&plan);
	pci_functions_done(&host);
	scan();
	cr_assert_eq(loans_read(&context.kernel.root, &loans, &error), 0);
	cr_assert_eq(take_plan(&context, &request, &loans, &plan, &error), 0, "%s", error.message);
}

/* Its child has ended, and the loan is still to be removed. */
Test(take, a_return_is_under_way_until_its_lock_is_free)
{
	auto_close int config = lock_config();
	auto_close int lock = -1;

	cr_assert_geq(config, 0);
	write_loan(LOAN_RETURNING);
	lock = lock_take(&context.kernel.root, "vm-104", 0, NULL);
	cr_assert_geq(lock, 0);
	make_plan();
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect(plan.is_returning, "%s", plan.blockers[0].message);
	/* killed: nobody returns it, and the VM is not gone */
	cleanup_close(&lock);
	lock = -1;
	make_plan();
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_not(plan.is_returning, "%s", plan.blockers[0].message);
}

/* Its QEMU has ended a moment ago, and Proxmox calls post-stop next: who starts now waits. While it
 * starts there is no QEMU either. */
Test(take, a_vm_that_stops_is_waited_for_and_one_that_starts_is_not)
{
	auto_close int config = lock_config();
	const struct loan_owner owner = {.kind = LOAN_OWNER_VM, .vmid = 104};

	cr_assert_geq(config, 0);
	write_loan(LOAN_LENT);
	make_plan();
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_not(plan.is_returning, "%s", plan.blockers[0].message);
	cr_assert_eq(loan_life_start(&context, &owner, NULL), 0);
	make_plan();
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect(plan.is_returning, "%s", plan.blockers[0].message);
}

/* Proxmox reserves a device before the VM's loan is written. */
Test(take, a_physical_function_stays_while_a_virtual_one_is_reserved)
{
	fake_add_function(handover.fake, "0000:01:00.4", 0x0300, 30, "");
	strcpy(fake_function(handover.fake, "0000:01:00.4")->parent, "0000:01:00.0");
	make_plan();
	cr_assert_eq(plan.blocker_count, 0u);
	scratch_write(&handover.scratch, "run/qemu-server/pci-id-reservations",
		"0000:01:00.4 106 time:99999999999\n");
	make_plan();
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_VFS);
	cr_expect_not_null(strstr(plan.blockers[0].message, "0000:01:00.4 (reserved by VM 106)"),
		"%s", plan.blockers[0].message);
}

static int (*real_list)(void *fake, const char *path, struct names *ret);

static int list_node(void *fake, const char *path, struct names *ret)
{
	return strcmp(path, "sys/dev/char") == 0 ? names_add(ret, "226:5")
						 : real_list(fake, path, ret);
}

static int node_of_virtual(void *fake, const char *path, char *buffer, size_t size)
{
	(void)fake, (void)path;
	snprintf(buffer, size, "../../devices/pci0000:00/0000:01:00.4/drm/card4");
	return 0;
}

Test(take, a_physical_function_stays_while_a_process_has_a_virtual_one_open)
{
	fake_add_function(handover.fake, "0000:01:00.4", 0x0300, 30, "");
	strcpy(fake_function(handover.fake, "0000:01:00.4")->parent, "0000:01:00.0");
	real_list = ops.list;
	ops.list = list_node;
	ops.target = node_of_virtual;
	handover_user = (struct handover_user){makedev(226, 5), 300};
	ops.devices_in_use = handover_devices_in_use;
	make_plan();
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_VFS);
	cr_expect_not_null(strstr(plan.blockers[0].message, "0000:01:00.4 (? (PID 300, card4))"),
		"%s", plan.blockers[0].message);
}

Test(take, a_gone_vms_card_that_is_still_open_does_not_go_over)
{
	put_on_vfio();
	write_loan(LOAN_LENT);
	put_on_vfio();
	make_plan();
	cr_expect_eq(plan.blocker_count, 0u);
	fake_add_file(handover.fake, "sys/class/vfio/15/dev", "243:0");
	handover_user = (struct handover_user){makedev(243, 0), 300};
	ops.devices_in_use = handover_devices_in_use;
	make_plan();
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_HELD);
	cr_expect_str_eq(plan.blockers[0].message,
		"0000:01:00.0 was lent to VM 104, which has ended, but its IOMMU group is still open: ? "
		"(PID 300, vfio/15): end that first");
}

/* VM 104 had stopped VM 105, which now takes the card itself: nobody starts it when it stops. */
Test(take, a_vm_that_made_room_and_takes_the_card_over_is_not_started_again)
{
	cleanup(loan_done) struct loan loan = {0};
	struct step steps[] = {
		stop_step_make(STOP_VM, "105", 60, ""), stop_step_make(STOP_VM, "106", 60, "")};
	struct error error = {0};

	put_on_vfio();
	handover_plan(&handover, &loan);
	loan.state = LOAN_LENT;
	for (size_t i = 0; i < COUNT(steps); i++)
		cr_assert_eq(stop_steps_add(&loan.steps, &steps[i]), 0);
	for (size_t i = 0; i < loan.steps.count; i++)
		loan.steps.items[i].state = STEP_DONE;
	cr_assert_eq(loan_write(&context.kernel.root, &loan, NULL), 0);
	put_on_vfio();
	scan();
	cr_assert_eq(take_run(&context, &request, &error), 0, "%s", error.message);
	loan_done(&loan);
	cr_assert_eq(loan_read(&context.kernel.root, &request.owner, &loan, &error), 0);
	cr_expect_eq(loan.function_count, COUNT(wants));
	cr_expect_eq(stop_steps_count(&loan.steps), 1u);
	cr_expect_str_eq(loan.steps.items[0].subject, "106");
}

/* What an earlier start has stopped, and owes, is not stopped again: it may run by now. */
Test(take, what_made_room_for_an_earlier_start_is_not_stopped_again)
{
	cleanup(loan_done) struct loan loan = {.owner = request.owner, .state = LOAN_OWED};
	struct step begun = stop_step_make(STOP_CONTAINER, "107", 60, "");
	struct step planned = stop_step_make(STOP_UNIT, "none.service", 60, "");
	struct error error = {0};

	begun.state = STEP_STARTED;
	cr_assert_eq(stop_steps_add(&loan.steps, &begun), 0);
	cr_assert_eq(stop_steps_add(&loan.steps, &planned), 0);
	cr_assert_eq(loan_write(&context.kernel.root, &loan, NULL), 0);
	scan();
	cr_assert_eq(take_run(&context, &request, &error), 0, "%s", error.message);
	loan_done(&loan);
	cr_assert_eq(loan_read(&context.kernel.root, &request.owner, &loan, &error), 0);
	cr_expect_eq(loan.function_count, COUNT(wants));
	cr_assert_eq(stop_steps_count(&loan.steps), 1u);
	cr_expect_str_eq(loan.steps.items[0].subject, "107");
	cr_expect_eq(loan.steps.items[0].state, STEP_DONE);
}

/* ---- a card that was lent by hand, and is in use */

#define GROUP_DEVICE makedev(240, 15)

static void plan_on_card_lent_by_hand(const char *cgroup)
{
	cleanup(loan_done) struct loan loan = {0};
	cleanup(loans_done) struct loans loans = {0};

	handover_plan(&handover, &loan);
	loan.owner = (struct loan_owner){.kind = LOAN_OWNER_HAND, .iommu_group = 15};
	loan.state = LOAN_LENT;
	cr_assert_eq(loan_write(&context.kernel.root, &loan, NULL), 0);
	put_on_vfio();
	scan();
	fake_add_file(handover.fake, "sys/class/vfio/15/dev", "240:15");
	fake_add_file(handover.fake, "proc/4242/comm", "dpdk-testpmd");
	scratch_write(&handover.scratch, "proc/4242/cgroup", cgroup);
	handover_user = (struct handover_user){GROUP_DEVICE, 4242};
	ops.devices_in_use = handover_devices_in_use;
	cr_assert_eq(loans_read(&context.kernel.root, &loans, NULL), 0);
	cr_assert_eq(take_plan(&context, &request, &loans, &plan, NULL), 0);
}

Test(take, a_card_lent_by_hand_that_another_program_uses_is_refused_by_name)
{
	plan_on_card_lent_by_hand("0::/user.slice\n");
	cr_assert_eq(plan.blocker_count, 1u);
	cr_expect_eq(plan.blockers[0].code, BLOCKER_HELD);
	cr_expect_str_eq(plan.blockers[0].message,
		"0000:01:00.0 is lent by hand and in use by dpdk-testpmd (PID 4242, vfio/15): end "
		"that first");
}

Test(take, a_card_lent_by_hand_that_the_vm_itself_uses_is_not_refused)
{
	plan_on_card_lent_by_hand("0::/qemu.slice/105.scope\n");
	cr_expect_eq(plan.blocker_count, 0u);
}

/* ---- driver=keep */

Test(take, with_driver_keep_the_driver_made_for_the_device_is_loaded_and_takes_it)
{
	static const struct plan_want kept[] = {
		{.address = "0000:01:00.0", .target = "vfio-pci", .keep = true},
		{.address = "0000:01:00.1", .target = "vfio-pci", .keep = true},
		{.address = "0000:01:00.2", .target = "vfio-pci", .keep = true},
	};
	struct take_request keeping = request;
	struct error error = {0};

	scratch_write(&handover.scratch, "lib/modules/6.17.4-1-pve/modules.alias",
		"alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n"
		"alias vfio_pci:v000010DEd*sv*sd*bc03sc*i* nvgrace_gpu_vfio_pci\n");
	fake_add_file(handover.fake, "proc/sys/kernel/osrelease", "6.17.4-1-pve");
	fake_add_driver(handover.fake, "nvgrace-gpu-vfio-pci", "nvgrace_gpu_vfio_pci")->registered =
		false;
	fake_module(handover.fake, "nvgrace_gpu_vfio_pci")->state = FAKE_LOADABLE;
	keeping.wants = kept;
	scan();
	cr_assert_eq(take_run(&context, &keeping, &error), 0, "%s", error.message);
	expect_driver("0000:01:00.0", "nvgrace-gpu-vfio-pci");
	expect_driver("0000:01:00.1", "vfio-pci");
	expect_driver("0000:01:00.2", "vfio-pci");
	cr_assert_eq(return_loan(&context, &keeping.owner, &error), 0, "%s", error.message);
	handover_expect_home(&handover, "after the return");
}

/* ---- what the task log says */

static char story[4096];

static void tell_story(void *data, const struct log_entry *entry)
{
	size_t used = strlen(story);

	(void)data;
	if (entry->priority <= LOG_INFO)
		snprintf(story + used, sizeof(story) - used, "%s\n", entry->text);
}

static size_t count_lines(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

Test(take, start_and_return_end_with_one_sentence)
{
	struct error error = {0};

	context.log = (struct log){.write = tell_story};
	scan();
	cr_assert_eq(take_run(&context, &request, &error), 0, "%s", error.message);
	cr_expect_null(strstr(story, "bind"), "%s", story);
	cr_expect(strstr(story, "VM 105 has 0000:01:00, 3 functions, 0."), "%s", story);
	story[0] = '\0';
	cr_assert_eq(return_loan(&context, &request.owner, &error), 0, "%s", error.message);
	cr_expect_eq(count_lines(story), 1u, "%s", story);
	cr_expect(strstr(story, "0000:01:00 is home, 3 functions, 0."), "%s", story);
}

Test(take, many_cards_are_told_in_few_lines)
{
	struct loan_function functions[10] = {0};
	struct loan loan = {
		.owner = request.owner, .functions = functions, .function_count = COUNT(functions)};

	for (unsigned int i = 0; i < COUNT(functions); i++) {
		functions[i].use = LOAN_TAKEN;
		snprintf(functions[i].address, sizeof(functions[i].address), "0000:%02x:00.0",
			0x81 + i);
	}
	context.log = (struct log){.write = tell_story};
	story_tell_lent(&context, &loan, clock_milliseconds() - 1234);
	cr_expect_eq(count_lines(story), 9u, "%s", story);
	cr_expect(strstr(story, "VM 105 has 0000:81:00.0, 1.2 s\n"), "%s", story);
	cr_expect(strstr(story, "VM 105 has 2 more cards\n"), "%s", story);
}
