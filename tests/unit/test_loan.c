/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/loan.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_104 "run/gpu-ferry/loans/vm-104.json"

#define FUNCTION                                                                                   \
	"{\"address\":\"0000:01:00.0\",\"iommu_group\":15,\"home_driver\":\"nouveau\","            \
	"\"home_module\":\"nouveau\",\"driver_override\":\"\",\"target\":\"vfio-pci\","            \
	"\"use\":\"taken\"}"
#define STEP                                                                                       \
	"{\"operation\":\"bind\",\"subject\":\"0000:01:00.0\",\"argument\":\"vfio-pci\","          \
	"\"original\":\"\",\"state\":\"done\"}"

/* A good loan whose parts can be replaced one by one. */
struct text {
	const char *schema, *owner, *state, *deadline, *child, *functions, *steps, *more;
};

static const struct text good = {
	.schema = "1",
	.owner = "{\"kind\":\"vm\",\"vmid\":104}",
	.state = "\"lent\"",
	.deadline = "30000",
	.child = "null",
	.functions = "[" FUNCTION "]",
	.steps = "[" STEP "]",
	.more = "",
};

static char *write_text(struct text text)
{
	char *ret = NULL;

	cr_assert_geq(asprintf(&ret,
			      "{\"schema\":%s,\"owner\":%s,\"state\":%s,"
			      "\"since\":\"2026-01-02T03:04:05Z\",\"write_deadline_ms\":%s,"
			      "\"slow_write_deadline_ms\":240000,\"return_wait_ms\":30000,"
			      "\"child\":%s,\"functions\":%s,\"steps\":%s%s}",
			      text.schema, text.owner, text.state, text.deadline, text.child,
			      text.functions, text.steps, text.more),
		0);
	return ret;
}

static void expect_refused(struct text text, int status, const char *what)
{
	auto_free char *written = write_text(text);
	struct loan loan = {.state = LOAN_OWED};
	struct error error = {0};

	cr_expect_eq(loan_parse(written, &loan, &error), status, "%s: %s", what, error.message);
	cr_expect_str_not_empty(error.message, "%s", what);
	cr_expect_eq(loan.state, LOAN_OWED, "%s: touched on failure", what);
}

static void parse(struct text text, struct loan *ret)
{
	auto_free char *written = write_text(text);
	struct error error = {0};

	cr_assert_eq(loan_parse(written, ret, &error), 0, "%s: %s", error.message, written);
}

static struct scratch scratch;

static void init(void)
{
	scratch_init(&scratch);
}

static void done(void)
{
	scratch_done(&scratch);
}

TestSuite(loan, .init = init, .fini = done);

static void write_file(struct text text)
{
	auto_free char *written = write_text(text);

	scratch_write(&scratch, FILE_104, written);
}

static int read_file(struct error *error)
{
	cleanup(loan_done) struct loan loan = {0};

	return loan_read(&scratch.root, VM_104, &loan, error);
}

static void expect_unreadable(int status)
{
	cleanup(loans_done) struct loans loans = {0};
	struct error error = {0};

	cr_expect_eq(read_file(&error), status, "%s", error.message);
	cr_expect_not_null(strstr(error.message, FILE_104), "%s", error.message);
	cr_expect_eq(loans_read(&scratch.root, &loans, NULL), 0);
	cr_expect_eq(loans.count, 0u);
	cr_expect_eq(loans.unreadable.status, status);
	cr_expect_not_null(strstr(loans.unreadable.message, FILE_104));
}

/* ---- what is written and read */

Test(loan, one_that_comes_or_goes_is_told_to_who_waits)
{
	auto_close int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd polled = {.fd = notify, .events = POLLIN};
	cleanup(loan_done) struct loan loan = {0};

	cr_expect_eq(loans_notify(&scratch.root, notify), -ENOENT);
	parse(good, &loan);
	cr_assert_eq(loan_write(&scratch.root, &loan, NULL), 0);
	cr_assert_eq(loans_notify(&scratch.root, notify), 0);
	cr_expect_eq(poll(&polled, 1, 0), 0);
	cr_assert_eq(loan_write(&scratch.root, &loan, NULL), 0);
	cr_expect_eq(poll(&polled, 1, 0), 1);
	file_drain(notify);
	cr_expect_eq(poll(&polled, 1, 0), 0);
	cr_assert_eq(loan_remove(&scratch.root, &loan.owner, NULL), 0);
	cr_expect_eq(poll(&polled, 1, 0), 1);
}

