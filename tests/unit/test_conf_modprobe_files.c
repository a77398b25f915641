/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/kernel_arguments.h"
#include "conf/host/modprobe_files.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <string.h>

static void expect_line(const struct modprobe_files *files, size_t index, const char *text)
{
	const struct modprobe_line *line = &files->lines[index];
	char found[512];

	cr_assert_lt(index, files->count, "there is no line %zu", index);
	snprintf(found, sizeof(found), "%s:%u+%u %s %s|%s", line->path, line->line,
		line->line_count, modprobe_kind_name(line->kind), line->module, line->arguments);
	cr_expect_str_eq(found, text, "%s, not %s", found, text);
}

Test(conf_modprobe_files, lines_have_kind_module_arguments_and_place)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};

	cr_assert_eq(modprobe_text_parse("f",
			     "# options no no=1\n"
			     "\n"
			     "options vfio-pci ids=10de:2704,10de:22bb  disable_vga=1 \n"
			     "  blacklist\tnvidia-drm # that too\n"
			     "softdep nouveau pre: vfio-pci\n"
			     "install nvidia \\\n  /bin/false\n"
			     "alias pci:v000010DE-x[a-b]-y nou-veau\n"
			     "remove a b\n"
			     "weakdep a b",
			     &files),
		0);
	cr_assert_eq(files.count, 7u);
	expect_line(&files, 0, "f:3+1 options vfio_pci|ids=10de:2704,10de:22bb  disable_vga=1");
	expect_line(&files, 1, "f:4+1 blacklist nvidia_drm|# that too");
	expect_line(&files, 2, "f:5+1 softdep nouveau|pre: vfio-pci");
	expect_line(&files, 3, "f:6+2 install nvidia|/bin/false");
	expect_line(&files, 4, "f:8+1 alias pci:v000010DE_x[a-b]_y|nou-veau");
	expect_line(&files, 5, "f:9+1 remove a|b");
	expect_line(&files, 6, "f:10+1 weakdep a|b");
}

Test(conf_modprobe_files, what_modprobe_ignores_is_left_out)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};

	cr_assert_eq(modprobe_text_parse("f",
			     "blacklist\noptions a\ninstall a\nalias a\nBlacklist a\nfoo a b\n"
			     "include /etc\n  # blacklist a\n\\\n\\",
			     &files),
		0);
	cr_expect_eq(files.count, 0u);
}

Test(conf_modprobe_files, earlier_folders_hide_names_and_names_decide_the_order)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};
	struct scratch scratch;

	scratch_init(&scratch);
	scratch_write(&scratch, "etc/modprobe.d/z.conf", "blacklist z\n");
	scratch_write(&scratch, "etc/modprobe.d/b.conf", "blacklist b\n");
	scratch_write(&scratch, "run/modprobe.d/a.conf", "blacklist a\n");
	scratch_write(&scratch, "lib/modprobe.d/b.conf", "blacklist hidden\n");
	scratch_write(&scratch, "usr/lib/modprobe.d/c.conf", "blacklist c\n");
	scratch_write(&scratch, "usr/local/lib/modprobe.d/d.conf", "blacklist d\n");
	scratch_write(&scratch, "etc/modprobe.d/README", "blacklist no\n");
	scratch_write(&scratch, "etc/modprobe.d/.b.conf.1.tmp", "blacklist no\n");
	scratch_write(&scratch, "etc/modprobe.d/b.conf.dpkg-old", "blacklist no\n");
	scratch_link(&scratch, "lib/modprobe.d/e.conf", "/nowhere");
	cr_assert_eq(modprobe_files_read(&scratch.root, &files, NULL), 0);
	cr_assert_eq(files.count, 5u);
	expect_line(&files, 0, "run/modprobe.d/a.conf:1+1 blacklist a|");
	expect_line(&files, 1, "etc/modprobe.d/b.conf:1+1 blacklist b|");
	expect_line(&files, 2, "usr/lib/modprobe.d/c.conf:1+1 blacklist c|");
	expect_line(&files, 3, "usr/local/lib/modprobe.d/d.conf:1+1 blacklist d|");
	expect_line(&files, 4, "etc/modprobe.d/z.conf:1+1 blacklist z|");
	cr_expect_eq(files.files.count, 5u);
	cr_assert_eq(files.unread.count, 1u);
	cr_expect(strstr(files.unread.names[0], "lib/modprobe.d/e.conf"));
	scratch_done(&scratch);
}

