/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/operation/binding.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define DEVICE(function) "sys/bus/pci/devices/0000:01:00." function
#define DRIVER(name) "sys/bus/pci/drivers/" name
#define TAKEN(function, home)                                                                      \
	DEVICE(function)                                                                           \
	"/driver_override = vfio-pci\n" DRIVER(home) "/unbind = 0000:01:00." function "\n" DRIVER( \
		"vfio-pci") "/bind = 0000:01:00." function "\n"
#define RETURNED(function, home)                                                                   \
	DRIVER("vfio-pci")                                                                         \
	"/unbind = 0000:01:00." function                                                           \
	"\n" DEVICE(function) "/driver_override = " home                                           \
			      "\n" DRIVER(home) "/bind = 0000:01:00." function                     \
						"\n" DEVICE(function) "/driver_override = \\n\n"

/* More than any handover or return has: a sweep that gets here has not found its end. */
#define SWEEP_MAX 400u

static struct handover handover;
static struct loan loan;

static void init(void)
{
	/* criterion's own .timeout leaks its timer, which the leak sanitizer tells */
	alarm(120);
	handover_init(&handover);
	handover_plan(&handover, &loan);
}

static void done(void)
{
	loan_done(&loan);
	handover_done(&handover);
}

TestSuite(executor, .init = init, .fini = done);

static void begin_anew(void)
{
	done();
	init();
}

static int apply(void)
{
	struct error error = {0};
	int r = executor_apply(&handover.executor, &loan, &error);

	if (r < 0)
		cr_expect_str_not_empty(error.message, "an error of %d without a word", r);
	return r;
}

static void apply_all(void)
{
	struct error error = {0};

	cr_assert_eq(executor_apply(&handover.executor, &loan, &error), 0, "%s", error.message);
}

/* Undoes the loan and expects everything to be as before the handover. */
static void expect_undone(const char *when)
{
	fake_restart(handover.fake);
	handover_undo_twice(&handover, &loan, when);
	handover_expect_home(&handover, when);
}

static void expect_undone_from_file(const char *when);

static const char *driver_of(const char *address)
{
	return fake_function(handover.fake, address)->driver;
}

static void read_loan_again(void)
{
	struct error error = {0};

	loan_done(&loan);
	cr_assert_eq(
		loan_read(&handover.scratch.root, VM_104, &loan, &error), 0, "%s", error.message);
}

/* What loan_read does on a live root once /proc says that the children have ended. */
static void mark_returned(void)
{
	loan.state = LOAN_OWED;
	for (size_t i = 0; i < loan.steps.count; i++) {
		if (loan.steps.items[i].state == STEP_STUCK)
			loan.steps.items[i].state = STEP_STARTED;
	}
}

Test(executor, takes_consumers_first_and_the_display_last_by_override_alone)
{
	apply_all();
	cr_expect_str_eq(handover.fake->writes,
		"module = vfio_pci\n" TAKEN("1", "snd_hda_intel") TAKEN("2", "xhci_hcd")
			TAKEN("0", "nouveau"));
	cr_expect_str_eq(driver_of("0000:01:00.0"), "vfio-pci");
	cr_expect_str_eq(driver_of("0000:01:00.1"), "vfio-pci");
	cr_expect_str_eq(driver_of("0000:01:00.2"), "vfio-pci");
	cr_expect_eq(loan.child, 0);
}

