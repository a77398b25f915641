/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/edits.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Three files of a host: one is changed, one removed, one made in a folder that is not there yet.
 */
#define CHANGED "etc/default/grub"
#define REMOVED "etc/modprobe.d/vfio.conf"
#define MADE "etc/default/grub.d/gpu-ferry.cfg"

static struct scratch scratch;

/* The operation that fails, counted from 1 over all; 0: none. With @dies the process ends there. */
static struct {
	unsigned int fails_at;
	bool dies;
	unsigned int calls;
	char refreshed[64];
	int verified;
} fake;

static int count_call(struct error *error)
{
	if (++fake.calls != fake.fails_at)
		return 0;
	if (fake.dies)
		_exit(9);
	return error_set_errno(error, -ENOSPC, "operation %u", fake.calls);
}

static int fake_make_folder(
	const struct root *root, const char *path, mode_t mode, struct error *error)
{
	int r = count_call(error);

	return r < 0 ? r : edit_file_ops.make_folder(root, path, mode, error);
}

static int fake_stage(const struct root *root, const char *path, mode_t mode, const char *text,
	struct error *error)
{
	int r = count_call(error);

	return r < 0 ? r : edit_file_ops.stage(root, path, mode, text, error);
}

static int fake_commit(const struct root *root, const char *path, struct error *error)
{
	int r = count_call(error);

	return r < 0 ? r : edit_file_ops.commit(root, path, error);
}

static int fake_remove(const struct root *root, const char *path, struct error *error)
{
	int r = count_call(error);

	return r < 0 ? r : edit_file_ops.remove(root, path, error);
}

static int fake_refresh(void *context, unsigned int refresh, struct error *error)
{
	int r = count_call(error);

	(void)context;
	if (r == 0)
		strcat(fake.refreshed, refresh == REFRESH_INITRAMFS ? "initramfs " : "boot ");
	return r;
}

static int fake_verify(void *context, struct error *error)
{
	(void)context;
	return fake.verified < 0 ? error_set(error, fake.verified, "not what was meant") : 0;
}

static const struct edit_ops fake_ops = {
	.make_folder = fake_make_folder,
	.stage = fake_stage,
	.commit = fake_commit,
	.remove = fake_remove,
	.refresh = fake_refresh,
	.verify = fake_verify,
};

static void begin(void)
{
	scratch_init(&scratch);
	scratch_write(&scratch, CHANGED, "A=1\nLINE=\"quiet intel_iommu=on\"\nB=2\n");
	scratch_write(&scratch, REMOVED, "options vfio-pci ids=10de:2704\n");
	memset(&fake, 0, sizeof(fake));
}

static void end(void)
{
	scratch_done(&scratch);
}

TestSuite(conf_edits, .init = begin, .fini = end);

/* NULL: no such file. */
static char *text_of(const char *path)
{
	struct file_read_options options = {.max = 65536};
	char *text = NULL;

	(void)file_read(&scratch.root, path, &options, &text, NULL, NULL);
	return text;
}

static void expect_text(const char *path, const char *expected)
{
	auto_free char *text = text_of(path);

	cr_expect_str_eq(text ? text : "(none)", expected, "%s (at %u): '%s', not '%s'", path,
		fake.fails_at, text ? text : "(none)", expected);
}

static void set(struct file_edits *edits, const char *path, const char *text)
{
	struct file_edit *edit = NULL;
	struct error error = {0};

	cr_assert_eq(
		file_edits_open(&scratch.root, path, edits, &edit, &error), 0, "%s", error.message);
	cr_assert_eq(file_edit_set(edit, text), 0);
}

static int apply(struct manifest *manifest, struct file_edits *edits, unsigned int refreshes,
	struct error *error)
{
	struct edit_job job = {.root = &scratch.root,
		.ops = &fake_ops,
		.refreshes = refreshes,
		.boot_id = "this-boot",
		.manifest = manifest};

	return file_edits_apply(&job, edits, error);
}

static int change(struct error *error)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};

	cr_assert_eq(manifest_read(&scratch.root, &manifest, error), 0, "%s", error->message);
	set(&edits, CHANGED, "A=1\nLINE=\"quiet\"\nB=2\n");
	set(&edits, REMOVED, NULL);
	set(&edits, MADE, "ours\n");
	return apply(&manifest, &edits, REFRESH_INITRAMFS | REFRESH_BOOT_LOADER, error);
}

