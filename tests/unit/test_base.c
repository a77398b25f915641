/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/names.h"
#include "kmod-helper/base/parse.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

static struct scratch scratch;

static void init(void)
{
	scratch_init(&scratch);
}

static void done(void)
{
	scratch_done(&scratch);
}

TestSuite(file, .init = init, .fini = done);

static mode_t mode_of(const char *path)
{
	struct stat status;

	cr_assert_eq(fstatat(scratch.root.fd, path, &status, AT_SYMLINK_NOFOLLOW), 0);
	return status.st_mode & 07777;
}

/* error */

Test(error, set_returns_the_status_and_keeps_the_line)
{
	struct error error = {0};

	cr_assert_eq(error_set(&error, -ENODEV, "bind %s", "0000:01:00.0"), -ENODEV);
	cr_assert_eq(error.status, -ENODEV);
	cr_assert_str_eq(error.message, "bind 0000:01:00.0");
}

Test(error, set_errno_adds_the_reason)
{
	struct error error = {0};

	error_set_errno(&error, -ENOENT, "read /%s", "etc/x");
	cr_assert_str_eq(error.message, "read /etc/x: No such file or directory");
}

Test(error, wrap_says_first_what_was_being_done)
{
	struct error error = {0};

	error_set(&error, -EIO, "write failed");
	cr_assert_eq(error_wrap(&error, -EBUSY, "take VM %d", 104), -EBUSY);
	cr_assert_eq(error.status, -EBUSY);
	cr_assert_str_eq(error.message, "take VM 104: write failed");
}

Test(error, nobody_listening_is_fine)
{
	cr_assert_eq(error_set(NULL, -EIO, "x"), -EIO);
	cr_assert_eq(error_set_errno(NULL, -EIO, "x"), -EIO);
	cr_assert_eq(error_wrap(NULL, -EIO, "x"), -EIO);
}

Test(error, a_message_too_long_is_cut_and_ends)
{
	char text[2 * ERROR_MESSAGE_SIZE];
	struct error error = {0};

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&error, -EIO, "%s", text);
	cr_assert_eq(strlen(error.message), ERROR_MESSAGE_SIZE - 1);
	error_wrap(&error, -EIO, "%s", text);
	cr_assert_eq(strlen(error.message), ERROR_MESSAGE_SIZE - 1);
	error_set_errno(&error, -EIO, "%s", text);
	cr_assert_eq(strlen(error.message), ERROR_MESSAGE_SIZE - 1);
}

/* parse */

Test(parse, unsigned_takes_the_whole_text_or_nothing)
{
	static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1a", "1.0"};
	unsigned long long value = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(parse_unsigned(bad[i], 10, 100, &value), -EINVAL, "'%s'", bad[i]);
		cr_assert_eq(value, 7, "untouched after '%s'", bad[i]);
	}
	cr_assert_eq(parse_unsigned("0042", 10, 100, &value), 0);
	cr_assert_eq(value, 42);
	cr_assert_eq(parse_unsigned("fF", 16, 0xff, &value), 0);
	cr_assert_eq(value, 255);
}

Test(parse, unsigned_holds_its_maximum_exactly)
{
	unsigned long long value = 7;

	cr_assert_eq(parse_unsigned("100", 10, 100, &value), 0);
	cr_assert_eq(parse_unsigned("101", 10, 100, &value), -ERANGE);
	cr_assert_eq(parse_unsigned("5", 10, 3, &value), -ERANGE);
	cr_assert_eq(parse_unsigned("18446744073709551615", 10, ~0ull, &value), 0);
	cr_assert_eq(value, ~0ull);
	cr_assert_eq(parse_unsigned("18446744073709551616", 10, ~0ull, &value), -ERANGE);
	cr_assert_eq(value, ~0ull);
}