Test(executor, undo_gives_the_display_back_first_and_clears_overrides_with_a_newline)
{
	apply_all();
	fake_restart(handover.fake);
	cr_assert_eq(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_expect_str_eq(handover.fake->writes,
		RETURNED("0", "nouveau") RETURNED("2", "xhci_hcd") RETURNED("1", "snd_hda_intel"));
	handover_expect_home(&handover, "after the undo");
}

static void count_unbinds(void *data, const struct log_entry *entry)
{
	unsigned int *count = data;

	*count += strncmp(entry->text, "unbind ", strlen("unbind ")) == 0;
}

/* Its last return failed: the driver did not take it back. */
Test(executor, does_not_say_that_it_unbinds_what_has_no_driver)
{
	unsigned int count = 0;
	const struct log log = {.write = count_unbinds, .context = &count};

	handover.executor.log = &log;
	fake_function(handover.fake, "0000:01:00.0")->driver[0] = '\0';
	apply_all();
	cr_expect_str_eq(driver_of("0000:01:00.0"), "vfio-pci");
	cr_expect_eq(count, 2u);
	expect_undone("after a start without a driver");
}

Test(executor, leaves_the_twin_card_and_the_nic_alone)
{
	apply_all();
	cr_expect_str_eq(driver_of("0000:02:00.0"), "nouveau");
	cr_expect_str_eq(driver_of("0000:02:00.1"), "snd_hda_intel");
	cr_expect_str_eq(driver_of("0000:02:00.2"), "xhci_hcd");
	cr_expect_str_eq(driver_of("0000:03:00.0"), "e1000e");
	cr_expect_null(strstr(handover.fake->writes, "0000:02:00"));
	cr_expect_null(strstr(handover.fake->writes, "new_id"));
}

Test(executor, an_unbound_twin_is_not_caught_by_the_handover_or_the_return)
{
	fake_function(handover.fake, "0000:02:00.0")->driver[0] = '\0';
	apply_all();
	cr_expect_str_eq(driver_of("0000:02:00.0"), "");
	cr_assert_eq(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_expect_str_eq(driver_of("0000:02:00.0"), "");
}

Test(executor, undo_puts_a_foreign_override_back)
{
	loan_done(&loan);
	strcpy(fake_function(handover.fake, "0000:01:00.1")->override, "snd_hda_intel");
	free(handover.before);
	handover.before = fake_describe(handover.fake);
	handover_plan(&handover, &loan);
	apply_all();
	cr_expect_str_eq(fake_function(handover.fake, "0000:01:00.1")->override, "vfio-pci");
	expect_undone("an override that was there before");
	cr_expect_str_eq(fake_function(handover.fake, "0000:01:00.1")->override, "snd_hda_intel");
}

Test(executor, a_function_without_a_driver_goes_home_to_none)
{
	loan_done(&loan);
	/* no driver of this host would take it by its id; with one that would, none is home all the
	 * same */
	fake_function(handover.fake, "0000:01:00.2")->driver[0] = '\0';
	free(handover.before);
	handover.before = fake_describe(handover.fake);
	handover_plan(&handover, &loan);
	apply_all();
	cr_expect_str_eq(driver_of("0000:01:00.2"), "vfio-pci");
	expect_undone("a home that is none");
}

Test(executor, brings_the_home_driver_back_when_its_module_was_unloaded)
{
	apply_all();
	fake_driver(handover.fake, "snd_hda_intel")->registered = false;
	fake_module(handover.fake, "snd_hda_intel")->state = FAKE_LOADABLE;
	expect_undone("the home driver's module was gone");
}

Test(executor, loan_says_each_step_while_it_is_taken)
{
	struct error error = {0};

	fake_driver(handover.fake, "vfio-pci")->probe_error = -EIO;
	cr_assert_lt(apply(), 0);
	read_loan_again();
	cr_expect_eq(loan.state, LOAN_TAKING);
	cr_expect_eq(loan.steps.items[0].state, STEP_DONE);
	cr_expect_eq(loan.steps.items[loan.steps.count - 1].state, STEP_PLANNED);
	cr_expect_eq(loan_find(&loan, "0000:01:00.0")->use, LOAN_TAKEN);
	cr_expect_str_eq(loan_find(&loan, "0000:01:00.0")->home_driver, "nouveau");
	cr_expect_str_eq(
		loan_find(&loan, "0000:01:00.0")->home_module, "nouveau", "%s", error.message);
}

Test(executor, unknown_operation_changes_nothing)
{
	struct step step = {.operation = "conjure", .subject = "0000:01:00.0"};
	struct error error = {0};

	cr_assert_not_null(steps_add(&loan.steps, &step));
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -ENOSYS);
	cr_expect_not_null(strstr(error.message, "conjure"));
	cr_expect_str_eq(handover.fake->writes, "");
}

Test(executor, an_unknown_step_of_a_newer_version_is_kept_and_the_others_undone)
{
	struct step step = {.operation = "conjure", .subject = "the rabbit", .state = STEP_DONE};

	apply_all();
	cr_assert_not_null(steps_add(&loan.steps, &step));
	fake_restart(handover.fake);
	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, NULL), -ENOSYS);
	cr_expect_eq(loan.steps.count, 1u);
	cr_expect_str_eq(loan.steps.items[0].operation, "conjure");
	handover_expect_home(&handover, "with an unknown step");
}

Test(executor, undo_of_one_address_leaves_the_others_lent)
{
	apply_all();
	cr_assert_eq(executor_undo(&handover.executor, &loan, "0000:01:00.1", NULL), 0);
	cr_expect_str_eq(driver_of("0000:01:00.1"), "snd_hda_intel");
	cr_expect_str_eq(driver_of("0000:01:00.0"), "vfio-pci");
	cr_expect_str_eq(driver_of("0000:01:00.2"), "vfio-pci");
}

/* What made room runs again only when all is home: its steps are the first ones. */
Test(executor, undo_behind_a_limit_leaves_the_first_steps)
{
	struct error error = {0};
	size_t all;

	apply_all();
	all = loan.steps.count;
	handover.executor.limit = all;
	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, &error), 0);
	cr_expect_eq(loan.steps.count, all);
	handover.executor.limit = 2;
	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, &error), 0);
	cr_expect_eq(loan.steps.count, 2u);
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
	handover.executor.limit = 0;
	expect_undone("with the rest");
}

Test(executor, undo_does_not_tear_off_a_driver_that_is_not_ours)
{
	apply_all();
	strcpy(fake_function(handover.fake, "0000:01:00.1")->driver, "pci-stub");
	cr_expect_lt(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_expect_str_eq(driver_of("0000:01:00.1"), "pci-stub");
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
	cr_expect_str_eq(driver_of("0000:01:00.2"), "xhci_hcd");
	cr_expect_gt(loan.steps.count, 0u);
}

Test(executor, a_failing_probe_names_driver_and_device_and_is_undone)
{
	struct error error = {0};

	fake_driver(handover.fake, "vfio-pci")->probe_error = -ENOTTY;
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -ENOTTY);
	cr_expect_not_null(strstr(error.message, "0000:01:00.1"), "%s", error.message);
	cr_expect_not_null(strstr(error.message, "vfio-pci"), "%s", error.message);
	fake_driver(handover.fake, "vfio-pci")->probe_error = 0;
	expect_undone("the probe failed");
}

