/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/storage.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define NAS "nfs: nas\n\texport /x\n\tpath /mnt/pve/nas\n\tserver 10.0.0.1\n\tcontent snippets\n\n"

static void parse(const char *text, struct storages *ret)
{
	cr_assert_eq(storages_parse(text, strlen(text), ret, NULL), 0);
}

static int find(const char *text, const char *volume, char *path, struct error *error)
{
	cleanup(storages_done) struct storages storages = {0};

	parse(text, &storages);
	return storages_find_snippet(&storages, volume, path, PATH_MAX, error);
}

static void expect_path(const char *text, const char *volume, const char *expected)
{
	char path[PATH_MAX] = "";
	struct error error = {0};

	cr_expect_eq(find(text, volume, path, &error), 0, "%s: %s", volume, error.message);
	cr_expect_str_eq(path, expected, "in %s", text);
}

static void expect_refused(const char *text, const char *volume, int status)
{
	char path[PATH_MAX] = "untouched";
	struct error error = {0};

	cr_expect_eq(find(text, volume, path, &error), status, "%s in %s", volume, text);
	cr_expect_str_eq(path, "untouched");
	cr_expect_str_not_empty(error.message);
}

Test(conf_storage, local_is_the_same_folder_on_every_node_whatever_the_file_says)
{
	static const char *const texts[] = {
		"",
		"dir: local\n\tpath /var/lib/vz\n\tcontent iso\n",
		"dir: local\n",
		"dir: local\n\tpath /mnt/else\n\tcontent-dirs snippets=x\n",
		"nfs: local\n\tpath /mnt/pve/local\n",
		"dir: local\n\tnodes other\n\tdisable\n\n",
		NAS,
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		expect_path(texts[i], "local:snippets/hook", "var/lib/vz/snippets/hook");
}

Test(conf_storage, folders_of_contents_may_be_others)
{
	expect_path("dir: local\n\tpath /var/lib/vz\n\tcontent-dirs iso=a,snippets=b/c\n",
		"local:snippets/hook", "var/lib/vz/b/c/hook");
	expect_path("dir: local\n\tcontent-dirs iso=a\n", "local:snippets/hook",
		"var/lib/vz/snippets/hook");
	expect_path(NAS, "nas:snippets/hook.pl", "mnt/pve/nas/snippets/hook.pl");
}

Test(conf_storage, only_snippets_of_storages_with_a_folder_have_a_path)
{
	expect_refused(NAS, "nas:iso/hook", -EINVAL);
	expect_refused(NAS, "nas:snippets/", -EINVAL);
	expect_refused(NAS, "nas:snippets/a/b", -EINVAL);
	expect_refused(NAS, "nas:snippets/../hook", -EINVAL);
	expect_refused(NAS, "snippets/hook", -EINVAL);
	expect_refused(NAS, "/usr/bin/hook", -EINVAL);
	expect_refused(NAS, "", -EINVAL);
	expect_refused(NAS, "other:snippets/hook", -ENOENT);
	expect_refused("lvmthin: thin\n\tvgname pve\n", "thin:snippets/hook", -EINVAL);
	expect_refused("dir: odd\n\tpath relative\n", "odd:snippets/hook", -EINVAL);
}

Test(conf_storage, only_an_empty_line_ends_a_section_and_the_last_one_of_a_name_counts)
{
	static const char text[] = "dir: one\n\tpath /one\n# comment\n\n"
				   "dir: two\n\tpath /two\n  \n\tcontent snippets\n\n"
				   "nonsense\n\tpath /three\n\n"
				   "dir: 9bad\n\tpath /bad\n\n"
				   "dir: one\n\tpath /again\n";
	cleanup(storages_done) struct storages storages = {0};

	parse(text, &storages);
	cr_expect_str_eq(storages_find(&storages, "one")->path, "/again");
	cr_expect(storage_holds(storages_find(&storages, "two"), "snippets"));
	cr_expect_null(storages_find(&storages, "9bad"));
	cr_expect_null(storages_find(&storages, "nonsense"));
	/* the blank line, and three around what is no section */
	cr_expect_geq(storages.warnings.count, 3u);
}

Test(conf_storage, contents_are_words_of_a_list)
{
	cleanup(storages_done) struct storages storages = {0};
	const struct storage *local;

	parse("dir: local\n\tcontent iso,snippets-not\n", &storages);
	local = storages_find(&storages, "local");
	cr_expect_not(storage_holds(local, "snippets"));
	cr_expect(storage_holds(local, "iso"));
	cr_expect(storage_contents_equal("a,b,c", "c,a,b"));
	cr_expect_not(storage_contents_equal("a,b", "a,b,c"));
	cr_expect_not(storage_contents_equal("a,b", "a,c"));
}

Test(conf_storage, a_folder_without_a_content_list_holds_images)
{
	cleanup(storages_done) struct storages storages = {0};

	parse("dir: local\n\tpath /var/lib/vz\n", &storages);
	cr_expect_str_eq(storages_find(&storages, "local")->content, "images,rootdir");
	storages_done(&storages);
	parse("", &storages);
	cr_expect(storage_holds(storages_find(&storages, "local"), "snippets"));
}

static int check(const struct scratch *scratch, const char *path)
{
	struct error error = {0};
	int r = snippet_check(&scratch->root, "local:snippets/x", path, &error);

	cr_expect_eq(r == 0, !error.message[0]);
	return r;
}

Test(conf_storage, a_snippet_is_an_executable_file_links_followed)
{
	struct scratch scratch;
	char path[PATH_MAX];

	scratch_init(&scratch);
	cr_expect_eq(check(&scratch, "snippets/x"), -ENOENT);
	scratch_write(&scratch, "snippets/x", "#!/bin/sh\n");
	cr_expect_eq(check(&scratch, "snippets/x"), -EACCES);
	snprintf(path, sizeof(path), "%s/snippets/x", scratch.path);
	cr_assert_eq(chmod(path, 0755), 0);
	cr_expect_eq(check(&scratch, "snippets/x"), 0);
	scratch_link(&scratch, "snippets/link", "x");
	cr_expect_eq(check(&scratch, "snippets/link"), 0);
	scratch_link(&scratch, "snippets/broken", "nowhere");
	cr_expect_eq(check(&scratch, "snippets/broken"), -ENOENT);
	cr_expect_eq(check(&scratch, "snippets"), -ENOENT);
	scratch_done(&scratch);
}
