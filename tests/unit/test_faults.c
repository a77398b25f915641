/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Faults: a handover, a return, a takeover, a set-up and its undo, each with one operation of the
 * kernel that fails, one allocation, or one call that changes a file, at every position in turn.
 * Whatever fails, nothing is lost: a function is with the VM, at home, or in a loan that says so,
 * and the next look brings it home.
 */

#include "conf/host/edits.h"
#include "hooks/ferry/return.h"
#include "hooks/ferry/take.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/faults.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

/* More positions than anything has here. */
#define POSITIONS_MAX 100000u

#define EDITED "etc/default/grub"
#define REMOVED "etc/modprobe.d/vfio.conf"
#define MADE "etc/default/grub.d/gpu-ferry.cfg"
#define EDITED_BEFORE "A=1\nLINE=\"quiet intel_iommu=on\"\nB=2\n"
#define EDITED_AFTER "A=1\nLINE=\"quiet\"\nB=2\n"
#define REMOVED_BEFORE "options vfio-pci ids=10de:2704\n"

static struct handover handover;
static struct context context;
static struct settings settings;
static char when[128]; /* which fault it is, for messages */

static const char *const card[] = {"0000:01:00.0", "0000:01:00.1", "0000:01:00.2"};

static void write_nothing(void *data, const struct log_entry *entry)
{
	(void)data, (void)entry;
}

static void begin(void)
{
	handover_init(&handover);
	context = (struct context){.kernel = handover.kernel, .log = {.write = write_nothing}};
	cr_assert_eq(settings_parse("", "f", 0, &settings, NULL), 0);
}

static void end(void)
{
	settings_done(&settings);
	handover_done(&handover);
}

TestSuite(faults, .init = begin, .fini = end);

/* ---- what is done */

static int take_for(unsigned int vmid, struct error *error)
{
	static const struct plan_want wants[] = {
		{.address = "0000:01:00.0", .target = "vfio-pci"},
		{.address = "0000:01:00.1", .target = "vfio-pci"},
		{.address = "0000:01:00.2", .target = "vfio-pci"},
	};
	cleanup(pci_functions_done) struct pci_functions host = {0};
	const struct take_request request = {
		.owner = {.kind = LOAN_OWNER_VM, .vmid = vmid},
		.host = &host,
		.wants = wants,
		.want_count = 3,
		.settings = &settings,
	};
	int r = pci_scan(&context.kernel, &host, error);

	return r < 0 ? r : take_run(&context, &request, error);
}

static int take(struct error *error)
{
	return take_for(104, error);
}

static int give_back(struct error *error)
{
	return return_loan(&context, VM_104, error);
}

static int reconcile(struct error *error)
{
	return return_gone(&context, NULL, NULL, error);
}

static void expect_done(int (*work)(struct error *error))
{
	struct error error = {0};

	cr_assert_eq(work(&error), 0, "%s: %s", when, error.message);
}

static void prepare_nothing(void)
{
}

static void prepare_taken(void)
{
	expect_done(take);
}

/* The last function, the display, does not come to vfio-pci: all that was taken goes home. */
static void prepare_failing(void)
{
	struct fake_driver *driver = fake_driver(handover.fake, "vfio-pci");

	driver->probe_error = -EIO;
	driver->refused = "0000:01:00.0";
}

/* By a VM that is gone: no process is its QEMU, and nobody has its lock. */
static void prepare_taken_by_another(void)
{
	struct error error = {0};

	cr_assert_eq(take_for(105, &error), 0, "%s: %s", when, error.message);
}

/* ---- what must hold */

static size_t count_entries(const char *folder)
{
	cleanup(names_done) struct names names = {0};

	(void)folder_list(&handover.scratch.root, folder, &names);
	return names.count;
}

static bool is_at_home(const char *address)
{
	const struct fake_function *function = fake_function(handover.fake, address);
	char line[256];

	snprintf(line, sizeof(line), "%s driver=%s override=%s ", address, function->driver,
		function->override);
	return strstr(handover.before, line);
}

/* Every function of the card is at home, or a loan has it and the steps that bring it home. */
static void expect_nothing_lost(void)
{
	cleanup(loans_done) struct loans loans = {0};

	cr_assert_eq(loans_read(&handover.scratch.root, &loans, NULL), 0);
	cr_expect_eq(loans.unreadable.status, 0, "%s: %s", when, loans.unreadable.message);
	for (size_t i = 0; i < sizeof(card) / sizeof(card[0]); i++) {
		const struct loan *loan = loans_find(&loans, card[i]);

		cr_expect(is_at_home(card[i]) || (loan && loan->steps.count), "%s: %s is lost",
			when, card[i]);
	}
}

static void expect_home(void)
{
	handover_expect_home(&handover, when);
	cr_expect_eq(count_entries(LOAN_FOLDER), 0u, "%s: a loan is left", when);
}