/* amdgpu's probe does that: it is an answer, not a deadline. */
Test(executor, a_probe_that_answers_with_etimedout_is_not_overdue)
{
	fake_driver(handover.fake, "vfio-pci")->probe_error = -ETIMEDOUT;
	cr_expect_lt(apply(), 0);
	cr_expect_eq(loan.state, LOAN_TAKING);
	cr_expect_eq(loan.child, 0);
	fake_driver(handover.fake, "vfio-pci")->probe_error = 0;
	expect_undone("the probe timed out by itself");
}

Test(executor, a_home_driver_that_fails_to_probe_is_owed_and_tried_again)
{
	struct error error = {0};

	apply_all();
	fake_driver(handover.fake, "nouveau")->probe_error = -ENOMEM;
	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, &error), -ENOMEM);
	cr_expect_not_null(strstr(error.message, "nouveau"), "%s", error.message);
	cr_expect_str_eq(driver_of("0000:01:00.1"), "snd_hda_intel");
	cr_expect_str_eq(driver_of("0000:01:00.2"), "xhci_hcd");
	for (size_t i = 0; i < loan.steps.count; i++)
		cr_expect(strcmp(loan.steps.items[i].subject, "0000:01:00.0") == 0 ||
			strcmp(loan.steps.items[i].operation, "load") == 0);
	fake_driver(handover.fake, "nouveau")->probe_error = 0;
	expect_undone("the home driver works again");
}

/* ---- every operation fails once */

Test(executor, whatever_operation_of_the_handover_fails_undo_brings_all_home)
{
	unsigned int at, failures = 0;
	char when[64];

	for (at = 1; at < SWEEP_MAX; at++) {
		unsigned int ran;

		handover.fake->event =
			(struct fake_event){.kind = FAKE_FAIL, .at = at, .status = -EIO};
		failures += apply() < 0;
		ran = handover.fake->operations;
		snprintf(when, sizeof(when), "operation %u failed", at);
		expect_undone(when);
		if (ran < at)
			break;
		begin_anew();
	}
	cr_expect_gt(at, 30u, "the sweep had %u operations only", at);
	cr_expect_lt(at, SWEEP_MAX);
	cr_expect_gt(failures, 20u);
}

Test(executor, whatever_operation_of_the_return_fails_the_next_return_brings_all_home)
{
	unsigned int at;
	char when[64];

	for (at = 1; at < SWEEP_MAX; at++) {
		unsigned int ran;
		int r;

		apply_all();
		fake_restart(handover.fake);
		handover.fake->event =
			(struct fake_event){.kind = FAKE_FAIL, .at = at, .status = -EIO};
		r = executor_undo(&handover.executor, &loan, NULL, NULL);
		ran = handover.fake->operations;
		snprintf(when, sizeof(when), "operation %u of the return failed", at);
		cr_expect(r < 0 || loan.steps.count == 0, "%s: nobody said so", when);
		expect_undone(when);
		if (ran < at)
			break;
		begin_anew();
	}
	cr_expect_gt(at, 30u, "the sweep had %u operations only", at);
	cr_expect_lt(at, SWEEP_MAX);
}

/* ---- the disk of the loans is full, or read-only */

static void disk_fills(bool full)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 0 : limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void count_warnings(void *context, const struct log_entry *entry)
{
	*(unsigned int *)context += entry->priority <= LOG_WARNING;
}

/* The undo as the hook does it: nothing of it is written down. */
static void expect_undone_unrecorded(const char *when)
{
	unsigned int warnings = 0;
	struct log log = {.write = count_warnings, .context = &warnings};
	bool is_moved = loan.steps.items[0].state != STEP_PLANNED;
	struct error error = {0};

	fake_restart(handover.fake);
	handover.executor.log = &log;
	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, &error), 0, "%s: %s", when,
		error.message);
	handover.executor.log = NULL;
	cr_expect_eq(loan.steps.count, 0u, "%s: %zu steps are left", when, loan.steps.count);
	cr_expect_leq(warnings, 1u, "%s: %u warnings", when, warnings);
	cr_expect(warnings == 1 || !is_moved, "%s: nobody said so", when);
	handover_expect_home(&handover, when);
}

Test(executor, when_the_disk_fills_up_at_any_step_nothing_more_is_taken_and_all_goes_home)
{
	unsigned int at, failures = 0;
	char when[64];

	for (at = 1; at < SWEEP_MAX; at++) {
		unsigned int ran;
		int r;

		handover.fake->event =
			(struct fake_event){.kind = FAKE_DISK_FULL, .at = at, .pid = getpid()};
		signal(SIGXFSZ, SIG_IGN);
		r = apply();
		ran = handover.fake->operations;
		failures += r < 0;
		snprintf(when, sizeof(when), "the disk was full at operation %u", at);
		disk_fills(true);
		expect_undone_unrecorded(when);
		disk_fills(false);
		/* what a process finds that comes later */
		expect_undone_from_file(when);
		if (ran < at)
			break;
		cr_expect_lt(r, 0, "%s: it went on", when);
		begin_anew();
	}
	cr_expect_gt(at, 30u, "the sweep had %u operations only", at);
	cr_expect_lt(at, SWEEP_MAX);
	cr_expect_gt(failures, 20u);
}

