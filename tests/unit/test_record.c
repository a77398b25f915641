/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Records: what is read from JSON and refused, and what comes of a write without memory. */

#include "conf/host/manifest.h"
#include "hooks/attach/attachment.h"
#include "hooks/attach/attachment_edit.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/loan.h"
#include "tests/support/faults.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- without memory */

/* One kind of record, by its text: reads it and writes it down again. */
struct kind {
	const char *name, *text;
	int (*write_again)(const char *text, unsigned long fail, bool all, char **ret, bool *failed,
		struct error *error);
	int (*read_again)(const char *text, unsigned long fail, bool all, char **ret, bool *failed,
		struct error *error);
};

/* Only the writing is without memory. */
#define WRITE_AGAIN(type)                                                                          \
	static int write_##type(const char *text, unsigned long fail, bool all, char **ret,        \
		bool *failed, struct error *error)                                                 \
	{                                                                                          \
		cleanup(type##_done) struct type record = {0};                                     \
		int r = type##_parse(text, &record, error);                                        \
                                                                                                   \
		if (r < 0)                                                                         \
			return r;                                                                  \
		faults_begin(FAULT_MEMORY, fail, all);                                             \
		r = type##_format(&record, ret, error);                                            \
		*failed = faults_end();                                                            \
		return r;                                                                          \
	}

/* Only the reading is. */
#define READ_AGAIN(type)                                                                           \
	static int read_##type(const char *text, unsigned long fail, bool all, char **ret,         \
		bool *failed, struct error *error)                                                 \
	{                                                                                          \
		cleanup(type##_done) struct type record = {0};                                     \
		int r;                                                                             \
                                                                                                   \
		faults_begin(FAULT_MEMORY, fail, all);                                             \
		r = type##_parse(text, &record, error);                                            \
		*failed = faults_end();                                                            \
		return r < 0 ? r : type##_format(&record, ret, error);                             \
	}

WRITE_AGAIN(loan)
WRITE_AGAIN(attachment)
WRITE_AGAIN(manifest)
READ_AGAIN(loan)
READ_AGAIN(attachment)
READ_AGAIN(manifest)

static const struct kind kinds[] = {
	{"loan",
		"{\"schema\":1,\"owner\":{\"kind\":\"vm\",\"vmid\":104},\"state\":\"overdue\","
		"\"since\":\"2026-01-02T03:04:05Z\",\"write_deadline_ms\":30000,"
		"\"slow_write_deadline_ms\":240000,\"return_wait_ms\":30000,"
		"\"child\":{\"pid\":7,\"start_time\":8},\"later\":{\"one\":[1.5,null]},"
		"\"functions\":[{\"address\":\"0000:01:00.0\",\"iommu_group\":15,"
		"\"home_driver\":\"nouveau\",\"home_module\":\"nouveau\",\"use\":\"taken\","
		"\"nodes\":\"card0 /dev/dri/card0\",\"later\":\"a\"},"
		"{\"address\":\"0000:01:00.1\",\"iommu_group\":15,"
		"\"home_driver\":\"snd_hda_intel\",\"target\":\"vfio-pci\",\"use\":\"static\"}],"
		"\"steps\":[{\"operation\":\"bind\",\"subject\":\"0000:01:00.0\","
		"\"argument\":\"vfio-pci\",\"original\":\"nouveau\",\"state\":\"stuck\","
		"\"child\":{\"pid\":9,\"start_time\":10}}]}",
		write_loan, read_loan},
	{"attachment",
		"{\"schema\":1,\"vmid\":104,\"since\":\"2026-01-02T03:04:05Z\",\"later\":true,"
		"\"keys\":[{\"key\":\"cpu\",\"before\":null,\"after\":\"host\"},"
		"{\"key\":\"args\",\"before\":\"-x 'y'\",\"after\":null}],"
		"\"functions\":[{\"address\":\"0000:2b:00.0\",\"vendor_id\":\"10de\","
		"\"device_id\":\"2704\",\"subsystem_vendor_id\":\"1458\","
		"\"subsystem_device_id\":\"40bc\"}]}",
		write_attachment, read_attachment},
	{"manifest",
		"{\"schema\":1,\"edits\":[{\"path\":\"etc/default/grub\",\"mode\":420,"
		"\"original\":\"GRUB_CMDLINE_LINUX_DEFAULT=\\\"quiet\\\"\\n\",\"written\":null,"
		"\"previous\":null},{\"path\":\"etc/modules-load.d/gpu-ferry.conf\",\"mode\":420,"
		"\"original\":null,\"written\":\"vfio\\nvfio-pci\\n\"}],"
		"\"folders\":[\"etc/modules-load.d\",\"etc/modprobe.d\"],\"pending\":3,"
		"\"boot_id\":\"b6c2\"}",
		write_manifest, read_manifest},
};

/* An error, or the text that it would have been with memory. */
static bool is_lost(
	const struct kind *kind, unsigned long fail, bool all, const char *whole, bool *failed)
{
	auto_free char *text = NULL;
	struct error error = {0};
	int r = kind->write_again(kind->text, fail, all, &text, failed, &error);

	if (r < 0)
		return r != -ENOMEM || !error.message[0];
	return strcmp(text, whole) != 0;
}

static void fail_each(const struct kind *kind, bool all)
{
	auto_free char *whole = NULL;
	struct error error = {0};
	unsigned long places = 0, lost = 0;
	bool failed;

	cr_assert_eq(kind->write_again(kind->text, 0, false, &whole, &failed, &error), 0, "%s",
		error.message);
	do {
		places++;
		lost += is_lost(kind, places, all, whole, &failed);
	} while (failed);
	cr_expect_eq(lost, 0u, "%s: %lu of %lu places of a failed allocation%s lose something",
		kind->name, lost, places - 1, all ? " (and all after it)" : "");
	cr_expect_gt(places, 20u, "%s", kind->name);
}

Test(record, a_write_without_memory_is_an_error_and_loses_nothing)
{
	if (!faults_can(FAULT_MEMORY))
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		fail_each(&kinds[i], false);
		fail_each(&kinds[i], true);
	}
}