Test(loan, all_fields_come_back)
{
	cleanup(loan_done) struct loan loan = {0}, again = {0};

	parse(good, &loan);
	loan.state = LOAN_OVERDUE;
	loan.child = 4242;
	loan.child_start_time = 987654321;
	strcpy(loan.functions[0].driver_override, "nouveau");
	strcpy(loan.functions[0].identity, "10de:2704 1458:3702");
	loan.functions[0].use = LOAN_BORROWED;
	loan.functions[0].slow_deadline_ms = 240000;
	loan.steps.items[0].state = STEP_STUCK;
	loan.steps.items[0].child = 77;
	loan.steps.items[0].child_start_time = 5;
	loan.steps.items[0].write_deadline_ms = 30000;
	strcpy(loan.steps.items[0].original, "before");
	cr_assert_eq(loan_write(&scratch.root, &loan, NULL), 0);
	cr_assert_eq(loan_read(&scratch.root, VM_104, &again, NULL), 0);
	cr_expect(loan_owner_equal(&again.owner, VM_104));
	cr_expect_eq(again.state, LOAN_OVERDUE);
	cr_expect_str_eq(again.since, "2026-01-02T03:04:05Z");
	cr_expect_eq(again.write_deadline_ms, 30000u);
	cr_expect_eq(again.return_wait_ms, 30000u);
	cr_expect_eq(again.child, 4242);
	cr_expect_eq(again.child_start_time, 987654321u);
	cr_expect_eq(again.steps.items[0].child, 77);
	cr_expect_eq(again.steps.items[0].child_start_time, 5u);
	cr_expect_eq(again.steps.items[0].write_deadline_ms, 30000u);
	cr_assert_eq(again.function_count, 1u);
	cr_expect_eq(again.functions[0].slow_deadline_ms, 240000u);
	cr_expect_str_eq(again.functions[0].address, "0000:01:00.0");
	cr_expect_eq(again.functions[0].iommu_group, 15);
	cr_expect_str_eq(again.functions[0].home_driver, "nouveau");
	cr_expect_str_eq(again.functions[0].home_module, "nouveau");
	cr_expect_str_eq(again.functions[0].driver_override, "nouveau");
	cr_expect_str_eq(again.functions[0].identity, "10de:2704 1458:3702");
	cr_expect_str_eq(again.functions[0].target, "vfio-pci");
	cr_expect_eq(again.functions[0].use, LOAN_BORROWED);
	cr_assert_eq(again.steps.count, 1u);
	cr_expect_str_eq(again.steps.items[0].operation, "bind");
	cr_expect_str_eq(again.steps.items[0].argument, "vfio-pci");
	cr_expect_str_eq(again.steps.items[0].original, "before");
	cr_expect_eq(again.steps.items[0].state, STEP_STUCK);
}

/* ---- a write that nobody waits for any more */

#define BEGUN(operation, deadline)                                                                 \
	"{\"operation\":\"" operation "\",\"subject\":\"0000:01:00.0\",\"argument\":\"nouveau\","  \
	"\"original\":\"\",\"state\":\"started\",\"write_deadline_ms\":" deadline "}"
#define STARTED(operation) BEGUN(operation, "30000")

/* A loan whose hook was killed, written so long ago; its child, which started at @start, lives. */
static enum loan_state state_after(
	const char *steps, unsigned int seconds, const char *start, struct loan *ret)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = time(NULL) - seconds}};
	struct text text = good;
	struct error error = {0};
	char stat[256];

	text.state = "\"taking\"";
	text.child = "{\"pid\":4242,\"start_time\":99}";
	text.steps = steps;
	write_file(text);
	cr_assert_eq(utimensat(scratch.root.fd, FILE_104, times, 0), 0);
	snprintf(stat, sizeof(stat),
		"4242 (gpu-ferry) D 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %s 0 0\n", start);
	scratch_write(&scratch, "proc/4242/stat", stat);
	scratch.root.live = true;
	cr_assert_eq(loan_read(&scratch.root, VM_104, ret, &error), 0, "%s", error.message);
	return ret->state;
}