Test(executor, what_is_on_a_full_disk_from_the_start_is_not_taken)
{
	struct error error = {0};

	disk_fills(true);
	cr_expect_lt(executor_apply(&handover.executor, &loan, &error), 0);
	disk_fills(false);
	cr_expect(strstr(error.message, "record the loan"), "%s", error.message);
	cr_expect_str_eq(handover.fake->writes, "");
}

/* ---- the caller dies at every operation */

/* Runs @work in a caller that @event meets, and waits for what it leaves behind. */
static unsigned int run_caller(int (*work)(void), enum fake_event_kind kind, unsigned int at)
{
	unsigned int ran;
	pid_t pid;

	fake_restart(handover.fake);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		handover.fake->event = (struct fake_event){.kind = kind, .at = at, .pid = getpid()};
		_exit(work() < 0);
	}
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	handover_await_orphans();
	ran = handover.fake->operations;
	fake_restart(handover.fake);
	return ran;
}

static int work_apply(void)
{
	return executor_apply(&handover.executor, &loan, NULL);
}

static int work_undo(void)
{
	return executor_undo(&handover.executor, &loan, NULL, NULL);
}

/* What the next process finds: the loan as the file has it, or no loan and nothing changed. */
static void expect_undone_from_file(const char *when)
{
	struct error error = {0};
	int r;

	loan_done(&loan);
	r = loan_read(&handover.scratch.root, VM_104, &loan, &error);
	if (r == -ENOENT) {
		loan_init(&loan, VM_104);
		handover_expect_home(&handover, when);
		return;
	}
	cr_assert_eq(r, 0, "%s: %s", when, error.message);
	expect_undone(when);
}

Test(executor, a_caller_killed_at_any_operation_of_the_handover_can_be_undone_from_its_loan)
{
	unsigned int at;
	char when[64];

	handover_adopt_orphans();
	for (at = 1; at < SWEEP_MAX; at++) {
		unsigned int ran = run_caller(work_apply, FAKE_KILL, at);

		snprintf(when, sizeof(when), "killed at operation %u", at);
		expect_undone_from_file(when);
		if (ran < at)
			break;
		cr_expect_eq(loan.child, 0);
		begin_anew();
	}
	cr_expect_gt(at, 30u);
	cr_expect_lt(at, SWEEP_MAX);
}

/* Both die at once: what Proxmox's KILL would do were the child in the caller's group, or the OOM
 * killer. */
static void sweep_child_deaths(enum fake_event_kind kind)
{
	unsigned int at;
	char when[64];

	for (at = 1; at < SWEEP_MAX; at++) {
		unsigned int ran = run_caller(work_apply, kind, at);

		snprintf(when, sizeof(when), "the child died at operation %u", at);
		expect_undone_from_file(when);
		if (ran < at)
			break;
		begin_anew();
	}
	cr_expect_gt(at, 30u);
	cr_expect_lt(at, SWEEP_MAX);
}

Test(executor, a_child_killed_before_any_operation_can_be_undone_from_the_loan)
{
	sweep_child_deaths(FAKE_KILL_SELF);
}

Test(executor, a_child_killed_after_any_operation_can_be_undone_from_the_loan)
{
	sweep_child_deaths(FAKE_KILL_AFTER);
}

Test(executor, a_return_killed_at_any_operation_can_be_finished_from_its_loan)
{
	unsigned int at;
	char when[64];

	handover_adopt_orphans();
	for (at = 1; at < SWEEP_MAX; at++) {
		unsigned int ran;

		apply_all();
		cr_assert_eq(loan_write(&handover.scratch.root, &loan, NULL), 0);
		ran = run_caller(work_undo, FAKE_KILL, at);
		snprintf(when, sizeof(when), "the return was killed at operation %u", at);
		/* the caller that was killed took steps off its own copy only */
		expect_undone_from_file(when);
		if (ran < at)
			break;
		begin_anew();
	}
	cr_expect_gt(at, 30u);
	cr_expect_lt(at, SWEEP_MAX);
}

static void die_at_entry(void *context, const struct log_entry *entry)
{
	unsigned int *left = context;

	(void)entry;
	if (--*left == 0)
		raise(SIGKILL);
}

/* Between a step and its record in the loan. */
Test(executor, a_caller_killed_before_it_records_a_step_can_be_undone)
{
	char when[64];

	for (unsigned int at = 1; at <= 10; at++) {
		unsigned int left = at;
		struct log log = {.write = die_at_entry, .context = &left};

		handover.executor.log = &log;
		run_caller(work_apply, FAKE_FAIL, 0);
		handover.executor.log = NULL;
		snprintf(when, sizeof(when), "killed when step %u was done", at);
		read_loan_again();
		cr_expect_eq(loan.steps.items[at - 1].state, STEP_STARTED, "%s", when);
		expect_undone(when);
		begin_anew();
	}
}