static int undo(struct names *left, struct error *error)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};

	cr_assert_eq(manifest_read(&scratch.root, &manifest, error), 0, "%s", error->message);
	cr_assert_eq(file_edits_undo(&scratch.root, &manifest, &edits, left, error), 0);
	return apply(&manifest, &edits,
		file_edits_have_changes(&edits) ? REFRESH_INITRAMFS | REFRESH_BOOT_LOADER : 0,
		error);
}

static void expect_changed(void)
{
	expect_text(CHANGED, "A=1\nLINE=\"quiet\"\nB=2\n");
	expect_text(REMOVED, "(none)");
	expect_text(MADE, "ours\n");
}

/* Every file below the root but what is there at the beginning. */
static void expect_nothing_else(const char *folder, size_t count)
{
	cleanup(names_done) struct names names = {0};

	(void)folder_list(&scratch.root, folder, &names);
	cr_expect_eq(
		names.count, count, "%s has %zu entries at %u", folder, names.count, fake.fails_at);
}

static void expect_untouched(void)
{
	expect_text(CHANGED, "A=1\nLINE=\"quiet intel_iommu=on\"\nB=2\n");
	expect_text(REMOVED, "options vfio-pci ids=10de:2704\n");
	expect_text(MADE, "(none)");
	expect_nothing_else("etc/default", 1);
	expect_nothing_else("etc/modprobe.d", 1);
}

Test(conf_edits, changes_are_made_and_taken_back_to_the_letter)
{
	cleanup(names_done) struct names left = {0};
	struct error error = {0};
	char path[64];

	snprintf(path, sizeof(path), "%s/" CHANGED, scratch.path);
	cr_assert_eq(chmod(path, 0600), 0);
	cr_assert_eq(change(&error), 0, "%s", error.message);
	expect_changed();
	cr_expect_str_eq(fake.refreshed, "initramfs boot ");
	cr_assert_eq(undo(&left, &error), 0, "%s", error.message);
	expect_untouched();
	cr_expect_str_eq(fake.refreshed, "initramfs boot initramfs boot ");
	cr_expect_eq(left.count, 0u);
	expect_nothing_else("var/lib", 0);
}

Test(conf_edits, a_second_run_changes_nothing)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};
	struct error error = {0};

	cr_assert_eq(change(&error), 0, "%s", error.message);
	cr_assert_eq(manifest_read(&scratch.root, &manifest, &error), 0);
	cr_expect_eq(manifest.count, 3u);
	cr_expect_eq(manifest.pending, 0u);
	cr_expect_str_eq(manifest.boot_id, "this-boot");
	set(&edits, CHANGED, "A=1\nLINE=\"quiet\"\nB=2\n");
	set(&edits, REMOVED, NULL);
	cr_expect_not(file_edits_have_changes(&edits));
}

/* At whichever operation it fails, nothing is half done: all as before, or all done. */
Test(conf_edits, a_failure_of_any_operation_puts_everything_back)
{
	struct error error = {0};
	int r = -1;

	for (unsigned int n = 1; r < 0; n++) {
		cr_assert_lt(n, 60u);
		end();
		begin();
		fake.fails_at = n;
		r = change(&error);
		if (r == 0)
			break;
		expect_untouched();
		expect_nothing_else(MANIFEST_FOLDER, 0);
	}
	expect_changed();
}

static void die_at(unsigned int call, int (*work)(struct error *error), bool *ret_died)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		struct error error = {0};

		fake.fails_at = call;
		fake.dies = true;
		_exit(work(&error) < 0 ? 1 : 0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 1);
	*ret_died = WEXITSTATUS(status) == 9;
}

static int undo_alone(struct error *error)
{
	struct names left = {0};

	return undo(&left, error);
}

Test(conf_edits, killed_at_any_operation_it_can_be_undone)
{
	bool died = true;

	for (unsigned int n = 1; died; n++) {
		cleanup(names_done) struct names left = {0};
		struct error error = {0};

		cr_assert_lt(n, 60u);
		end();
		begin();
		die_at(n, change, &died);
		cr_assert_eq(undo(&left, &error), 0, "at %u: %s", n, error.message);
		cr_expect_eq(left.count, 0u, "at %u", n);
		expect_untouched();
		expect_nothing_else("var/lib", 0);
	}
}

