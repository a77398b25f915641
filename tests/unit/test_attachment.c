/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/attach/attachment_edit.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_104 ATTACHMENT_FOLDER "/vm-104.json"
#define KEY "{\"key\":\"cpu\",\"before\":null,\"after\":\"host\"}"
#define FUNCTION                                                                                   \
	"{\"address\":\"0000:2b:00.0\",\"vendor_id\":\"10de\",\"device_id\":\"2704\","             \
	"\"subsystem_vendor_id\":\"1458\",\"subsystem_device_id\":\"40bc\"}"

static const struct pci_function card = {
	.address = "0000:2b:00.0",
	.vendor_id = 0x10de,
	.device_id = 0x2704,
	.subsystem_vendor_id = 0x1458,
	.subsystem_device_id = 0x40bc,
};

/* A record with these parts. */
static char *write_text(
	const char *schema, const char *vmid, const char *keys, const char *functions)
{
	char *ret = NULL;

	cr_assert_geq(asprintf(&ret,
			      "{\"schema\":%s,\"vmid\":%s,\"since\":\"2026-01-02T03:04:05Z\","
			      "\"keys\":%s,\"functions\":%s}",
			      schema, vmid, keys, functions),
		0);
	return ret;
}

static void expect_refused(
	int status, const char *schema, const char *vmid, const char *keys, const char *functions)
{
	auto_free char *text = write_text(schema, vmid, keys, functions);
	struct attachment attachment = {.vmid = 7};
	struct error error = {0};

	cr_expect_eq(
		attachment_parse(text, &attachment, &error), status, "%s: %s", text, error.message);
	cr_expect_str_not_empty(error.message);
	cr_expect_eq(attachment.vmid, 7u, "touched on failure");
}

Test(attachment, what_stood_there_first_is_kept)
{
	cleanup(attachment_done) struct attachment attachment;

	attachment_init(&attachment, 104);
	cr_assert_eq(attachment_set_key(&attachment, "cpu", "kvm64", "host"), 0);
	cr_assert_eq(attachment_set_key(&attachment, "cpu", "host", "host,hidden=1"), 0);
	cr_expect_str_eq(attachment_find_key(&attachment, "cpu")->before, "kvm64");
	cr_expect_str_eq(attachment_find_key(&attachment, "cpu")->after, "host,hidden=1");
	cr_expect_eq(attachment.key_count, 1u);
}

Test(attachment, what_somebody_set_since_counts_as_first)
{
	cleanup(attachment_done) struct attachment attachment;

	attachment_init(&attachment, 104);
	cr_assert_eq(attachment_set_key(&attachment, "cpu", NULL, "host"), 0);
	cr_assert_eq(attachment_set_key(&attachment, "cpu", "EPYC", "EPYC,hidden=1"), 0);
	cr_expect_str_eq(attachment_find_key(&attachment, "cpu")->before, "EPYC");
	cr_assert_eq(attachment_set_key(&attachment, "cpu", NULL, "host"), 0);
	cr_expect_null(attachment_find_key(&attachment, "cpu")->before);
}