static void expect_taken(void)
{
	cleanup(loan_done) struct loan loan = {0};

	for (size_t i = 0; i < sizeof(card) / sizeof(card[0]); i++)
		cr_expect_str_eq(
			fake_function(handover.fake, card[i])->driver, "vfio-pci", "%s", when);
	cr_assert_eq(loan_read(&handover.scratch.root, VM_104, &loan, NULL), 0, "%s", when);
	cr_expect_eq(loan.state, LOAN_LENT, "%s", when);
	cr_expect_eq(loan.function_count, 3u, "%s", when);
	cr_expect_eq(count_entries(LOAN_FOLDER), 1u, "%s", when);
}

/* The VM is gone: now, with everything in order again, all comes home. */
static void expect_recovery(void)
{
	expect_nothing_lost();
	expect_done(reconcile);
	expect_home();
}

static void check_taken(int r)
{
	if (r == 0)
		expect_taken();
	expect_recovery();
}

static void check_failed(int r)
{
	cr_expect_lt(r, 0, "%s", when);
	fake_driver(handover.fake, "vfio-pci")->probe_error = 0;
	expect_recovery();
}

static void check_returned(int r)
{
	if (r == 0)
		expect_home();
	expect_recovery();
}

/* A look that failed may have taken the VM for one that is not gone. */
static void check_reconciled(int r)
{
	(void)r;
	expect_recovery();
}

/* ---- the set-up of the host */

static int no_refresh(void *data, unsigned int refresh, struct error *error)
{
	(void)data, (void)refresh, (void)error;
	return 0;
}

static int apply_edits(struct manifest *manifest, struct file_edits *edits, struct error *error)
{
	struct edit_ops ops = edit_file_ops;
	const struct edit_job job = {
		.root = &handover.scratch.root,
		.ops = &ops,
		.refreshes = REFRESH_INITRAMFS | REFRESH_BOOT_LOADER,
		.boot_id = "this-boot",
		.manifest = manifest,
	};

	ops.refresh = no_refresh;
	return file_edits_apply(&job, edits, error);
}

static int edit(const char *path, const char *text, struct file_edits *edits, struct error *error)
{
	struct file_edit *opened = NULL;
	int r = file_edits_open(&handover.scratch.root, path, edits, &opened, error);

	if (r == 0 && file_edit_set(opened, text) < 0)
		r = error_set_errno(error, -ENOMEM, "edit /%s", path);
	return r;
}

static int set_up(struct error *error)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};
	int r = manifest_read(&handover.scratch.root, &manifest, error);

	if (r == 0)
		r = edit(EDITED, EDITED_AFTER, &edits, error);
	if (r == 0)
		r = edit(REMOVED, NULL, &edits, error);
	if (r == 0)
		r = edit(MADE, "ours\n", &edits, error);
	return r < 0 ? r : apply_edits(&manifest, &edits, error);
}

static int undo(struct error *error)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};
	cleanup(names_done) struct names left = {0};
	int r = manifest_read(&handover.scratch.root, &manifest, error);

	if (r == 0)
		r = file_edits_undo(&handover.scratch.root, &manifest, &edits, &left, error);
	if (r == 0)
		r = apply_edits(&manifest, &edits, error);
	if (r == 0 && left.count)
		r = error_set(error, -EUCLEAN, "%s", left.names[0]);
	return r;
}

static void prepare_files(void)
{
	scratch_write(&handover.scratch, EDITED, EDITED_BEFORE);
	scratch_write(&handover.scratch, REMOVED, REMOVED_BEFORE);
}

static void prepare_set_up(void)
{
	prepare_files();
	expect_done(set_up);
}

static bool file_is(const char *path, const char *text)
{
	const struct file_read_options options = {.max = 4096};
	auto_free char *now = NULL;

	if (file_read(&handover.scratch.root, path, &options, &now, NULL, NULL) < 0)
		return !text;
	return text && strcmp(now, text) == 0;
}

static void expect_files(bool edited)
{
	cr_expect(file_is(EDITED, edited ? EDITED_AFTER : EDITED_BEFORE), "%s: " EDITED, when);
	cr_expect(file_is(REMOVED, edited ? NULL : REMOVED_BEFORE), "%s: " REMOVED, when);
	cr_expect(file_is(MADE, edited ? "ours\n" : NULL), "%s: " MADE, when);
}

static void expect_first_files(void)
{
	expect_done(undo);
	expect_files(false);
	/* an empty folder of ours may be left: whatever it was, it is harmless */
	cr_expect_leq(count_entries("etc/default"), 2u, "%s: etc/default has more", when);
	cr_expect_eq(count_entries("etc/default/grub.d"), 0u, "%s: grub.d has more", when);
	cr_expect_eq(count_entries("etc/modprobe.d"), 1u, "%s: etc/modprobe.d has more", when);
	cr_expect_eq(count_entries(MANIFEST_FOLDER), 0u, "%s: a manifest is left", when);
}