Test(conf_edits, killed_at_any_operation_it_can_be_finished)
{
	bool died = true;

	for (unsigned int n = 1; died; n++) {
		cleanup(names_done) struct names left = {0};
		struct error error = {0};

		cr_assert_lt(n, 60u);
		end();
		begin();
		die_at(n, change, &died);
		cr_assert_eq(change(&error), 0, "at %u: %s", n, error.message);
		expect_changed();
		if (died)
			cr_expect(
				strstr(fake.refreshed, "boot "), "at %u nothing was refreshed", n);
		cr_assert_eq(undo(&left, &error), 0, "at %u: %s", n, error.message);
		expect_untouched();
	}
}

Test(conf_edits, an_undo_killed_at_any_operation_can_be_finished)
{
	bool died = true;

	for (unsigned int n = 1; died; n++) {
		cleanup(names_done) struct names left = {0};
		struct error error = {0};

		cr_assert_lt(n, 60u);
		end();
		begin();
		cr_assert_eq(change(&error), 0, "%s", error.message);
		fake.calls = 0;
		die_at(n, undo_alone, &died);
		cr_assert_eq(undo(&left, &error), 0, "at %u: %s", n, error.message);
		expect_untouched();
		expect_nothing_else("var/lib", 0);
	}
}

Test(conf_edits, what_was_not_meant_is_taken_back)
{
	struct error error = {0};

	fake.verified = -EINVAL;
	cr_expect_eq(change(&error), -EINVAL);
	expect_untouched();
	cr_expect_str_eq(fake.refreshed, "");
}

static int always_fails(void *context, unsigned int refresh, struct error *error)
{
	(void)context;
	(void)refresh;
	return error_set(error, -EIO, "no space left");
}

/* Say, /boot is full: it still is when the old initramfs is to be made again. */
Test(conf_edits, a_refresh_that_keeps_failing_is_owed)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};
	struct error error = {0};
	struct edit_ops ops = fake_ops;
	struct edit_job job = {.root = &scratch.root, .ops = &ops, .manifest = &manifest};

	set(&edits, MADE, "ours\n");
	job.refreshes = REFRESH_INITRAMFS;
	ops.refresh = always_fails;
	cr_expect_eq(file_edits_apply(&job, &edits, &error), -EIO);
	cr_expect(
		strstr(error.message, "the initramfs must still be rebuilt"), "%s", error.message);
	expect_untouched();
	manifest_done(&manifest);
	cr_assert_eq(manifest_read(&scratch.root, &manifest, &error), 0);
	cr_expect_eq(manifest.pending, REFRESH_INITRAMFS);
	file_edits_done(&edits);
	cr_assert_eq(apply(&manifest, &edits, 0, &error), 0, "%s", error.message);
	cr_expect_str_eq(fake.refreshed, "initramfs ");
	expect_nothing_else("var/lib", 0);
}

Test(conf_edits, a_symbolic_link_is_refused)
{
	cleanup(file_edits_done) struct file_edits edits = {0};
	struct file_edit *edit = NULL;
	struct error error = {0};

	scratch_link(&scratch, "etc/kernel/cmdline", "../default/grub");
	cr_expect_eq(file_edits_open(&scratch.root, "etc/kernel/cmdline", &edits, &edit, &error),
		-ELOOP);
	cr_expect(strstr(error.message, "/etc/kernel/cmdline"), "%s", error.message);
}

Test(conf_edits, a_file_that_changes_meanwhile_is_left_alone)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};
	struct error error = {0};

	set(&edits, REMOVED, NULL);
	set(&edits, CHANGED, "x\n");
	scratch_write(&scratch, CHANGED, "somebody's\n");
	cr_expect_eq(apply(&manifest, &edits, 0, &error), -ESTALE);
	expect_text(CHANGED, "somebody's\n");
	expect_text(REMOVED, "options vfio-pci ids=10de:2704\n");
}