Test(attachment, only_the_hookscript_of_somebody_else_is_chained)
{
	static const struct {
		const char *before, *chained;
	} rows[] = {
		{"local:snippets/other", "local:snippets/other"},
		{"nas:snippets/gpu-ferry.pl", "nas:snippets/gpu-ferry.pl"},
		{"local:snippets/gpu-ferry", NULL},
		{"nas:snippets/gpu-ferry-chain", NULL},
		{NULL, NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		cleanup(attachment_done) struct attachment attachment;

		attachment_init(&attachment, 104);
		cr_expect_null(attachment_chained(&attachment));
		cr_assert_eq(attachment_set_key(&attachment, "hookscript", rows[i].before,
				     "local:snippets/gpu-ferry-chain"),
			0);
		cr_expect(rows[i].chained
				? strcmp(attachment_chained(&attachment), rows[i].chained) == 0
				: !attachment_chained(&attachment),
			"row %zu", i);
	}
}

Test(attachment, another_card_at_the_address_is_refused_and_attach_accepts_it)
{
	cleanup(attachment_done) struct attachment attachment;
	struct pci_function others[4] = {card, card, card, card};
	struct pci_function neighbour = {.address = "0000:2b:00.1", .vendor_id = 1};

	others[0].vendor_id = 0x1002;
	others[1].device_id = 0x2705;
	others[2].subsystem_vendor_id = 0x1043;
	others[3].subsystem_device_id = 0;
	attachment_init(&attachment, 104);
	cr_expect_eq(attachment_check_function(&attachment, &card, NULL), 0, "no record");
	cr_assert_eq(attachment_set_function(&attachment, &card), 0);
	cr_expect_eq(attachment_check_function(&attachment, &card, NULL), 0);
	cr_expect_eq(attachment_check_function(&attachment, &neighbour, NULL), 0);
	for (size_t i = 0; i < 4; i++) {
		struct error error = {0};

		cr_expect_eq(attachment_check_function(&attachment, &others[i], &error), -ESTALE);
		cr_expect(strstr(error.message, "0000:2b:00.0"), "%s", error.message);
		cr_expect(strstr(error.message, "10de:2704"), "%s", error.message);
	}
	cr_assert_eq(attachment_set_function(&attachment, &others[0]), 0);
	cr_expect_eq(attachment_check_function(&attachment, &others[0], NULL), 0);
	cr_expect_eq(attachment.function_count, 1u);
}

Test(attachment, all_of_it_comes_back_from_its_file_and_is_roots_alone)
{
	cleanup(attachment_done) struct attachment attachment, again = {0};
	struct scratch scratch;
	struct stat status;
	char path[PATH_MAX];

	scratch_init(&scratch);
	scratch_write(&scratch, "var/lib/x", "");
	attachment_init(&attachment, 104);
	cr_expect_eq(attachment_read(&scratch.root, 104, &again, NULL), -ENOENT);
	cr_assert_eq(attachment_set_key(&attachment, "args", "-x 'y'", NULL), 0);
	cr_assert_eq(attachment_set_function(&attachment, &card), 0);
	cr_assert_eq(attachment_write(&scratch.root, &attachment, NULL), 0);
	cr_assert_eq(attachment_read(&scratch.root, 104, &again, NULL), 0);
	cr_expect_str_eq(again.since, attachment.since);
	cr_expect_str_eq(attachment_find_key(&again, "args")->before, "-x 'y'");
	cr_expect_null(attachment_find_key(&again, "args")->after);
	cr_expect_eq(attachment_check_function(&again, &card, NULL), 0);
	snprintf(path, sizeof(path), "%s/" FILE_104, scratch.path);
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_mode & 07777, 0600u);
	snprintf(path, sizeof(path), "%s/var/lib/gpu-ferry", scratch.path);
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_mode & 07777, 0700u);
	cr_assert_eq(attachment_remove(&scratch.root, 104, NULL), 0);
	cr_expect_eq(attachment_remove(&scratch.root, 104, NULL), 0, "what is not there");
	scratch_done(&scratch);
}

Test(attachment, what_a_killed_writer_left_goes_with_the_next)
{
	static const char left[] = "var/lib/gpu-ferry/attachments/.vm-104.json.4242.tmp";
	static const char other[] = "var/lib/gpu-ferry/attachments/.vm-105.json.4242.tmp";
	cleanup(attachment_done) struct attachment attachment;
	struct scratch scratch;

	attachment_init(&attachment, 104);
	scratch_init(&scratch);
	scratch_write(&scratch, left, "{");
	scratch_write(&scratch, other, "{");
	cr_assert_eq(attachment_write(&scratch.root, &attachment, NULL), 0);
	cr_expect_eq(faccessat(scratch.root.fd, left, F_OK, 0), -1);
	scratch_write(&scratch, left, "{");
	cr_assert_eq(attachment_remove(&scratch.root, 104, NULL), 0);
	cr_expect_eq(faccessat(scratch.root.fd, left, F_OK, 0), -1);
	cr_expect_eq(faccessat(scratch.root.fd, other, F_OK, 0), 0, "somebody may be writing it");
	scratch_done(&scratch);
}