Test(executor, a_child_that_dies_is_an_error_and_the_caller_undoes_it)
{
	struct error error = {0};

	handover.fake->event = (struct fake_event){.kind = FAKE_KILL_SELF, .at = 12};
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -EPIPE);
	cr_expect_not_null(strstr(error.message, "ended unexpectedly"), "%s", error.message);
	expect_undone("the child died");
}

Test(executor, when_the_child_dies_in_a_return_the_other_functions_still_go_home)
{
	apply_all();
	fake_restart(handover.fake);
	/* the first five look whether the device is there */
	handover.fake->event = (struct fake_event){.kind = FAKE_KILL_SELF, .at = 8};
	cr_expect_lt(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_expect_str_eq(driver_of("0000:01:00.1"), "snd_hda_intel");
	cr_expect_str_eq(driver_of("0000:01:00.2"), "xhci_hcd");
	expect_undone("the child died in the return");
}

/* ---- what leaves the bus */

static const char *const card[] = {"0000:01:00.0", "0000:01:00.1", "0000:01:00.2"};

/* The card is removed, and comes back with the address and the ids that are given. */
static void replug(const char *slot, unsigned int device)
{
	struct fake_function before[3];

	for (size_t i = 0; i < 3; i++)
		before[i] = *fake_function(handover.fake, card[i]);
	fake_remove_card(handover.fake, "0000:01:00");
	for (size_t i = 0; i < 3; i++) {
		char address[PCI_ADDRESS_SIZE];

		snprintf(address, sizeof(address), "%s.%zu", slot, i);
		before[i].device = device ? device : before[i].device;
		fake_plug(handover.fake, &before[i], address);
	}
	fake_restart(handover.fake);
}

static void expect_ended(const char *when)
{
	struct error error = {0};

	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, &error), 0, "%s: %s", when,
		error.message);
	cr_expect_eq(loan.steps.count, 0u, "%s: %zu steps are left", when, loan.steps.count);
}

Test(executor, what_left_the_bus_owes_nothing_and_nothing_is_written)
{
	apply_all();
	fake_remove_card(handover.fake, "0000:01:00");
	fake_restart(handover.fake);
	expect_ended("the card is gone");
	cr_expect_str_empty(handover.fake->writes);
}

Test(executor, a_function_that_left_alone_does_not_keep_the_others)
{
	apply_all();
	fake_remove_card(handover.fake, "0000:01:00.1");
	expect_ended("the audio function is gone");
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
	cr_expect_str_eq(driver_of("0000:01:00.2"), "xhci_hcd");
}

Test(executor, another_device_at_the_same_address_is_left_alone)
{
	apply_all();
	replug("0000:01:00", 0x1e07);
	strcpy(fake_function(handover.fake, "0000:01:00.1")->driver, "vfio-pci");
	expect_ended("another card is there");
	cr_expect_str_empty(handover.fake->writes);
	cr_expect_str_eq(driver_of("0000:01:00.1"), "vfio-pci");
}

Test(executor, what_came_back_to_its_home_driver_is_at_home)
{
	apply_all();
	replug("0000:01:00", 0);
	expect_ended("it came back");
	for (size_t i = 0; i < 3; i++)
		cr_expect_str_empty(fake_function(handover.fake, card[i])->override);
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
}

/* driver_override went with the device: so the kernel chose, and not somebody against us. */
Test(executor, what_came_back_to_another_driver_stays_there)
{
	fake_add_driver(handover.fake, "nvidia", "nvidia");
	apply_all();
	replug("0000:01:00", 0);
	strcpy(fake_function(handover.fake, "0000:01:00.0")->driver, "nvidia");
	expect_ended("it came back to nvidia");
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nvidia");
}

Test(executor, the_id_that_proxmox_added_is_removed_also_when_the_device_has_left)
{
	const struct step step = {.operation = "id",
		.subject = "0000:01:00.0",
		.argument = "10de 2704",
		.state = STEP_DONE};

	apply_all();
	cr_assert_eq(kernel_write(&handover.kernel, DRIVER("vfio-pci/new_id"), "10de 2704"), 0);
	cr_assert_not_null(steps_add(&loan.steps, &step));
	fake_remove_card(handover.fake, "0000:01:00");
	expect_ended("the card is gone");
	cr_expect_eq(fake_driver(handover.fake, "vfio-pci")->new_id_count, 0u);
}

Test(executor, a_card_that_leaves_at_any_operation_of_the_return_owes_nothing)
{
	for (unsigned int at = 1; at < SWEEP_MAX; at++) {
		bool over;
		char when[32];

		apply_all();
		fake_restart(handover.fake);
		handover.fake->event =
			(struct fake_event){.kind = FAKE_REMOVE, .at = at, .slot = "0000:01:00"};
		snprintf(when, sizeof(when), "leaves at operation %u", at);
		expect_ended(when);
		over = handover.fake->operations < at;
		begin_anew();
		if (over)
			return;
	}
	cr_assert_fail("the return has no end");
}