Test(loan, write_that_its_hook_left_is_overdue_past_the_deadline)
{
	cleanup(loan_done) struct loan loan = {0};
	const struct step *stuck;

	cr_assert_eq(state_after("[" STEP "," STARTED("unbind") "," STARTED("bind") "]", 32, "99",
			     &loan),
		LOAN_OVERDUE);
	stuck = loan_find_stuck(&loan, "0000:01:00.0");
	cr_assert_eq(stuck, &loan.steps.items[1], "the first of those begun is in hand");
	cr_expect_eq(stuck->child, 4242);
	cr_expect_eq(stuck->child_start_time, 99u);
	cr_expect_eq(loan.steps.items[2].state, STEP_STARTED);
	cr_expect_not(loan_is_busy(&scratch.root, &loan), "the child is the step's now");
}

Test(loan, write_that_its_hook_left_has_its_time)
{
	cleanup(loan_done) struct loan loan = {0};

	cr_expect_eq(state_after("[" STARTED("unbind") "]", 28, "99", &loan), LOAN_TAKING);
	cr_expect(loan_is_busy(&scratch.root, &loan));
}

Test(loan, write_whose_child_has_ended_is_not_overdue)
{
	cleanup(loan_done) struct loan loan = {0};

	/* the number is another process's by now */
	cr_expect_eq(state_after("[" STARTED("unbind") "]", 60, "100", &loan), LOAN_TAKING);
}

Test(loan, container_that_takes_its_time_is_no_driver)
{
	cleanup(loan_done) struct loan loan = {0};

	cr_expect_eq(
		state_after("[" BEGUN("stop-container", "0") "]", 60, "99", &loan), LOAN_TAKING);
}

Test(loan, fields_of_a_later_version_are_kept)
{
	cleanup(loan_done) struct loan loan = {0};
	struct text text = good;
	auto_free char *written = NULL;

	text.more = ",\"units\":[\"nvidia-persistenced.service\"]";
	text.functions = "[{\"address\":\"0000:01:00.0\",\"iommu_group\":15,\"use\":\"taken\","
			 "\"d3cold_allowed\":\"0\"}]";
	text.steps = "[{\"operation\":\"bind\",\"subject\":\"0000:01:00.0\",\"state\":\"done\","
		     "\"milliseconds\":{\"took\":12}}]";
	parse(text, &loan);
	loan.state = LOAN_OWED;
	loan.steps.items[0].state = STEP_STARTED;
	cr_assert_eq(loan_format(&loan, &written, NULL), 0);
	cr_expect_not_null(strstr(written, "nvidia-persistenced.service"), "%s", written);
	cr_expect_not_null(strstr(written, "\"d3cold_allowed\":\"0\""), "%s", written);
	cr_expect_not_null(strstr(written, "\"took\":12"), "%s", written);
	cr_expect_not_null(strstr(written, "\"state\":\"owed\""), "%s", written);
	cr_expect_not_null(strstr(written, "\"state\":\"started\""), "%s", written);
}

Test(loan, the_file_is_for_everyone_to_read_and_its_folder_for_root_to_write)
{
	cleanup(loan_done) struct loan loan = {0};
	char path[PATH_MAX];
	struct stat status;

	umask(0077);
	parse(good, &loan);
	cr_assert_eq(loan_write(&scratch.root, &loan, NULL), 0);
	snprintf(path, sizeof(path), "%s/%s", scratch.path, FILE_104);
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_mode & 07777, 0644u);
	snprintf(path, sizeof(path), "%s/%s", scratch.path, LOAN_FOLDER);
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_mode & 07777, 0755u);
	snprintf(path, sizeof(path), "%s/run/gpu-ferry", scratch.path);
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_mode & 07777, 0755u);
}