Test(attachment, fields_of_a_later_version_are_kept)
{
	cleanup(attachment_done) struct attachment attachment = {0};
	auto_free char *text = NULL;

	cr_assert_eq(attachment_parse("{\"schema\":1,\"vmid\":104,\"since\":\"x\",\"later\":[1],"
				      "\"keys\":[{\"key\":\"cpu\",\"before\":null,\"after\":null,"
				      "\"who\":\"me\"}],\"functions\":[]}",
			     &attachment, NULL),
		0);
	cr_assert_eq(attachment_set_key(&attachment, "cpu", NULL, "host"), 0);
	cr_assert_eq(attachment_format(&attachment, &text, NULL), 0);
	cr_expect(strstr(text, "\"later\""), "%s", text);
	cr_expect(strstr(text, "\"who\""), "%s", text);
	cr_expect(strstr(text, "\"host\""), "%s", text);
}

Test(attachment, what_is_no_record_is_refused)
{
	static const char *const keys[] = {"null", "{}", "[1]", "[{}]",
		"[{\"key\":\"\",\"before\":null,\"after\":null}]",
		"[{\"key\":\"-x\",\"before\":null,\"after\":null}]",
		"[{\"key\":\"cpu\",\"before\":1,\"after\":null}]",
		"[{\"key\":\"cpu\",\"before\":\"a\\nb\",\"after\":null}]",
		"[{\"key\":\"cpu\",\"before\":\"a\\u0000b\",\"after\":null}]", "[" KEY "," KEY "]"};
	static const char *const functions[] = {"null", "[null]", "[{}]",
		"[{\"address\":\"2b:00.0\",\"vendor_id\":\"10de\",\"device_id\":\"2704\","
		"\"subsystem_vendor_id\":\"1458\",\"subsystem_device_id\":\"40bc\"}]",
		"[{\"address\":\"0000:2b:00.0\",\"vendor_id\":\"10de0\",\"device_id\":\"2704\","
		"\"subsystem_vendor_id\":\"1458\",\"subsystem_device_id\":\"40bc\"}]",
		"[" FUNCTION "," FUNCTION "]"};
	struct attachment attachment;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		expect_refused(-EBADMSG, "1", "104", keys[i], "[]");
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
		expect_refused(-EBADMSG, "1", "104", "[]", functions[i]);
	expect_refused(-EBADMSG, "0", "104", "[]", "[]");
	expect_refused(-EBADMSG, "1", "-1", "[]", "[]");
	expect_refused(-EBADMSG, "1", "\"104\"", "[]", "[]");
	expect_refused(-EPROTONOSUPPORT, "2", "104", "[]", "[]");
	cr_expect_eq(attachment_parse("[", &attachment, NULL), -EBADMSG);
	cr_expect_eq(attachment_parse("[]", &attachment, NULL), -EBADMSG);
}

Test(attachment, a_file_of_another_vm_or_that_others_may_write_is_refused)
{
	auto_free char *text = write_text("1", "105", "[]", "[]");
	cleanup(attachment_done) struct attachment attachment = {0};
	struct error error = {0};
	struct scratch scratch;
	char path[PATH_MAX];

	scratch_init(&scratch);
	scratch_write(&scratch, FILE_104, text);
	snprintf(path, sizeof(path), "%s/" FILE_104, scratch.path);
	cr_assert_eq(chmod(path, 0600), 0);
	cr_expect_eq(attachment_read(&scratch.root, 104, &attachment, &error), -EBADMSG);
	cr_expect(strstr(error.message, FILE_104), "%s", error.message);
	cr_assert_eq(chmod(path, 0620), 0);
	cr_expect_eq(attachment_read(&scratch.root, 104, &attachment, &error), -EPERM);
	scratch_done(&scratch);
}

Test(attachment, records_are_listed_in_order_and_other_files_are_not)
{
	static const char *const names[] = {"vm-1000.json", "vm-104.json", "storage.json",
		".vm-105.json.1.tmp", "vm-99.json", "vm-0106.json", "vm-107", "vm-.json"};
	auto_free unsigned int *vmids = NULL;
	struct scratch scratch;
	size_t count = 0;

	scratch_init(&scratch);
	cr_assert_eq(attachments_list(&scratch.root, &vmids, &count, NULL), 0);
	cr_expect_eq(count, 0u);
	free(TAKE_PTR(vmids));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), ATTACHMENT_FOLDER "/%s", names[i]);
		scratch_write(&scratch, path, "");
	}
	cr_assert_eq(attachments_list(&scratch.root, &vmids, &count, NULL), 0);
	cr_assert_eq(count, 2u);
	cr_expect_eq(vmids[0], 104u);
	cr_expect_eq(vmids[1], 1000u);
	scratch_done(&scratch);
}