static void check_set_up(int r)
{
	if (r == 0)
		expect_files(true);
	else if (r != -EUCLEAN)
		expect_files(false);
	expect_first_files();
}

static void check_undone(int r)
{
	if (r == 0)
		expect_files(false);
	else if (r != -EUCLEAN)
		expect_files(true);
	expect_first_files();
}

/* ---- the sweep */

static const struct scenario {
	const char *name;
	void (*prepare)(void);
	int (*run)(struct error *error);
	void (*check)(int r);
} scenarios[] = {
	{"a handover", prepare_nothing, take, check_taken},
	{"a handover that fails", prepare_failing, take, check_failed},
	{"a return", prepare_taken, give_back, check_returned},
	{"a reconcile", prepare_taken, reconcile, check_reconciled},
	{"a takeover", prepare_taken_by_another, take, check_taken},
	{"a set-up", prepare_files, set_up, check_set_up},
	{"an undo", prepare_set_up, undo, check_undone},
};

/* One fault of one kind; the kernel's operations are the fake's to fail. */
struct kind {
	const char *name;
	bool is_operation;
	enum fault fault;
	bool all; /* and so do all that follow */
};

static size_t count_descriptors(void)
{
	cleanup(names_done) struct names names = {0};
	struct root root = ROOT_NONE;

	cr_assert_eq(root_open("/proc/self/fd", &root, NULL), 0);
	(void)folder_list(&root, ".", &names);
	root_close(&root);
	return names.count;
}

/* False when there is no such position. */
static bool fail_at(
	const struct scenario *scenario, const struct kind *kind, unsigned long position)
{
	struct error error = {0};
	size_t descriptors;
	long allocations;
	bool failed;
	int r;

	snprintf(when, sizeof(when), "%s, %s %lu", scenario->name, kind->name, position);
	end();
	begin();
	scenario->prepare();
	fake_restart(handover.fake);
	descriptors = count_descriptors();
	allocations = faults_allocations();
	if (kind->is_operation)
		handover.fake->event = (struct fake_event){
			.kind = FAKE_FAIL, .at = (unsigned int)position, .status = -EIO};
	else
		faults_begin(kind->fault, position, kind->all);
	r = scenario->run(&error);
	failed = kind->is_operation ? handover.fake->operations >= position : faults_end();
	allocations = faults_allocations() - allocations;
	fake_restart(handover.fake);
	cr_expect(r == 0 || *error.message, "%s: an error of %d without a word", when, r);
	/* the first run of all loads what is loaded once */
	if (position < POSITIONS_MAX)
		cr_expect_eq(allocations, 0, "%s: %ld allocations are left", when, allocations);
	cr_expect_eq(count_descriptors(), descriptors, "%s: descriptors are left", when);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "%s: a child is left", when);
	scenario->check(r);
	return failed;
}

/* Under the sanitizer a run takes five times as long, and so it gets a sample: what is left of
 * memory, the plain program counts at every position. */
static void fail_everywhere(const struct kind *kind)
{
	unsigned long step = faults_can(FAULT_MEMORY) ? 1 : 11;

	/* loads what is loaded once for a process */
	fail_at(&scenarios[0], kind, POSITIONS_MAX);
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		unsigned long position = 1;

		while (position < POSITIONS_MAX && fail_at(&scenarios[i], kind, position))
			position += step;
		cr_log_info("%s: up to position %lu of %s", scenarios[i].name, position - step,
			kind->name);
		cr_expect_lt(position, POSITIONS_MAX);
	}
}

Test(faults, of_any_operation_of_the_kernel_lose_nothing)
{
	faults_begin(FAULT_FILE, 0, false);
	fail_everywhere(&(const struct kind){.name = "operation", .is_operation = true});
}

Test(faults, of_any_file_change_lose_nothing)
{
	fail_everywhere(&(const struct kind){.name = "file change", .fault = FAULT_FILE});
}

Test(faults, of_all_file_changes_from_any_on_lose_nothing)
{
	fail_everywhere(&(const struct kind){
		.name = "file change and all later ones", .fault = FAULT_FILE, .all = true});
}

Test(faults, of_any_record_lose_nothing)
{
	fail_everywhere(&(const struct kind){.name = "record", .fault = FAULT_RECORD});
}

Test(faults, of_any_other_allocation_lose_nothing)
{
	if (faults_can(FAULT_OTHER_MEMORY))
		fail_everywhere(
			&(const struct kind){.name = "allocation", .fault = FAULT_OTHER_MEMORY});
}

Test(faults, of_all_allocations_from_any_on_lose_nothing)
{
	if (faults_can(FAULT_MEMORY))
		fail_everywhere(&(const struct kind){.name = "allocation and all later ones",
			.fault = FAULT_OTHER_MEMORY,
			.all = true});
}
