/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/device/pci_names.h"
#include "kmod-helper/kernel/modules.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

/*
 * A captured tree with three modules of nothing but their .modinfo, indexed by depmod: what libkmod
 * reads of a module before it loads it.
 */
#define RELEASE "6.1.0-test"
#define FOLDER "lib/modules/" RELEASE "/kernel"
#define CARD "pci:v000010DEd00002704sv00001043sd00008888bc03sc00i00"

static struct scratch scratch;
static struct modules *modules;

static void run(const char *const *arguments)
{
	const struct process_options options = {.deadline_ms = 60000};
	struct error error = {0};

	cr_assert_eq(
		process_run(arguments, &options, &error), 0, "%s: %s", arguments[0], error.message);
}

static void make_module(const char *name, const char *modinfo)
{
	char source[64], object[PATH_MAX], text[512];

	snprintf(source, sizeof(source), "%s/%s.c", FOLDER, name);
	snprintf(text, sizeof(text),
		"const char info[] __attribute__((section(\".modinfo\"), aligned(1))) = "
		"\"name=%s\\0%s\";\n",
		name, modinfo);
	scratch_write(&scratch, source, text);
	snprintf(object, sizeof(object), "%s/%s/%s.ko", scratch.path, FOLDER, name);
	snprintf(text, sizeof(text), "%s/%s", scratch.path, source);
	run((const char *const[]){"/usr/bin/gcc", "-c", "-o", object, text, NULL});
}

static void open_modules(void)
{
	cr_assert_eq(modules_open(&scratch.root, &modules, NULL), 0);
}

static void init(void)
{
	scratch_init(&scratch);
	make_module("nouveau",
		"alias=pci:v000010DEd*sv*sd*bc03sc*i*\\0"
		"alias=pci:v000010DEd*sv*sd*bc*sc*i*");
	make_module("vfio-pci", "alias=vfio_pci:v*d*sv*sd*bc*sc*i*");
	make_module("snd_hda_intel", "alias=pci:v00008086d00000001sv*sd*bc*sc*i*");
	run((const char *const[]){"/sbin/depmod", "-b", scratch.path, "6.1.0-test", NULL});
	open_modules();
}

static void init_bare(void)
{
	scratch_init(&scratch);
	open_modules();
}

static void done(void)
{
	modules_close(modules);
	scratch_done(&scratch);
}

TestSuite(modules, .init = init, .fini = done);
TestSuite(modules_bare, .init = init_bare, .fini = done);

Test(modules, lookup_finds_the_modules_of_an_alias_once)
{
	cleanup(names_done) struct names names = {0};

	cr_assert_eq(module_lookup(modules, CARD, &names, NULL), 0);
	cr_assert_eq(names.count, 1);
	cr_assert_str_eq(names.names[0], "nouveau");
}

/* As Debian's package of NVIDIA's driver has one. */
Test(modules, lookup_finds_what_an_alias_line_hides)
{
	cleanup(names_done) struct names names = {0};

	scratch_write(&scratch, "etc/modprobe.d/nvidia.conf",
		"alias pci:v000010DEd*sv*sd*bc03sc00i00* nvidia\n"
		"install nvidia modprobe -i nvidia-current $CMDLINE_OPTS\n");
	cr_assert_eq(module_lookup(modules, CARD, &names, NULL), 0);
	cr_assert_eq(names.count, 2);
	cr_expect_str_eq(names.names[0], "nvidia");
	cr_expect_str_eq(names.names[1], "nouveau");
}

Test(modules, lookup_takes_either_spelling_of_a_name)
{
	static const char *const spellings[] = {"vfio-pci", "vfio_pci"};

	for (size_t i = 0; i < 2; i++) {
		cleanup(names_done) struct names names = {0};

		cr_assert_eq(module_lookup(modules, spellings[i], &names, NULL), 0);
		cr_assert_eq(names.count, 1);
		cr_assert_str_eq(names.names[0], "vfio_pci");
	}
}

Test(modules, lookup_ignores_the_blacklist)
{
	cleanup(names_done) struct names names = {0};

	scratch_write(&scratch, "etc/modprobe.d/guide.conf", "blacklist nouveau\n");
	cr_assert_eq(module_lookup(modules, CARD, &names, NULL), 0);
	cr_assert_eq(names.count, 1);
}

Test(modules, lookup_of_an_unknown_alias_is_empty)
{
	cleanup(names_done) struct names names = {0};

	cr_assert_eq(module_lookup(modules, "pci:v0000FFFFd0000FFFF", &names, NULL), 0);
	cr_assert_eq(names.count, 0);
}

Test(modules, check_passes_a_module_that_nothing_forbids)
{
	struct error error = {0};

	cr_assert_eq(module_check(modules, "vfio-pci", &error), 0, "%s", error.message);
}

Test(modules, check_names_a_missing_module)
{
	struct error error = {0};

	cr_assert_eq(module_check(modules, "nvidia", &error), -ENOENT);
	cr_assert_str_eq(error.message,
		"nvidia is not installed for kernel " RELEASE ": `dkms autoinstall -k " RELEASE
		"` where dkms builds it, else `apt install --reinstall linux-image-" RELEASE "`");
}