Test(loan, since_is_now_in_utc)
{
	cleanup(loan_done) struct loan loan = {0};

	loan_init(&loan, VM_104);
	cr_expect_eq(strlen(loan.since), strlen("2026-01-02T03:04:05Z"));
	cr_expect_eq(loan.since[10], 'T');
	cr_expect_eq(loan.since[19], 'Z');
	cr_expect_eq(loan.state, LOAN_TAKING);
}

Test(loan, removing_what_is_not_there_is_no_error)
{
	cr_expect_eq(loan_remove(&scratch.root, VM_104, NULL), 0);
	write_file(good);
	cr_expect_eq(loan_remove(&scratch.root, VM_104, NULL), 0);
	cr_expect_eq(read_file(NULL), -ENOENT);
}

Test(loan, removing_one_takes_along_what_killed_writers_left_of_it)
{
	cleanup(names_done) struct names names = {0};
	struct loan loan;

	loan_init(&loan, VM_104);
	cr_assert_eq(loan_write(&scratch.root, &loan, NULL), 0);
	scratch_write(&scratch, LOAN_FOLDER "/.vm-104.json.77.tmp", "half writ");
	scratch_write(&scratch, LOAN_FOLDER "/.vm-1045.json.77.tmp", "another's");
	cr_assert_eq(loan_remove(&scratch.root, VM_104, NULL), 0);
	cr_assert_eq(folder_list(&scratch.root, LOAN_FOLDER, &names), 0);
	cr_assert_eq(names.count, 1u);
	cr_expect_str_eq(names.names[0], ".vm-1045.json.77.tmp");
}

Test(loan, owners_have_files_of_their_own)
{
	const struct loan_owner hand = {.kind = LOAN_OWNER_HAND, .iommu_group = 104};
	struct loan loan;
	char name[32];

	loan_init(&loan, &hand);
	cr_assert_eq(loan_write(&scratch.root, &loan, NULL), 0);
	cr_expect_eq(read_file(NULL), -ENOENT);
	cr_expect_not(loan_owner_equal(&hand, VM_104));
	loan_owner_format(&hand, name, sizeof(name));
	cr_expect_str_eq(name, "by hand");
	loan_owner_format(VM_104, name, sizeof(name));
	cr_expect_str_eq(name, "VM 104");
	loan_done(&loan);
}

/* ---- what is refused */

Test(loan, a_newer_schema_is_refused_by_name)
{
	struct text text = good;

	text.schema = "2";
	expect_refused(text, -EPROTONOSUPPORT, "schema 2");
	text.schema = "0";
	expect_refused(text, -EBADMSG, "schema 0");
	text.schema = "\"1\"";
	expect_refused(text, -EBADMSG, "schema as text");
	text.schema = "1.5";
	expect_refused(text, -EBADMSG, "schema 1.5");
	text.schema = "99999999999999999999999";
	expect_refused(text, -EBADMSG, "a huge schema");
}

