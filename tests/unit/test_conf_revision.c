/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/three_way.h"
#include "kmod-helper/base/cleanup.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static void expect_diff(const char *before, const char *after, const char *expected)
{
	auto_free char *diff = NULL;

	cr_assert_eq(revision_diff("etc/f", before, after, &diff, NULL), 0);
	cr_expect_str_eq(diff, expected, "%s", diff);
}

Test(conf_revision, a_change_is_shown_as_diff_does)
{
	expect_diff("a\nb\n", "a\nb\n", "");
	expect_diff("1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nx\n6\n7\n8\n",
		"--- /etc/f\n+++ /etc/f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n");
	expect_diff(NULL, "a\n", "--- /dev/null\n+++ /etc/f\n@@ -0,0 +1 @@\n+a\n");
	expect_diff("a\n", NULL, "--- /etc/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n");
	expect_diff(NULL, "", "--- /dev/null\n+++ /etc/f\n");
	expect_diff("a", "a b",
		"--- /etc/f\n+++ /etc/f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a b\n"
		"\\ No newline at end of file\n");
	expect_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "2\n3\n4\n5\n6\n7\n8\n9\n0\n",
		"--- /etc/f\n+++ /etc/f\n@@ -1,4 +1,3 @@\n-1\n 2\n 3\n 4\n@@ -7,3 +6,4 @@\n 7\n 8\n"
		" 9\n+0\n");
}

static void expect_revert(
	const char *original, const char *written, const char *current, const char *expected)
{
	auto_free char *text = NULL;
	struct error error = {0};
	int r = revision_revert(original, written, current, &text, &error);

	if (!expected) {
		cr_expect_eq(r, -EUCLEAN, "%s", text ? text : "");
		return;
	}
	cr_assert_eq(r, 0, "%s", error.message);
	cr_expect_str_eq(text, expected, "'%s', not '%s'", text, expected);
}

Test(conf_revision, what_others_have_changed_since_stays)
{
	expect_revert("a\nold\nz\n", "a\nnew\nz\n", "a\nnew\nz\n", "a\nold\nz\n");
	expect_revert("a\nold\nz\n", "a\nnew\nz\n", "0\na\nnew\nz\n1\n", "0\na\nold\nz\n1\n");
	expect_revert("a\nb\n", "a\nb\nours\n", "a\nb2\nours\n", "a\nb2\n");
	expect_revert("a\nold\n", "a\n", "a\nmine\n", "a\nold\nmine\n");
	expect_revert("a\nold\n", "a\n", "a\nold\n", "a\nold\n");
	expect_revert("a\nold\n", "a\n", "", "old\n");
	expect_revert("a\nold\nz\n", "a\nz\n", "a\nmine\nz\n", "a\nold\nmine\nz\n");
}

/* /etc/kernel/cmdline is one line, and so is GRUB_CMDLINE_LINUX_DEFAULT. */
Test(conf_revision, lines_that_collide_are_merged_by_words)
{
	expect_revert("root=x quiet\n", "root=x quiet intel_iommu=on\n",
		"root=x quiet intel_iommu=on splash\n", "root=x quiet splash\n");
	expect_revert("root=x quiet", "root=x quiet intel_iommu=on", "root=y quiet intel_iommu=on",
		"root=y quiet");
	expect_revert("A=\"quiet iommu=pt\"\n", "A=\"quiet\"\n", "A=\"quiet splash\"\n",
		"A=\"quiet iommu=pt splash\"\n");
	expect_revert("A=\"quiet iommu=pt\"\nB\n", "A=\"quiet\"\nB\n", "A=\"quiet\"\nC\n",
		"A=\"quiet iommu=pt\"\nC\n");
}

Test(conf_revision, what_was_changed_in_both_ways_is_a_collision_with_its_line)
{
	auto_free char *text = NULL;
	struct error error = {0};

	expect_revert("a\nold\nz\n", "a\nnew\nz\n", "a\nnewer\nz\n", NULL);
	cr_expect_eq(
		revision_revert("a\nold\n", "a\nnew\n", "0\na\nnewer\n", &text, &error), -EUCLEAN);
	cr_expect(strstr(error.message, "line 3,"), "%s", error.message);
	cr_expect_null(text);
}

Test(conf_revision, a_file_of_ours_keeps_what_others_put_into_it)
{
	auto_free char *added = NULL;
	auto_free char *changed = NULL;

	cr_assert_eq(revision_remove("a\nb\nc\n", "0\na\nb\nmine\nc\n", &added, NULL), 0);
	cr_expect_str_eq(added, "0\nmine\n");
	cr_assert_eq(revision_remove("a\nb\nc\n", "a\nB\nc\n", &changed, NULL), 0);
	cr_expect_str_eq(changed, "B\n");
}

Test(conf_revision, texts_too_long_to_compare_are_refused)
{
	size_t length = 16384;
	auto_free char *left = malloc(length + 1);
	auto_free char *right = malloc(length + 1);
	auto_free char *diff = NULL;

	for (size_t i = 0; i < length; i++) {
		left[i] = i % 2 ? '\n' : 'a';
		right[i] = i % 2 ? '\n' : 'b';
	}
	left[length] = right[length] = '\0';
	cr_expect_eq(revision_diff("f", left, right, &diff, NULL), -EFBIG);
	cr_expect_eq(revision_diff("f", left, left, &diff, NULL), 0);
}