Test(parse, vmid_is_what_proxmox_takes)
{
	static const char *const bad[] = {
		"", "0", "99", "012", "0104", "1000000000", "104 ", " 104", "10a", "-104", "104\n"};
	unsigned int vmid = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(parse_vmid(bad[i], &vmid), -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(vmid, 7);
	cr_assert_eq(parse_vmid("100", &vmid), 0);
	cr_assert_eq(vmid, 100);
	cr_assert_eq(parse_vmid("999999999", &vmid), 0);
	cr_assert_eq(vmid, 999999999);
}

Test(parse, a_character_is_what_rfc_3629_says)
{
	static const char *const bad[] = {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80",
		"\xe2\x82", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xff"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(text_character_length(bad[i], strlen(bad[i])), 0, "case %zu", i);
	cr_assert_eq(text_character_length("\xf0\x9f\x9a\xa2", 4), 4);
	cr_assert_eq(text_character_length("\xf0\x9f\x9a\xa2", 3), 0);
	cr_assert_eq(text_character_length("m\xc3\xbc", 3), 1);
	cr_assert_eq(text_character_length("\xc3\xbc", 2), 2);
}

Test(parse, trim_cuts_both_ends)
{
	char text[] = " \t a b \r\n";
	char blank[] = " \n";

	cr_assert_str_eq(text_trim(text), "a b");
	cr_assert_str_eq(text_trim(blank), "");
}

/* file */

Test(parse, line_keeps_text_and_loses_what_a_terminal_would_obey)
{
	char kept[] = "RTX 4080, \xed\x95\x9c\xea\xb8\x80 \xe2\x80\xa6";
	char escape[] = "a\033[2Jb\nc\177";
	char c1[] = "a\xc2\x9b"
		    "2Jb";
	char direction[] = "a\xe2\x80\xae"
			   "b\xe2\x81\xa6";
	char latin_1[] = "Caf\xe9";
	char cut[] = "a\xe2\x80";

	text_make_line(kept);
	cr_expect_str_eq(kept, "RTX 4080, \xed\x95\x9c\xea\xb8\x80 \xe2\x80\xa6");
	text_make_line(escape);
	cr_expect_str_eq(escape, "a?[2Jb?c?");
	text_make_line(c1);
	cr_expect_str_eq(c1,
		"a?"
		"?2Jb");
	text_make_line(direction);
	cr_expect_str_eq(direction,
		"a?"
		"??b?"
		"??");
	text_make_line(latin_1);
	cr_expect_str_eq(latin_1, "Caf?");
	text_make_line(cut);
	cr_expect_str_eq(cut, "a??");
}

Test(file, attribute_loses_one_newline_only)
{
	char buffer[8];

	scratch_write(&scratch, "sys/one", "vfio\n");
	scratch_write(&scratch, "sys/two", "a\n\n");
	scratch_write(&scratch, "sys/empty", "");
	cr_assert_eq(file_read_attribute(&scratch.root, "sys/one", buffer, 8), 4);
	cr_assert_str_eq(buffer, "vfio");
	cr_assert_eq(file_read_attribute(&scratch.root, "sys/two", buffer, 8), 2);
	cr_assert_str_eq(buffer, "a\n");
	cr_assert_eq(file_read_attribute(&scratch.root, "sys/empty", buffer, 8), 0);
	cr_assert_str_eq(buffer, "");
}

Test(file, attribute_that_does_not_fit_is_no_half_answer)
{
	char buffer[4];

	scratch_write(&scratch, "four", "abcd");
	scratch_write(&scratch, "three", "abc");
	memset(buffer, 'x', sizeof(buffer));
	cr_assert_eq(file_read_attribute(&scratch.root, "four", buffer, 4), -EFBIG);
	/* a caller that prints it all the same prints no more than it */
	cr_assert_eq(memcmp(buffer, "abc", 4), 0);
	cr_assert_eq(file_read_attribute(&scratch.root, "three", buffer, 4), 3);
	cr_assert_eq(file_read_attribute(&scratch.root, "none", buffer, 4), -ENOENT);
}

Test(file, links_stay_inside_the_root)
{
	char buffer[64];

	scratch_write(&scratch, "etc/inside", "inside");
	scratch_link(&scratch, "absolute", "/etc/inside");
	scratch_link(&scratch, "upwards", "../../../../etc/inside");
	scratch_link(&scratch, "outside", "/etc/passwd");
	cr_assert_eq(file_read_attribute(&scratch.root, "absolute", buffer, 64), 6);
	cr_assert_eq(file_read_attribute(&scratch.root, "upwards", buffer, 64), 6);
	cr_assert_eq(file_read_attribute(&scratch.root, "outside", buffer, 64), -ENOENT);
}

static int check_program(const char *path, const char *says)
{
	struct error error = {0};
	int r = file_check_program(&scratch.root, path, &error);

	cr_expect(!says || strstr(error.message, says), "%s: %s", path, error.message);
	return r;
}

Test(file, a_program_for_root_is_roots_from_the_start_of_its_path)
{
	scratch_write(&scratch, "etc/d/x", "#!/bin/sh\n");
	cr_expect_eq(check_program("/etc/d/x", "it is no executable file"), -EACCES);
	cr_assert_eq(fchmodat(scratch.root.fd, "etc/d/x", 0755, 0), 0);
	cr_expect_eq(check_program("/etc/d/x", NULL), 0);
	cr_expect_eq(check_program("/etc/d", "it is no executable file"), -EACCES);
	cr_expect_eq(check_program("/etc/d/none", "look at /etc/d/none"), -ENOENT);
	cr_assert_eq(fchmodat(scratch.root.fd, "etc/d/x", 0775, 0), 0);
	cr_expect_eq(check_program("/etc/d/x", "/etc/d/x must belong to root"), -EPERM);
	cr_assert_eq(fchmodat(scratch.root.fd, "etc/d/x", 0755, 0), 0);
	cr_assert_eq(fchmodat(scratch.root.fd, "etc/d", 0777, 0), 0);
	cr_expect_eq(check_program("/etc/d/x", "/etc/d must belong to root"), -EPERM);
	cr_assert_eq(fchmodat(scratch.root.fd, "etc/d", 0755, 0), 0);
	scratch_link(&scratch, "etc/link", "/etc/d");
	cr_expect_eq(check_program("/etc/link/x", "/etc/link is a link"), -EPERM);
}

Test(file, read_refuses_what_is_no_regular_file)
{
	const struct file_read_options options = {.max = 100};
	struct error error = {0};
	char *text = NULL;

	cr_assert_eq(mkfifoat(scratch.root.fd, "fifo", 0600), 0);
	cr_assert_eq(mkdirat(scratch.root.fd, "folder", 0700), 0);
	cr_assert_eq(file_read(&scratch.root, "fifo", &options, &text, NULL, &error), -ENXIO);
	cr_assert_str_eq(error.message, "read /fifo: it is not a regular file");
	cr_assert_eq(file_read(&scratch.root, "folder", &options, &text, NULL, &error), -EISDIR);
	cr_assert_null(text);
}

Test(file, read_holds_its_limit_exactly)
{
	auto_free char *text = NULL;
	size_t length = 0;

	scratch_write(&scratch, "five", "abcde");
	cr_assert_eq(file_read(&scratch.root, "five", &(struct file_read_options){.max = 4}, &text,
			     &length, NULL),
		-EFBIG);
	cr_assert_null(text);
	cr_assert_eq(file_read(&scratch.root, "five", &(struct file_read_options){.max = 5}, &text,
			     &length, NULL),
		0);
	cr_assert_str_eq(text, "abcde");
	cr_assert_eq(length, 5);
}

Test(file, read_refuses_a_file_that_others_can_write)
{
	const struct file_read_options options = {.max = 100, .require_owner = true};
	auto_free char *text = NULL;
	struct error error = {0};

	scratch_write(&scratch, "conf", "x");
	cr_assert_eq(fchmodat(scratch.root.fd, "conf", 0664, 0), 0);
	cr_assert_eq(file_read(&scratch.root, "conf", &options, &text, NULL, &error), -EPERM);
	cr_assert_not_null(strstr(error.message, "/conf"));
	cr_assert_eq(fchmodat(scratch.root.fd, "conf", 0644, 0), 0);
	cr_assert_eq(file_read(&scratch.root, "conf", &options, &text, NULL, &error), 0);
}

/* What the file's writer calls a text: whoever shows it cleans it. */
Test(file, read_refuses_a_nul_and_takes_all_other_bytes)
{
	const struct file_read_options options = {.max = 300, .refuse_nul = true};
	auto_free char *text = NULL;
	char *untouched = NULL;
	char bytes[256] = "";
	auto_close int fd = -1;

	for (unsigned int i = 1; i < sizeof(bytes); i++)
		bytes[i - 1] = (char)i;
	scratch_write(&scratch, "bytes", bytes);
	cr_assert_eq(file_read(&scratch.root, "bytes", &options, &text, NULL, NULL), 0);
	cr_assert_str_eq(text, bytes);
	fd = openat(scratch.root.fd, "bytes", O_WRONLY | O_CLOEXEC);
	cr_assert_eq(ftruncate(fd, sizeof(bytes)), 0);
	cr_assert_eq(file_read(&scratch.root, "bytes", &options, &untouched, NULL, NULL), -EILSEQ);
	cr_assert_null(untouched);
}

Test(file, replace_sets_the_mode_whatever_the_umask)
{
	char buffer[16];

	umask(0077);
	cr_assert_eq(file_replace(&scratch.root, "loan", 0644, "one", NULL), 0);
	cr_assert_eq(file_replace(&scratch.root, "loan", 0640, "two", NULL), 0);
	cr_assert_eq(mode_of("loan"), 0640);
	file_read_attribute(&scratch.root, "loan", buffer, sizeof(buffer));
	cr_assert_str_eq(buffer, "two");
}

Test(file, replace_leaves_nothing_behind_when_it_fails)
{
	cleanup(names_done) struct names names = {0};
	struct error error = {0};

	/* a folder that is not empty cannot be replaced by a file */
	scratch_write(&scratch, "here/target/file", "x");
	cr_assert_lt(file_replace(&scratch.root, "here/target", 0644, "y", &error), 0);
	cr_assert_not_null(strstr(error.message, "write /here/target"));
	cr_assert_eq(folder_list(&scratch.root, "here", &names), 0);
	cr_assert_eq(names.count, 1);
	cr_assert_str_eq(names.names[0], "target");
}

Test(file, remove_of_what_is_not_there_is_done)
{
	scratch_write(&scratch, "a/file", "x");
	cr_assert_eq(file_remove(&scratch.root, "a/file", NULL), 0);
	cr_assert_eq(file_remove(&scratch.root, "a/file", NULL), 0);
	cr_assert_eq(file_remove(&scratch.root, "no/such/folder", NULL), 0);
}

Test(file, folder_is_made_with_its_parents)
{
	umask(0077);
	cr_assert_eq(folder_make(&scratch.root, "run/gpu-ferry/loans", 0755, NULL), 0);
	cr_assert_eq(mode_of("run/gpu-ferry/loans"), 0755);
	cr_assert_eq(mode_of("run/gpu-ferry"), 0755);
	cr_assert_eq(folder_make(&scratch.root, "run/gpu-ferry/loans", 0755, NULL), 0);
}

Test(file, folder_that_others_can_write_is_refused)
{
	struct error error = {0};

	cr_assert_eq(mkdirat(scratch.root.fd, "open", 0700), 0);
	cr_assert_eq(fchmodat(scratch.root.fd, "open", 0777, 0), 0);
	cr_assert_eq(folder_make(&scratch.root, "open", 0755, &error), -EPERM);
	cr_assert_not_null(strstr(error.message, "/open"));
}

Test(file, link_name_is_the_last_component)
{
	char name[16];

	scratch_link(&scratch, "driver", "../../bus/pci/drivers/vfio-pci");
	scratch_link(&scratch, "plain", "target");
	cr_assert_eq(link_read_name(&scratch.root, "driver", name, sizeof(name)), 0);
	cr_assert_str_eq(name, "vfio-pci");
	cr_assert_eq(link_read_name(&scratch.root, "plain", name, sizeof(name)), 0);
	cr_assert_str_eq(name, "target");
	cr_assert_eq(link_read_name(&scratch.root, "none", name, sizeof(name)), -ENOENT);
	cr_assert_eq(link_read_name(&scratch.root, "driver", name, 8), -ENAMETOOLONG);
}

Test(file, list_is_sorted_and_has_no_dots)
{
	cleanup(names_done) struct names names = {0};

	scratch_write(&scratch, "list/b", "");
	scratch_write(&scratch, "list/a", "");
	scratch_write(&scratch, "list/c", "");
	cr_assert_eq(folder_list(&scratch.root, "list", &names), 0);
	cr_assert_eq(names.count, 3);
	cr_assert_str_eq(names.names[0], "a");
	cr_assert_str_eq(names.names[2], "c");
	cr_assert_eq(folder_list(&scratch.root, "none", &names), -ENOENT);
}

Test(file, live_root_is_known_by_itself)
{
	struct root root;

	cr_assert_eq(root_open("/", &root, NULL), 0);
	cr_assert(root.live);
	cr_assert_not(scratch.root.live);
	root_close(&root);
	cr_assert_eq(root_open("/no/such/root", &root, NULL), -ENOENT);
}

/* lists */

Test(list, items_are_added_as_zeros_behind_those_that_are_there)
{
	struct pair {
		size_t left, right;
	} *items = NULL;
	size_t count = 0;

	for (size_t i = 0; i < 1000; i++) {
		struct pair *added = LIST_ADD(items, count);

		cr_assert_eq(added, &items[i]);
		cr_assert_eq(count, i + 1);
		cr_assert_eq(added->left + added->right, 0u);
		added->left = added->right = i;
	}
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(items[i].left, i);
	free(items);
}

Test(list, an_array_that_was_made_otherwise_or_shrank_grows)
{
	size_t count = 5;
	int *items = calloc(count, sizeof(*items));
	int *added;

	while (count < 9) {
		added = LIST_ADD(items, count);
		cr_assert_not_null(added);
		*added = 1;
	}
	count = 1;
	added = LIST_ADD(items, count);
	cr_assert_not_null(added);
	cr_expect_eq(added, &items[1]);
	cr_expect_eq(count, 2u);
	free(items);
}

Test(list, more_than_there_can_be_is_refused_and_nothing_changes)
{
	size_t count = SIZE_MAX - 1;
	int one = 1, *items = &one;

	cr_expect_null(LIST_ADD(items, count));
	cr_expect_eq(items, &one);
	cr_expect_eq(count, SIZE_MAX - 1);
}

Test(names, are_found_whole_and_added_once)
{
	cleanup(names_done) struct names names = {0};

	cr_expect_not(names_have(&names, "nvidia"));
	cr_assert_eq(names_add(&names, "nvidia_drm"), 0);
	cr_assert_eq(names_add_once(&names, "nvidia"), 0);
	cr_assert_eq(names_add_once(&names, "nvidia"), 0);
	cr_expect_eq(names.count, 2u);
	cr_expect(names_have(&names, "nvidia"));
	cr_expect_not(names_have(&names, "nvidia_"));
	names_sort(&names);
	cr_expect_str_eq(names.names[0], "nvidia");
}