#define REFUSE(field, value)                                                                       \
	do {                                                                                       \
		struct text text_ = good;                                                          \
		text_.field = (value);                                                             \
		expect_refused(text_, -EBADMSG, #field " " value);                                 \
	} while (0)

Test(loan, wrong_types_and_values_are_refused)
{
	REFUSE(owner, "null");
	REFUSE(owner, "104");
	REFUSE(owner, "{}");
	REFUSE(owner, "{\"kind\":\"vm\"}");
	REFUSE(owner, "{\"kind\":\"vm\",\"vmid\":\"104\"}");
	REFUSE(owner, "{\"kind\":\"vm\",\"vmid\":-1}");
	REFUSE(owner, "{\"kind\":\"ct\",\"vmid\":104}");
	REFUSE(state, "\"gone\"");
	REFUSE(state, "1");
	REFUSE(state, "null");
	REFUSE(deadline, "-1");
	REFUSE(deadline, "1e99");
	REFUSE(deadline, "true");
	REFUSE(deadline, "4294967296");
	REFUSE(child, "42");
	REFUSE(child, "[]");
	REFUSE(child, "{\"pid\":0,\"start_time\":1}");
	REFUSE(child, "{\"pid\":99999999999,\"start_time\":1}");
	REFUSE(functions, "null");
	REFUSE(functions, "{}");
	REFUSE(functions, "[null]");
	REFUSE(functions, "[[]]");
	REFUSE(functions, "[{\"address\":\"01:00.0\",\"iommu_group\":1,\"use\":\"taken\"}]");
	REFUSE(functions, "[{\"address\":\"../../x\",\"iommu_group\":1,\"use\":\"taken\"}]");
	REFUSE(functions, "[{\"address\":\"0000:01:00.0\",\"iommu_group\":-2,\"use\":\"taken\"}]");
	REFUSE(functions, "[{\"address\":\"0000:01:00.0\",\"iommu_group\":1,\"use\":\"given\"}]");
	REFUSE(functions, "[{\"address\":7,\"iommu_group\":1,\"use\":\"taken\"}]");
	REFUSE(steps, "null");
	REFUSE(steps, "[1]");
	REFUSE(steps, "[{\"operation\":[],\"state\":\"done\"}]");
	REFUSE(steps, "[{\"operation\":\"bind\",\"state\":\"maybe\"}]");
	REFUSE(steps,
		"[{\"operation\":\"a name that is longer than any operation has\","
		"\"state\":\"done\"}]");
}

Test(loan, what_is_no_json_object_is_refused)
{
	static const char *const texts[] = {
		"", " ", "null", "[]", "7", "\"x\"", "{", "{\"schema\":1", "\xff\xfe", "{}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct error error = {0};
		struct loan loan;

		cr_expect_eq(loan_parse(texts[i], &loan, &error), -EBADMSG, "'%s'", texts[i]);
	}
}

Test(loan, a_good_file_is_read)
{
	struct error error = {0};

	write_file(good);
	cr_expect_eq(read_file(&error), 0, "%s", error.message);
}

Test(loan, no_file_is_enoent_and_no_folder_is_no_loans)
{
	cleanup(loans_done) struct loans loans = {0};

	cr_expect_eq(read_file(NULL), -ENOENT);
	cr_expect_eq(loans_read(&scratch.root, &loans, NULL), 0);
	cr_expect_eq(loans.count, 0u);
	cr_expect_eq(loans.unreadable.status, 0);
}

static void change_mode(const char *path, mode_t mode)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", scratch.path, path);
	cr_assert_eq(chmod(full, mode), 0);
}

Test(loan, a_file_that_others_may_write_is_refused)
{
	write_file(good);
	change_mode(FILE_104, 0664);
	expect_unreadable(-EPERM);
	change_mode(FILE_104, 0646);
	expect_unreadable(-EPERM);
	change_mode(FILE_104, 0600);
	cr_expect_eq(read_file(NULL), 0);
}

Test(loan, a_file_of_somebody_else_is_refused)
{
	char full[PATH_MAX];

	if (geteuid() != 0)
		cr_skip_test("only root can give files away");
	write_file(good);
	snprintf(full, sizeof(full), "%s/%s", scratch.path, FILE_104);
	cr_assert_eq(chown(full, 65534, 65534), 0);
	expect_unreadable(-EPERM);
}

Test(loan, a_folder_that_others_may_write_takes_no_loan)
{
	cleanup(loan_done) struct loan loan = {0};

	write_file(good);
	change_mode(LOAN_FOLDER, 0777);
	parse(good, &loan);
	cr_expect_eq(loan_write(&scratch.root, &loan, NULL), -EPERM);
}

Test(loan, a_fifo_is_refused_without_waiting)
{
	char full[PATH_MAX];

	alarm(5);
	write_file(good);
	snprintf(full, sizeof(full), "%s/%s", scratch.path, FILE_104);
	cr_assert_eq(unlink(full), 0);
	cr_assert_eq(mkfifo(full, 0644), 0);
	expect_unreadable(-ENXIO);
}

Test(loan, a_folder_in_its_place_is_refused)
{
	char full[PATH_MAX];

	write_file(good);
	snprintf(full, sizeof(full), "%s/%s", scratch.path, FILE_104);
	cr_assert_eq(unlink(full), 0);
	cr_assert_eq(mkdir(full, 0755), 0);
	expect_unreadable(-EISDIR);
}