#define LOST 1
#define NONE_FAILED 2

/* In a process of its own: json-c 0.16 ends it at some places. Then nothing is written either. */
static int read_with_a_failure(const struct kind *kind, unsigned long fail, const char *whole)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		const struct rlimit none = {0};
		char *text = NULL;
		struct error error = {0};
		bool failed = false;
		int r = setrlimit(RLIMIT_CORE, &none);

		r = r < 0 ? r : kind->read_again(kind->text, fail, false, &text, &failed, &error);

		_exit(r == 0 && strcmp(text, whole) != 0 ? LOST : failed ? 0 : NONE_FAILED);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

Test(record, a_read_without_memory_is_no_shorter_record)
{
	if (!faults_can(FAULT_MEMORY))
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		auto_free char *whole = NULL;
		unsigned long places = 0, lost = 0;
		int result;
		bool failed;

		cr_assert_eq(
			kinds[i].write_again(kinds[i].text, 0, false, &whole, &failed, NULL), 0);
		do {
			result = read_with_a_failure(&kinds[i], ++places, whole);
			lost += result == LOST;
		} while (result != NONE_FAILED);
		cr_expect_eq(lost, 0u, "%s: %lu times of %lu it was read, and not whole",
			kinds[i].name, lost, places - 1);
		cr_expect_gt(places, 20u, "%s", kinds[i].name);
	}
}

/* ---- the file */

static char *read_text(const struct scratch *scratch, const char *path)
{
	const struct file_read_options options = {.max = 1u << 20};
	char *text = NULL;

	cr_assert_eq(file_read(&scratch->root, path, &options, &text, NULL, NULL), 0);
	return text;
}