Test(executor, a_card_that_leaves_at_any_operation_of_the_handover_is_told_and_owes_nothing)
{
	for (unsigned int at = 1; at < SWEEP_MAX; at++) {
		struct error error = {0};
		char when[32];
		int r;

		handover.fake->event =
			(struct fake_event){.kind = FAKE_REMOVE, .at = at, .slot = "0000:01:00"};
		snprintf(when, sizeof(when), "leaves at operation %u", at);
		r = executor_apply(&handover.executor, &loan, &error);
		if (handover.fake->operations < at)
			return;
		if (r < 0)
			cr_expect_str_eq(error.message + strlen(card[0]),
				" left the bus during the handover", "%s: %s", when, error.message);
		expect_ended(when);
		begin_anew();
	}
	cr_assert_fail("the handover has no end");
}

Test(executor, a_stuck_write_of_a_device_that_left_is_waited_for)
{
	struct error error = {0};

	apply_all();
	for (size_t i = 0; i < loan.steps.count; i++) {
		struct step *step = &loan.steps.items[i];

		if (strcmp(step->operation, "bind") == 0 && strcmp(step->subject, card[0]) == 0)
			loan_set_overdue(&loan, step);
	}
	fake_remove_card(handover.fake, "0000:01:00");
	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, &error), -EBUSY);
	cr_expect_not_null(loan_find_stuck(&loan, card[0]), "%s", error.message);
	mark_returned();
	expect_ended("its write came back");
}

/* ---- stop, slow, stuck */

Test(executor, a_stop_finishes_the_write_in_hand_and_no_more)
{
	unsigned int at;
	int r = 0;

	for (at = 1; at < SWEEP_MAX; at++) {
		handover.fake->event = (struct fake_event){.kind = FAKE_STOP, .at = at};
		r = apply();
		if (r == 0)
			break;
		cr_expect_eq(r, -EINTR);
		cr_expect_eq(loan.child, 0);
		expect_undone("stopped");
		begin_anew();
	}
	/* in the last step there is nothing left to stop */
	cr_expect_gt(at, 25u, "nothing stopped it from operation %u on", at);
	expect_undone("stopped when all was done");
}

Test(executor, a_stop_before_the_first_step_changes_nothing)
{
	handover.fake->stop = 1;
	cr_expect_eq(apply(), -EINTR);
	cr_expect_str_eq(handover.fake->writes, "");
}

Test(executor, a_slow_driver_within_its_deadline_is_waited_for)
{
	fake_driver(handover.fake, "nouveau")->remove_ms = 300;
	loan.write_deadline_ms = 5000;
	apply_all();
	expect_undone("a slow driver");
}

static void keep_of_nouveau(void *context, const struct log_entry *entry)
{
	char *kept = context;
	size_t length = strlen(kept);

	if (strstr(entry->text, "nouveau"))
		snprintf(kept + length, 1024 - length, "%.*s\n", (int)strcspn(entry->text, "("),
			entry->text);
}

Test(executor, a_step_that_takes_longer_than_a_second_is_told_while_it_runs)
{
	char kept[1024] = "";
	const struct log log = {.write = keep_of_nouveau, .context = kept};

	handover.executor.log = &log;
	fake_driver(handover.fake, "nouveau")->remove_ms = 1300;
	loan.write_deadline_ms = 15000;
	apply_all();
	cr_expect_str_eq(kept,
		"unbind 0000:01:00.0 from nouveau: still running after 1 s, deadline 15 s\n"
		"unbind 0000:01:00.0 from nouveau \n");
	handover.executor.log = NULL;
}

/* Ends the sleeping remove() and waits until its writer has gone. */
static void wake(const char *driver)
{
	fake_driver(handover.fake, driver)->remove_sleeps = false;
	handover_await_orphans();
}

static void stick(const char *driver)
{
	handover_adopt_orphans();
	fake_driver(handover.fake, driver)->remove_sleeps = true;
	loan.write_deadline_ms = 2000;
}

Test(executor, a_stuck_remove_is_given_up_at_its_deadline_and_named)
{
	struct error error = {0};
	unsigned long long begin, took;
	pid_t child;

	stick("xhci_hcd");
	begin = clock_milliseconds();
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -ETIMEDOUT);
	took = clock_milliseconds() - begin;
	cr_expect_geq(took, 2000u);
	cr_expect_lt(took, 30000u, "%llu ms", took);
	cr_expect_eq(loan.state, LOAN_OVERDUE);
	cr_assert_not_null(loan_find_stuck(&loan, "0000:01:00.2"));
	cr_expect_not_null(strstr(error.message, "0000:01:00.2"), "%s", error.message);
	child = loan_find_stuck(&loan, NULL)->child;
	cr_assert_gt(child, 0);
	cr_expect_eq(kill(child, 0), 0);
	wake("xhci_hcd");
	cr_expect_eq(kill(child, 0), -1);
}