Test(loan, a_huge_file_is_refused)
{
	char full[PATH_MAX];

	write_file(good);
	snprintf(full, sizeof(full), "%s/%s", scratch.path, FILE_104);
	cr_assert_eq(truncate(full, 64L << 20), 0);
	expect_unreadable(-EFBIG);
}

Test(loan, broken_json_is_refused)
{
	scratch_write(&scratch, FILE_104, "{\"schema\":1,");
	expect_unreadable(-EBADMSG);
}

Test(loan, a_link_cannot_lead_out_of_the_root)
{
	scratch_link(&scratch, FILE_104, "/etc/hostname");
	cr_expect_eq(read_file(NULL), -ENOENT);
}

Test(loan, a_file_that_names_another_owner_is_refused)
{
	struct text text = good;

	text.owner = "{\"kind\":\"vm\",\"vmid\":105}";
	write_file(text);
	expect_unreadable(-EBADMSG);
}

Test(loan, one_unreadable_loan_does_not_hide_the_others)
{
	cleanup(loans_done) struct loans loans = {0};
	struct text text = good;
	auto_free char *written = NULL;

	text.owner = "{\"kind\":\"vm\",\"vmid\":105}";
	written = write_text(text);
	scratch_write(&scratch, FILE_104, "broken");
	scratch_write(&scratch, LOAN_FOLDER "/vm-105.json", written);
	scratch_write(&scratch, LOAN_FOLDER "/.vm-106.json.77.tmp", "half writ");
	scratch_write(&scratch, LOAN_FOLDER "/README", "no loan");
	cr_assert_eq(loans_read(&scratch.root, &loans, NULL), 0);
	cr_assert_eq(loans.count, 1u);
	cr_expect_eq(loans.items[0].owner.vmid, 105u);
	cr_expect_eq(loans.unreadable.status, -EBADMSG);
}

/* ---- functions and steps */

static void add_card(struct loan *loan, const char *slot)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct loan_function function = {.iommu_group = 15};
		struct step step = {.operation = "bind", .state = STEP_DONE};

		snprintf(function.address, sizeof(function.address), "%s.%u", slot, i);
		snprintf(function.home_driver, sizeof(function.home_driver), "home%u", i);
		snprintf(step.subject, sizeof(step.subject), "%s.%u", slot, i);
		cr_assert_eq(loan_add_function(loan, &function), 0);
		cr_assert_not_null(steps_add(&loan->steps, &step));
		strcpy(step.operation, "override");
		cr_assert_not_null(steps_add(&loan->steps, &step));
	}
}

Test(loan, a_moved_function_takes_its_steps_and_its_unknown_fields_along)
{
	cleanup(loan_done) struct loan from = {0}, to = {0};
	auto_free char *written = NULL;
	struct text text = good;

	text.functions = "[{\"address\":\"0000:01:00.0\",\"iommu_group\":15,\"use\":\"taken\","
			 "\"later\":7}]";
	parse(text, &from);
	add_card(&from, "0000:02:00");
	loan_init(&to, VM_104);
	add_card(&to, "0000:03:00");
	cr_assert_eq(loan_move_function(&from, &to, "0000:01:00.0"), 0);
	cr_expect_eq(from.function_count, 2u);
	cr_expect_eq(from.steps.count, 4u);
	cr_expect_null(loan_find(&from, "0000:01:00.0"));
	cr_expect_eq(to.function_count, 3u);
	cr_expect_eq(to.steps.count, 5u);
	cr_expect_str_eq(to.steps.items[4].subject, "0000:01:00.0");
	cr_assert_eq(loan_format(&to, &written, NULL), 0);
	cr_expect_not_null(strstr(written, "\"later\":7"));
}

Test(loan, a_moved_function_replaces_the_one_that_was_only_recorded)
{
	cleanup(loan_done) struct loan from = {0}, to = {0};

	loan_init(&from, VM_104);
	loan_init(&to, VM_104);
	add_card(&from, "0000:01:00");
	add_card(&to, "0000:01:00");
	strcpy(to.functions[0].home_driver, "stale");
	cr_assert_eq(loan_move_function(&from, &to, "0000:01:00.0"), 0);
	cr_expect_eq(to.function_count, 2u);
	cr_expect_eq(to.steps.count, 4u);
	cr_expect_str_eq(loan_find(&to, "0000:01:00.0")->home_driver, "home0");
}