Test(conf_edits, what_others_have_changed_since_stays_at_undo)
{
	cleanup(names_done) struct names left = {0};
	struct error error = {0};

	cr_assert_eq(change(&error), 0, "%s", error.message);
	scratch_write(&scratch, CHANGED, "A=2\nLINE=\"quiet splash\"\nB=2\nC=3\n");
	scratch_write(&scratch, MADE, "theirs\nours\n");
	cr_assert_eq(undo(&left, &error), 0, "%s", error.message);
	cr_expect_eq(left.count, 0u);
	expect_text(CHANGED, "A=2\nLINE=\"quiet intel_iommu=on splash\"\nB=2\nC=3\n");
	expect_text(MADE, "theirs\n");
	expect_text(REMOVED, "options vfio-pci ids=10de:2704\n");
	expect_nothing_else("var/lib", 0);
}

Test(conf_edits, what_cannot_be_undone_is_named_and_stays_in_the_manifest)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(names_done) struct names left = {0};
	struct error error = {0};

	cr_assert_eq(change(&error), 0, "%s", error.message);
	scratch_write(&scratch, REMOVED, "options vfio-pci ids=1002:1234\n");
	cr_assert_eq(undo(&left, &error), 0, "%s", error.message);
	cr_assert_eq(left.count, 1u);
	cr_expect(strstr(left.names[0], "/" REMOVED), "%s", left.names[0]);
	expect_text(CHANGED, "A=1\nLINE=\"quiet intel_iommu=on\"\nB=2\n");
	expect_text(REMOVED, "options vfio-pci ids=1002:1234\n");
	cr_assert_eq(manifest_read(&scratch.root, &manifest, &error), 0);
	cr_expect_eq(manifest.count, 1u);
}

/* A second change, after somebody's own: the original then has theirs, and not ours. */
Test(conf_edits, originals_follow_what_others_change)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	cleanup(file_edits_done) struct file_edits edits = {0};
	cleanup(names_done) struct names left = {0};
	struct error error = {0};

	cr_assert_eq(change(&error), 0, "%s", error.message);
	scratch_write(&scratch, CHANGED, "A=1\nLINE=\"quiet\"\nB=2\nC=3\n");
	cr_assert_eq(manifest_read(&scratch.root, &manifest, &error), 0);
	set(&edits, CHANGED, "A=1\nLINE=\"quiet pci=noaer\"\nB=2\nC=3\n");
	cr_assert_eq(apply(&manifest, &edits, 0, &error), 0, "%s", error.message);
	cr_assert_eq(undo(&left, &error), 0, "%s", error.message);
	expect_text(CHANGED, "A=1\nLINE=\"quiet intel_iommu=on\"\nB=2\nC=3\n");
}

/* ---- the file itself */

static void expect_refused(const char *text, int status)
{
	struct manifest manifest = {0};
	struct error error = {0};

	cr_expect_eq(
		manifest_parse(text, &manifest, &error), status, "%s: %s", text, error.message);
	cr_expect(error.message[0]);
}

Test(conf_edits, manifests_that_are_none_are_refused)
{
	expect_refused("", -EBADMSG);
	expect_refused("[]", -EBADMSG);
	expect_refused("{\"schema\":2}", -EPROTONOSUPPORT);
	expect_refused("{\"schema\":1}", -EBADMSG);
	expect_refused("{\"schema\":1,\"edits\":[{\"path\":\"/etc/x\",\"mode\":420,"
		       "\"original\":null,\"written\":\"\"}],\"folders\":[],\"pending\":0,"
		       "\"boot_id\":\"\"}",
		-EBADMSG);
	expect_refused("{\"schema\":1,\"edits\":[{\"path\":\"etc/../../x\",\"mode\":420,"
		       "\"original\":null,\"written\":\"\"}],\"folders\":[],\"pending\":0,"
		       "\"boot_id\":\"\"}",
		-EBADMSG);
}

Test(conf_edits, unknown_fields_of_a_manifest_are_kept)
{
	cleanup(manifest_done) struct manifest manifest = {0};
	auto_free char *text = NULL;

	cr_assert_eq(manifest_parse("{\"schema\":1,\"edits\":[{\"path\":\"etc/x\",\"mode\":420,"
				    "\"original\":null,\"written\":\"a\\u0001\",\"by\":\"me\"}],"
				    "\"folders\":[],\"pending\":0,\"boot_id\":\"\",\"more\":7}",
			     &manifest, NULL),
		0);
	cr_assert_eq(manifest_format(&manifest, &text, NULL), 0);
	cr_expect(strstr(text, "\"more\":7"), "%s", text);
	cr_expect(strstr(text, "\"by\":\"me\""), "%s", text);
}