/* Whoever pressed Stop kills the caller soon: what is stuck is told and left before that. */
Test(executor, a_write_that_sleeps_when_stop_is_pressed_is_given_up_long_before_its_deadline)
{
	struct error error = {0};
	int r = 0;

	for (unsigned int at = 1; at < SWEEP_MAX; at++) {
		stick("xhci_hcd");
		loan.write_deadline_ms = 15000;
		handover.fake->event = (struct fake_event){.kind = FAKE_STOP, .at = at};
		r = executor_apply(&handover.executor, &loan, &error);
		if (r != -EINTR)
			break;
		begin_anew();
	}
	cr_assert_eq(r, -ETIMEDOUT, "%d", r);
	cr_expect_eq(loan.state, LOAN_OVERDUE);
	cr_expect_not_null(loan_find_stuck(&loan, "0000:01:00.2"));
	cr_expect_null(strstr(error.message, "within 15 s"), "%s", error.message);
	wake("xhci_hcd");
	mark_returned();
	expect_undone("the driver let go");
}

Test(executor, a_stuck_child_holds_nothing_of_its_caller)
{
	struct pollfd polled = {.events = POLLIN};
	int pair[2], high;
	pid_t child;

	/* a descriptor that a child would inherit over an exec, too */
	cr_assert_eq(pipe(pair), 0);
	/* one between the child's own descriptors, one above them */
	high = fcntl(pair[1], F_DUPFD, 200);
	cr_assert_geq(high, 200);
	stick("snd_hda_intel");
	cr_assert_eq(apply(), -ETIMEDOUT);
	cr_assert_not_null(loan_find_stuck(&loan, NULL));
	child = loan_find_stuck(&loan, NULL)->child;
	cr_expect_eq(kill(child, 0), 0);
	cr_expect_neq(getpgid(child), getpgrp());
	cr_expect_eq(getsid(child), child);
	close(pair[1]);
	close(high);
	polled.fd = pair[0];
	cr_expect_eq(poll(&polled, 1, 1000), 1, "the child holds the pipe");
	cr_expect(polled.revents & POLLHUP);
	close(pair[0]);
	wake("snd_hda_intel");
}

Test(executor, a_stuck_function_is_owed_the_others_go_home_and_it_follows_when_it_is_free)
{
	struct error error = {0};
	unsigned long long begin;

	stick("xhci_hcd");
	handover.fake->linux_6_1 = true;
	cr_assert_eq(apply(), -ETIMEDOUT);
	begin = clock_milliseconds();
	cr_expect_lt(executor_undo(&handover.executor, &loan, NULL, &error), 0,
		"it is still owed, but the undo says that all is home");
	cr_expect_lt(clock_milliseconds() - begin, 1900u, "it waited for the stuck function");
	cr_expect_str_eq(driver_of("0000:01:00.1"), "snd_hda_intel");
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
	cr_expect_eq(loan.state, LOAN_OVERDUE);
	cr_expect_not_null(loan_find_stuck(&loan, "0000:01:00.2"));
	for (size_t i = 0; i < loan.steps.count; i++)
		cr_expect(strcmp(loan.steps.items[i].subject, "0000:01:00.2") == 0 ||
			strcmp(loan.steps.items[i].operation, "load") == 0);
	cr_assert_eq(loan_write(&handover.scratch.root, &loan, NULL), 0);

	wake("xhci_hcd");
	read_loan_again();
	cr_expect_eq(loan.state, LOAN_OVERDUE);
	cr_expect_not_null(loan_find_stuck(&loan, "0000:01:00.2"));
	/* as loan_read finds it on a live root, where /proc says that the child has ended */
	mark_returned();
	expect_undone("the stuck function came free");
}

Test(executor, a_remove_that_sticks_in_the_return_is_owed_and_the_others_go_home)
{
	apply_all();
	stick("vfio-pci");
	fake_restart(handover.fake);
	cr_expect_lt(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_expect_eq(loan.state, LOAN_OVERDUE);
	wake("vfio-pci");
	mark_returned();
	loan.write_deadline_ms = 10000;
	expect_undone("vfio-pci let go");
}

/* Two of one card, each held by somebody: neither may be written to again while it sleeps. */
Test(executor, two_stuck_functions_are_both_left_alone)
{
	unsigned long long begin;

	apply_all();
	stick("vfio-pci");
	cr_expect_lt(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_assert_eq(loan.state, LOAN_OVERDUE);
	begin = clock_milliseconds();
	cr_expect_lt(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_expect_lt(clock_milliseconds() - begin, 1900u,
		"a function whose write sleeps was written to again");
	wake("vfio-pci");
}

/* ---- operations that sleep in no driver, of a higher floor */

static int sleep_apply(const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)kernel;
	if (strcmp(step->subject, "fails") == 0)
		return error_set(error, -EIO, "it fails");
	while (strcmp(step->subject, "sleeps") == 0)
		pause();
	return 0;
}

static int sleep_undo(const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)error;
	/* seen by the test: what is undone */
	return kernel->ops->write(kernel->context, DEVICE("0/driver_override"), step->original);
}

static unsigned int sleep_deadline_ms(const struct step *step)
{
	return strcmp(step->argument, "long") == 0 ? 60000 : 300;
}

static const struct operation sleep_operations[] = {
	{.name = "stop-unit",
		.apply_text = "stop unit {subject}",
		.apply = sleep_apply,
		.undo = sleep_undo,
		.deadline_ms = sleep_deadline_ms},
	{.name = NULL},
};

static const struct operation *const tables_with_sleep[] = {
	binding_operations, sleep_operations, NULL};

static void put_first(const char *subject, const char *argument)
{
	struct step step = {.operation = "stop-unit", .original = "undone"};

	snprintf(step.subject, sizeof(step.subject), "%s", subject);
	snprintf(step.argument, sizeof(step.argument), "%s", argument);
	handover.executor.tables = tables_with_sleep;
	cr_assert_not_null(steps_insert(&loan.steps, 0, &step));
}

Test(executor, only_the_steps_up_to_the_limit_are_applied)
{
	put_first("quick", "");
	handover.executor.limit = 1;
	apply_all();
	cr_expect_eq(loan.steps.items[0].state, STEP_DONE);
	cr_expect_eq(loan.steps.items[1].state, STEP_PLANNED);
	handover_expect_home(&handover, "after the first step");
	handover.executor.limit = 0;
	apply_all();
	cr_expect_str_eq(driver_of("0000:01:00.0"), "vfio-pci");
}

/* It is in no driver: killed, not overdue, and undone like any step that may have taken effect. */
Test(executor, what_is_no_write_into_a_driver_is_ended_past_its_deadline)
{
	struct error error = {0};

	put_first("sleeps", "");
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -ETIMEDOUT);
	cr_expect_str_eq(error.message, "stop unit sleeps: it did not end within 0 s");
	cr_expect_eq(loan.state, LOAN_TAKING);
	cr_expect_null(loan_find_stuck(&loan, NULL));
	cr_expect_eq(loan.steps.items[0].state, STEP_STARTED);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "a child is left");
	cr_expect_eq(executor_undo(&handover.executor, &loan, NULL, NULL), 0);
	cr_expect_not_null(strstr(handover.fake->writes, "undone"));
	cr_expect_eq(loan.steps.count, 0u);
}