Test(loan, moving_what_is_not_there_changes_nothing)
{
	cleanup(loan_done) struct loan from = {0}, to = {0};

	loan_init(&from, VM_104);
	loan_init(&to, VM_104);
	add_card(&to, "0000:01:00");
	cr_expect_eq(loan_move_function(&from, &to, "0000:01:00.0"), 0);
	cr_expect_eq(to.function_count, 2u);
	cr_expect_eq(to.steps.count, 4u);
}

static void add_step(struct loan *loan, const char *operation, const char *subject)
{
	struct step step = {.state = STEP_DONE};

	snprintf(step.operation, sizeof(step.operation), "%s", operation);
	snprintf(step.subject, sizeof(step.subject), "%s", subject);
	cr_assert_not_null(steps_add(&loan->steps, &step));
}

static void set_group(struct loan *loan, const char *slot, long iommu_group)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		if (pci_same_card(loan->functions[i].address, slot))
			loan->functions[i].iommu_group = iommu_group;
	}
}

/* Two cards, and a step that is no function's: a unit that was stopped. */
static void lend_two_cards(struct loan *loan)
{
	loan_init(loan, VM_104);
	add_step(loan, "unit", "example.service");
	add_card(loan, "0000:01:00");
	add_card(loan, "0000:02:00");
	set_group(loan, "0000:01:00.0", 15);
	set_group(loan, "0000:02:00.0", 16);
}

Test(loan, a_moved_group_keeps_the_order_of_its_steps)
{
	cleanup(loan_done) struct loan from = {0}, to = {0};

	lend_two_cards(&from);
	loan_init(&to, VM_104);
	cr_assert_eq(loan_move_group(&from, &to, 15), 0);
	cr_expect_eq(to.function_count, 2u);
	cr_expect_eq(to.steps.count, 4u);
	cr_expect_str_eq(to.steps.items[0].subject, "0000:01:00.0");
	cr_expect_str_eq(to.steps.items[3].subject, "0000:01:00.1");
	cr_expect_eq(from.function_count, 2u);
	cr_expect_eq(from.steps.count, 5u, "the unit is still the first loan's");
}

Test(loan, the_last_group_takes_along_what_nobody_else_would_undo)
{
	cleanup(loan_done) struct loan from = {0}, to = {0};

	lend_two_cards(&from);
	loan_init(&to, VM_104);
	cr_assert_eq(loan_move_group(&from, &to, 15), 0);
	from.functions[1].use = LOAN_ALTERNATIVE;
	cr_assert_eq(loan_move_group(&from, &to, 16), 0);
	cr_expect_eq(from.function_count, 0u);
	cr_expect_eq(from.steps.count, 0u);
	cr_expect_eq(to.steps.count, 9u);
	cr_expect_str_eq(to.steps.items[4].subject, "example.service", "before the card's");
}

Test(loan, a_dropped_function_takes_its_steps_along)
{
	cleanup(loan_done) struct loan loan = {0};

	loan_init(&loan, VM_104);
	add_card(&loan, "0000:01:00");
	loan_drop_function(&loan, "0000:01:00.0");
	cr_expect_eq(loan.function_count, 1u);
	cr_expect_eq(loan.steps.count, 2u);
	cr_expect_str_eq(loan.steps.items[0].subject, "0000:01:00.1");
	loan_drop_function(&loan, "0000:09:00.0");
	cr_expect_eq(loan.function_count, 1u);
}

Test(loan, alternatives_belong_to_nobody_yet)
{
	struct loan loan;
	const struct loans loans = {.items = &loan, .count = 1};

	loan_init(&loan, VM_104);
	add_card(&loan, "0000:01:00");
	loan.functions[0].use = LOAN_ALTERNATIVE;
	cr_expect_null(loans_find(&loans, "0000:01:00.0"));
	cr_expect_eq(loans_find(&loans, "0000:01:00.1"), &loan);
	loan_done(&loan);
}