#define LOAN_PATH LOAN_FOLDER "/vm-104.json"

/* Writes the second loan over the first with one allocation that fails. False when none did. */
static bool replace_loan(const struct scratch *scratch, const struct loan *first,
	const struct loan *second, unsigned long fail, bool all)
{
	auto_free char *before = NULL, *wanted = NULL, *after = NULL;
	bool failed;
	int r;

	cr_assert_eq(loan_format(second, &wanted, NULL), 0);
	cr_assert_eq(loan_write(&scratch->root, first, NULL), 0);
	before = read_text(scratch, LOAN_PATH);
	faults_begin(FAULT_MEMORY, fail, all);
	r = loan_write(&scratch->root, second, NULL);
	failed = faults_end();
	after = read_text(scratch, LOAN_PATH);
	cr_expect_str_eq(after, r < 0 ? before : wanted, "place %lu", fail);
	return failed;
}

Test(record, a_file_is_the_old_one_or_the_whole_new_one_wherever_memory_fails)
{
	cleanup(loan_done) struct loan first = {0}, second = {0};
	struct scratch scratch;
	unsigned long places = 0;

	if (!faults_can(FAULT_MEMORY))
		return;
	scratch_init(&scratch);
	cr_assert_eq(loan_parse(kinds[0].text, &first, NULL), 0);
	cr_assert_eq(loan_parse(kinds[0].text, &second, NULL), 0);
	strcpy(second.functions[0].home_driver, "nvidia");
	do {
		places++;
		(void)replace_loan(&scratch, &first, &second, places, true);
	} while (replace_loan(&scratch, &first, &second, places, false));
	cr_expect_gt(places, 50u);
	scratch_done(&scratch);
}

static void expect_refused(const struct scratch *scratch, const struct loan *loan, int status)
{
	auto_free char *before = read_text(scratch, LOAN_PATH), *after = NULL;
	struct error error = {0};

	cr_expect_eq(loan_write(&scratch->root, loan, &error), status, "%s", error.message);
	after = read_text(scratch, LOAN_PATH);
	cr_expect_str_eq(after, before);
}

Test(record, what_no_reader_would_take_replaces_nothing)
{
	cleanup(loan_done) struct loan loan = {0};
	struct scratch scratch;

	scratch_init(&scratch);
	cr_assert_eq(loan_parse(kinds[0].text, &loan, NULL), 0);
	cr_assert_eq(loan_write(&scratch.root, &loan, NULL), 0);
	strcpy(loan.functions[0].address, "01:00");
	expect_refused(&scratch, &loan, -EBADMSG);
	strcpy(loan.functions[0].address, "0000:01:00.0");
	while (loan.steps.count < 2000) {
		struct step step = {.operation = "bind"};

		memset(step.argument, 'a', sizeof(step.argument) - 1);
		memset(step.original, 'b', sizeof(step.original) - 1);
		cr_assert_not_null(steps_add(&loan.steps, &step));
	}
	expect_refused(&scratch, &loan, -EFBIG);
	scratch_done(&scratch);
}

/* What others wrote is put back from here: GRUB's lines, the values of a VM's config. */
Test(record, all_bytes_of_others_come_back)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	cleanup(attachment_done) struct attachment read = {0};
	auto_free char *text = NULL;
	char bytes[256] = "";
	size_t length = 0;

	for (unsigned int i = 1; i < 256; i++) {
		if (i != '\n')
			bytes[length++] = (char)i;
	}
	attachment_init(&attachment, 104);
	cr_assert_eq(attachment_set_key(&attachment, "args", bytes, "x"), 0);
	cr_assert_eq(attachment_format(&attachment, &text, NULL), 0);
	cr_assert_eq(attachment_parse(text, &read, NULL), 0);
	cr_expect_str_eq(attachment_find_key(&read, "args")->before, bytes);
}