static void stop_later(int number)
{
	(void)number;
	handover.fake->stop = 1;
}

Test(executor, what_is_no_write_into_a_driver_ends_when_stop_is_pressed)
{
	struct sigaction action = {.sa_handler = stop_later};
	struct error error = {0};
	pid_t self = getpid(), pid;

	put_first("sleeps", "long");
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	pid = fork();
	if (pid == 0) {
		poll(NULL, 0, 300);
		kill(self, SIGUSR1);
		_exit(0);
	}
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -EINTR);
	cr_expect_str_eq(error.message, "stop unit sleeps: stopped by a signal");
	cr_expect_eq(waitpid(pid, NULL, 0), pid);
}

/* ---- the look before a write */

static int slow_look(const struct kernel *kernel, const struct step *step, enum direction direction,
	struct error *error)
{
	(void)kernel;
	if (strcmp(step->subject, "held") == 0)
		return error_set(error, -EBUSY, "somebody has it");
	poll(NULL, 0, direction == APPLY && strcmp(step->subject, "sleeps") == 0 ? -1 : 700);
	return 0;
}

static int no_apply(const struct kernel *kernel, const struct step *step, struct error *error)
{
	(void)error;
	return kernel->ops->write(kernel->context, DEVICE("0/driver_override"), step->subject);
}

static const struct operation look_operations[] = {
	{.name = "stop-unit", .look = slow_look, .apply = no_apply},
	{.name = NULL},
};

static const struct operation *const tables_with_look[] = {
	binding_operations, look_operations, NULL};

static void look_first(const char *subject)
{
	put_first(subject, "");
	handover.executor.tables = tables_with_look;
	handover.executor.limit = 1;
}

Test(executor, the_time_of_the_look_is_not_the_drivers)
{
	look_first("quick");
	loan.write_deadline_ms = 500;
	apply_all();
	cr_expect_eq(loan.steps.items[0].state, STEP_DONE);
	cr_expect_not_null(strstr(handover.fake->writes, "quick"));
}

Test(executor, what_the_look_finds_is_the_error_and_nothing_is_written)
{
	struct error error = {0};

	look_first("held");
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -EBUSY);
	cr_expect_str_eq(error.message, "somebody has it");
	cr_expect_str_eq(handover.fake->writes, "");
	cr_expect_eq(loan.state, LOAN_TAKING);
}

/* Whoever reads the loan then tells no write that is overdue either. */
Test(executor, a_look_that_does_not_end_is_never_overdue)
{
	struct sigaction action = {.sa_handler = stop_later};
	struct error error = {0};
	pid_t self = getpid(), pid;

	look_first("sleeps");
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	pid = fork();
	if (pid == 0) {
		poll(NULL, 0, 300);
		kill(self, SIGUSR1);
		_exit(0);
	}
	cr_expect_eq(executor_apply(&handover.executor, &loan, &error), -EINTR);
	cr_expect_str_eq(error.message, "stop-unit sleeps: stopped by a signal");
	cr_expect_null(loan_find_stuck(&loan, NULL));
	cr_expect_eq(loan.state, LOAN_TAKING);
	read_loan_again();
	cr_expect_eq(loan.steps.items[0].state, STEP_STARTED);
	cr_expect_eq(loan.steps.items[0].write_deadline_ms, 0u);
	cr_expect_str_eq(handover.fake->writes, "");
	while (waitpid(-1, NULL, 0) > 0)
		;
}