Test(modules, check_refuses_a_blacklisted_module_and_says_where_to_look)
{
	struct error error = {0};

	scratch_write(&scratch, "etc/modprobe.d/guide.conf", "blacklist vfio-pci\n");
	cr_assert_eq(module_check(modules, "vfio-pci", &error), -EPERM);
	cr_assert_not_null(strstr(error.message, "grep -rwE 'vfio[-_]pci' /etc/modprobe.d"), "%s",
		error.message);
	cr_assert_eq(module_check(modules, "nouveau", &error), 0);
}

Test(modules, check_refuses_a_module_that_an_install_line_replaces)
{
	scratch_write(&scratch, "usr/lib/modprobe.d/x.conf", "install vfio_pci /bin/false\n");
	cr_assert_eq(module_check(modules, "vfio-pci", NULL), -EPERM);
}

Test(modules, check_sees_a_blacklist_that_came_and_went)
{
	cr_assert_eq(module_check(modules, "nouveau", NULL), 0);
	scratch_write(&scratch, "run/modprobe.d/gpu-ferry-104.conf", "blacklist nouveau\n");
	cr_assert_eq(module_check(modules, "nouveau", NULL), -EPERM);
	cr_assert_eq(file_remove(&scratch.root, "run/modprobe.d/gpu-ferry-104.conf", NULL), 0);
	cr_assert_eq(module_check(modules, "nouveau", NULL), 0);
}

Test(modules, check_lets_the_first_folder_win)
{
	scratch_write(&scratch, "lib/modprobe.d/x.conf", "blacklist nouveau\n");
	cr_assert_eq(module_check(modules, "nouveau", NULL), -EPERM);
	scratch_write(&scratch, "etc/modprobe.d/x.conf", "# overridden\n");
	cr_assert_eq(module_check(modules, "nouveau", NULL), 0);
}

Test(modules, check_does_not_mind_a_blacklisted_module_that_is_loaded)
{
	scratch_write(&scratch, "etc/modprobe.d/guide.conf", "blacklist vfio-pci\n");
	scratch_write(&scratch, "sys/module/vfio_pci/initstate", "live\n");
	cr_assert_eq(module_check(modules, "vfio-pci", NULL), 0);
}

Test(modules, check_passes_a_loaded_module_that_modules_dep_lacks)
{
	scratch_write(&scratch, "sys/module/nvidia/initstate", "live\n");
	cr_assert_eq(module_check(modules, "nvidia", NULL), 0);
	scratch_write(&scratch, "sys/module/nvidia/initstate", "going\n");
	cr_assert_eq(module_check(modules, "nvidia", NULL), -ENOENT);
}

Test(modules_bare, check_does_not_miss_modules_in_a_tree_that_has_none)
{
	cr_assert_eq(module_check(modules, "vfio-pci", NULL), 0);
	scratch_write(&scratch, "etc/modprobe.d/guide.conf", "blacklist vfio-pci\n");
	cr_assert_eq(module_check(modules, "vfio-pci", NULL), -EPERM);
}

Test(modules_bare, lookup_in_a_tree_without_modules_is_empty)
{
	cleanup(names_done) struct names names = {0};

	cr_assert_eq(module_lookup(modules, CARD, &names, NULL), 0);
	cr_assert_eq(names.count, 0);
}

Test(modules_bare, captured_tree_refuses_every_change)
{
	struct error error = {0};

	cr_assert_eq(module_load(modules, "vfio-pci", &error), -EROFS);
	cr_assert_eq(module_unload(modules, "vfio-pci", &error), -EROFS);
	cr_assert_str_eq(error.message, "change the module vfio-pci: this is a captured tree");
}

Test(modules_bare, name_that_is_no_name_is_refused)
{
	char name[PATH_MAX];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cr_assert_lt(module_unload(modules, name, NULL), 0);
}

Test(names, known_unknown_and_too_long)
{
	struct device_names *names = NULL;
	char name[128];
	char small[8];

	cr_assert_eq(device_names_open(&(const struct root){.live = true}, &names, NULL), 0);
	device_name(names, 0x10de, 0x2704, name, sizeof(name));
	cr_assert_str_eq(name, "NVIDIA Corporation AD103 [GeForce RTX 4080]");
	device_name(names, 0x10de, 0xfffe, name, sizeof(name));
	cr_assert_str_eq(name, "NVIDIA Corporation Device fffe");
	device_name(names, 0xabcf, 0xfffe, name, sizeof(name));
	cr_assert_str_eq(name, "Device abcf:fffe");
	device_name(names, 0x10de, 0x2704, small, sizeof(small));
	cr_assert_eq(strlen(small), sizeof(small) - 1);
	device_name(names, 0x10de, 0x2704, small, 1);
	cr_assert_str_eq(small, "");
	device_names_close(names);
}

Test(modules, options_of_modprobe_d_are_told)
{
	char options[128];

	scratch_write(&scratch, "etc/modprobe.d/vfio.conf",
		"options vfio-pci ids=10de:2704,10de:22bb disable_vga=1\noptions nouveau modeset=0\n");
	cr_assert_eq(module_options(modules, "vfio-pci", options, sizeof(options), NULL), 0);
	cr_expect_str_eq(options, "ids=10de:2704,10de:22bb disable_vga=1");
	cr_assert_eq(module_options(modules, "snd_hda_intel", options, sizeof(options), NULL), 0);
	cr_expect_str_eq(options, "");
	cr_expect_eq(module_options(modules, "vfio-pci", options, 8, NULL), -ENAMETOOLONG);
}