/* mkinitramfs gives each line to modprobe: a module's options count as those of modprobe.d do. */
Test(conf_modprobe_files, options_in_the_list_of_the_initramfs_count)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};
	struct scratch scratch;

	scratch_init(&scratch);
	scratch_write(&scratch, "etc/modprobe.d/z.conf", "blacklist z\n");
	scratch_write(&scratch, INITRAMFS_MODULES_PATH,
		"# List of modules\n\nvfio\n  vfio-pci  ids=10de:2704 disable_vga=1 \n"
		"#vfio_pci ids=1:2\nkvm ignore_msrs=1");
	cr_assert_eq(modprobe_files_read(&scratch.root, &files, NULL), 0);
	cr_assert_eq(files.count, 3u);
	expect_line(&files, 1,
		INITRAMFS_MODULES_PATH ":4+1 options vfio_pci|ids=10de:2704 disable_vga=1");
	expect_line(&files, 2, INITRAMFS_MODULES_PATH ":6+1 options kvm|ignore_msrs=1");
	scratch_done(&scratch);
}

static bool blocks(const char *text)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};

	cr_assert_eq(modprobe_text_parse("f", text, &files), 0);
	return modprobe_line_blocks(&files.lines[0]);
}

Test(conf_modprobe_files, lines_that_keep_a_module_from_its_devices)
{
	cr_expect(blocks("blacklist nouveau"));
	cr_expect(blocks("install nouveau /bin/false"));
	cr_expect(blocks("install nouveau /usr/bin/true"));
	cr_expect(blocks("options nouveau runpm=0 modeset=0"));
	cr_expect_not(blocks("options nouveau modeset=1"));
	cr_expect_not(blocks("options nouveau modeset=00"));
	cr_expect_not(blocks("install nouveau /sbin/modprobe --ignore-install nouveau"));
	cr_expect_not(blocks("softdep nouveau pre: vfio-pci"));
	cr_expect_not(blocks("alias modeset=0 nouveau"));
}

/* A file in /etc that is a link to /dev/null switches the distribution's off: modprobe.d(5). */
Test(conf_modprobe_files, no_folders_means_no_lines)
{
	cleanup(modprobe_files_done) struct modprobe_files files = {0};
	struct scratch scratch;

	scratch_init(&scratch);
	cr_assert_eq(modprobe_files_read(&scratch.root, &files, NULL), 0);
	cr_expect_eq(files.count, 0u);
	scratch_done(&scratch);
}

Test(conf_modprobe_files, option_values_are_found_by_name)
{
	auto_free char *ids = modprobe_option_value("disable-vga=1 ids=10de:2704", "ids");
	auto_free char *vga = modprobe_option_value("disable-vga=1 ids=10de:2704", "disable_vga");
	auto_free char *quoted = modprobe_option_value("a=\"b ids=c\" d", "ids");

	cr_expect_str_eq(ids, "10de:2704");
	cr_expect_str_eq(vga, "1");
	cr_expect_null(quoted);
}

Test(conf_modprobe_files, arguments_are_split_as_the_kernel_does)
{
	cleanup(names_done) struct names words = {0};

	cr_assert_eq(kernel_arguments_split(" a=1 \t\"b c\" d=\"e f\"g  quiet\n", &words), 0);
	cr_assert_eq(words.count, 4u);
	cr_expect_str_eq(words.names[1], "\"b c\"");
	cr_expect_str_eq(words.names[2], "d=\"e f\"g");
	cr_expect(names_have(&words, "quiet"));
	cr_expect_not(names_have(&words, "a"));
	cr_expect_str_eq(kernel_arguments_get(&words, "a"), "1");
	cr_expect_str_eq(kernel_arguments_get(&words, "quiet"), "");
	cr_expect_null(kernel_arguments_get(&words, "qui"));
	cr_expect_str_eq(kernel_argument_value("vfio-pci.ids=1", "vfio_pci.ids"), "1");
}
