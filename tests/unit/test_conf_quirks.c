/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/quirks.h"
#include "hooks/ferry/known_quirks.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/handover.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MATCH "class = \"03\"; "
#define FOLLOWS "notice = \"so it is\"; "

static struct scratch scratch;
static struct quirks quirks;

static void init(void)
{
	scratch_init(&scratch);
}

static void done(void)
{
	quirks_done(&quirks);
	scratch_done(&scratch);
}

TestSuite(conf_quirks, .init = init, .fini = done);

/* ---- the syntax */

static void expect_refused(const char *text, const char *message)
{
	struct error error = {0};

	cr_expect_eq(quirks_parse(text, "f", &quirks, &error), -EINVAL, "%s", text);
	cr_expect_str_eq(error.message, message, "%s → %s", text, error.message);
	cr_expect_eq(quirks.count, 0u, "%s", text);
}

static void expect_member_refused(const char *member, const char *message)
{
	char text[256], expected[256];

	snprintf(text, sizeof(text), "quirks = ( { name = \"a\"; %s; " FOLLOWS "} );", member);
	snprintf(expected, sizeof(expected), "f:1: %s", message);
	expect_refused(text, expected);
}

#define IDS "'ids' must be a list of ids like \"10de:2704\", \"10de:2b00-2bff\" or \"10de:*\""
#define RANGES "must be versions like \">=6.14.2 <6.14.4 -pve\", or a list of them"
#define SENTENCE "must be a text of at most 400 bytes"

Test(conf_quirks, each_member_has_its_form)
{
	expect_member_refused("ids = [ \"10de\" ]", IDS);
	expect_member_refused("ids = [ \"10de:27041\" ]", IDS);
	expect_member_refused("ids = [ \"10de:2bff-2b00\" ]", IDS);
	expect_member_refused("ids = [ \"10de:2b00-2bff0\" ]", IDS);
	expect_member_refused("ids = [ ]", IDS);
	expect_member_refused("ids = [ 4318 ]", IDS);
	expect_member_refused("class = \"3\"",
		"'class' must be the two or four digits that a class begins with, like \"03\"");
	expect_member_refused("class = 3",
		"'class' must be the two or four digits that a class begins with, like \"03\"");
	expect_member_refused("virtual = 1", "'virtual' must be true or false");
	expect_member_refused("driver = \"../x\"",
		"'driver' must be a name of letters, digits, '.', '_' and '-'");
	expect_member_refused("kernel = \"\"", "'kernel' " RANGES);
	expect_member_refused("kernel = [ \"6.1\", \"6/1\" ]", "'kernel' " RANGES);
	expect_member_refused("driver_version = 580", "'driver_version' " RANGES);
	expect_member_refused("module = \"m\"; unless_parameter = \"modeset\"",
		"'unless_parameter' must be a parameter of the module and its value, like "
		"\"modeset=N\"");
	expect_member_refused("warning = \"\"", "'warning' " SENTENCE);
	expect_member_refused("deadline_ms = 0",
		"'deadline_ms' must be a whole number of milliseconds, 1 to 3600000");
	expect_member_refused("reset_method = \"flr;bus\"",
		"'reset_method' must be the kernel's reset methods with a space between them, like "
		"\"flr bus\"");
	expect_member_refused("source = \"a friend\"", "'source' must be a link, https://…");
	expect_member_refused(
		"colour = \"red\"", "a quirk has no 'colour' (see gpu-ferry.conf(5))");
}

Test(conf_quirks, an_entry_says_what_it_is_about_and_what_follows)
{
	expect_refused("quirks = ( {\n" MATCH FOLLOWS "} );", "f:1: a quirk has no 'name'");
	expect_refused("\nquirks = ( { name = \"a\"; " FOLLOWS "} );",
		"f:2: the quirk 'a' does not say what it is about");
	expect_refused("quirks = ( { name = \"a\"; " MATCH "} );",
		"f:1: the quirk 'a' does not say what follows");
	expect_refused("quirks = ( { name = \"a\"; " MATCH "unload = \"why\"; } );",
		"f:1: the quirk 'a' needs a 'driver' for its driver_version or unload");
	expect_refused("quirks = ( { name = \"a\"; unless_parameter = \"p=1\"; " MATCH FOLLOWS
		       "} );",
		"f:1: the quirk 'a' needs a 'module' for its unless_parameter");
	expect_refused("quirks = ( { name = \"a\"; " MATCH FOLLOWS "},\n"
		       "{ name = \"a\"; " MATCH FOLLOWS "} );",
		"f:2: there are two quirks with the name 'a'");
	expect_refused("quirk = ( );", "f:1: there is no 'quirk' here, only 'quirks'");
	expect_refused("quirks = [ 1 ];", "f:1: 'quirks' must be a list, ( { … }, … )");
	expect_refused("quirks = ( 1 );", "f:1: each quirk must be { name = \"…\"; … }");
	expect_refused("quirks = (", "f:1: syntax error");
	expect_refused("@include \"x\"", "f:1: '@include' is not supported");
}

/* ---- the files */

#define OWN QUIRKS_FOLDER "/"
#define GOOD(name) "quirks = ( { name = \"" name "\"; " MATCH FOLLOWS "} );\n"

static void read_all(void)
{
	struct error error = {0};

	quirks_done(&quirks);
	cr_assert_eq(quirks_read(&scratch.root, &quirks, &error), 0, "%s", error.message);
}

/* Which of them has this name; their number when none has. */
static size_t find(const char *name)
{
	size_t i = 0;

	while (i < quirks.count && strcmp(quirks.items[i].name, name) != 0)
		i++;
	return i;
}

Test(conf_quirks, entries_of_ones_own_are_added_and_replace)
{
	scratch_write(&scratch, QUIRKS_PATH,
		"quirks = ( { name = \"one\"; " MATCH FOLLOWS "},\n"
		"{ name = \"two\"; " MATCH FOLLOWS "} );\n");
	scratch_write(&scratch, OWN "10-a.conf",
		"quirks = ( { name = \"one\"; },\n"
		"{ name = \"three\"; class = \"0300\"; warning = \"w\"; } );\n");
	scratch_write(&scratch, OWN "20-b.conf",
		"quirks = ( { name = \"three\"; kernel = \"-pve\"; deadline_ms = 5; } );\n");
	scratch_write(&scratch, OWN "20-b.conf.dpkg-old", "nothing of ours");
	read_all();
	cr_expect_eq(quirks.problem_count, 0u);
	cr_assert_eq(quirks.count, 3u);
	cr_expect_null(quirks.items[find("one")].notice, "switched off");
	cr_expect_str_eq(quirks.items[find("two")].place, "/" QUIRKS_PATH ":2");
	cr_expect_null(quirks.items[find("three")].warning);
	cr_expect_eq(quirks.items[find("three")].deadline_ms, 5u);
}

Test(conf_quirks, a_bad_file_is_a_problem_and_the_others_count)
{
	scratch_write(&scratch, QUIRKS_PATH, GOOD("one"));
	scratch_write(&scratch, OWN "10-bad.conf",
		GOOD("two") "quirks = ( );\nquirks = (\n{ name = ; } );\n");
	scratch_write(&scratch, OWN "20-half.conf",
		"quirks = ( { name = \"half\"; " MATCH FOLLOWS
		"}, { name = \"b\"; colour = 1; } );");
	scratch_write(&scratch, OWN "30-good.conf", GOOD("three"));
	scratch_write(&scratch, OWN "40-others.conf", GOOD("four"));
	cr_assert_eq(fchmodat(scratch.root.fd, OWN "40-others.conf", 0666, 0), 0);
	scratch_write(&scratch, OWN "50-folder.conf/file", "");
	read_all();
	cr_expect_eq(quirks.count, 2u);
	cr_expect(find("one") < 2 && find("three") < 2);
	cr_assert_eq(quirks.problem_count, 4u);
	cr_expect_str_eq(quirks.problems[0].path, "/" OWN "10-bad.conf");
	cr_expect(strstr(quirks.problems[0].why.message, "/" OWN "10-bad.conf:2: "), "%s",
		quirks.problems[0].why.message);
	cr_expect_str_eq(quirks.problems[1].why.message,
		"/" OWN "20-half.conf:1: a quirk has no 'colour' (see gpu-ferry.conf(5))");
	cr_expect_eq(quirks.problems[2].why.status, -EPERM);
	cr_expect_eq(quirks.problems[3].why.status, -EISDIR);
}

Test(conf_quirks, a_missing_shipped_file_is_a_problem_and_ones_own_count)
{
	scratch_write(&scratch, OWN "mine.conf", GOOD("mine"));
	read_all();
	cr_expect_eq(quirks.count, 1u);
	cr_assert_eq(quirks.problem_count, 1u);
	cr_expect_str_eq(quirks.problems[0].path, "/" QUIRKS_PATH);
	cr_expect_eq(quirks.problems[0].why.status, -ENOENT);
}

/* ---- versions */

static bool is_in(const char *range, const char *version)
{
	cleanup(names_done) struct names ranges = {0};

	cr_assert_eq(names_add(&ranges, range), 0);
	return quirk_version_matches(&ranges, version);
}

Test(conf_quirks, versions_are_compared_number_by_number)
{
	cr_expect(is_in("<580.105.08", "580.95.05"));
	cr_expect(is_in("<580.105.08", "580.105.07"));
	cr_expect_not(is_in("<580.105.08", "580.105.08"));
	cr_expect_not(is_in("<580.105.08", "595.45.04"));
	cr_expect(is_in("<580.105.08", ""), "unknown counts as old");
	cr_expect(is_in(">=6.14.2 <6.14.4", "6.14.2"));
	cr_expect(is_in(">=6.14.2 <6.14.4", "6.14.3-1-pve"));
	cr_expect_not(is_in(">=6.14.2 <6.14.4", "6.14.10-1-pve"));
	cr_expect_not(is_in(">=6.14.2 <6.14.4", "6.14.1-2-pve"));
	cr_expect_not(is_in(">=6.14.2 <6.14.4", ""));
	cr_expect(is_in(">=7.0.14-1 <7.0.14-3 -pve", "7.0.14-2-pve"));
	cr_expect_not(is_in(">=7.0.14-1 <7.0.14-3 -pve", "7.0.14-3-pve"));
	cr_expect_not(is_in(">=7.0.14-1 <7.0.14-3 -pve", "7.0.14-2-amd64"));
	cr_expect_not(is_in(">=7.0.14-1 <7.0.14-3 -pve", "7.0.14-10-pve"));
}

/* ---- the shipped entries: each has a machine that it is about, and one beside it that it is not
 * about */

struct machine {
	const char *ids; /* "10de:2704" */
	uint16_t class_code;
	const char *driver;
	bool is_virtual;
	const char *driver_version;
	const char *module;    /* that is loaded */
	const char *parameter; /* of it: "modeset=N" */
	const char *kernel;
	const char *other; /* another device of the host: "10de:22a3" */
};

struct shipped_case {
	const char *name;
	struct machine about, beside;
};

#define GPU_OF(device) .ids = (device), .class_code = 0x0300, .driver = ""
#define NVIDIA GPU_OF("10de:1e07"), .driver = "nvidia", .module = "nvidia_drm"
#define AMDGPU GPU_OF("1002:744c"), .driver = "amdgpu"
#define VF GPU_OF("8086:a780"), .is_virtual = true

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct shipped_case shipped[] = {
	{"nvidia-drm-keeps-cards", {NVIDIA, .driver_version = "570.124.04"},
		{NVIDIA, .driver_version = "580.105.08"}},
	{"nvidia-drm-keeps-cards", {NVIDIA, .parameter = "modeset=Y"},
		{NVIDIA, .driver_version = "470.256.02", .parameter = "modeset=N"}},
	{"nvidia-drm-keeps-cards", {NVIDIA, .driver_version = ""},
		{NVIDIA, .driver_version = "570.124.04", .module = NULL}},
	{"nvidia-drm-keeps-cards", {NVIDIA, .driver_version = "580.95.05"},
		{NVIDIA, .driver_version = "570.124.04", .driver = "nouveau"}},
	{"nvidia-595-waits-forever", {NVIDIA, .driver_version = "595.58.03"},
		{NVIDIA, .driver_version = "590.48.01"}},
	{"nvidia-595-waits-forever", {NVIDIA, .driver_version = "610.57.04"},
		{NVIDIA, .driver_version = ""}},
	{"nvidia-usb-c-is-slow", {.ids = "10de:1ad9", .class_code = 0x0c80, .driver = "nvidia-gpu"},
		{.ids = "10de:1ad8", .class_code = 0x0c03, .driver = "xhci_hcd"}},
	{"nvidia-usb-c-is-slow", {.ids = "10de:1ad9", .class_code = 0x0c80, .driver = ""},
		{.ids = "1002:73e4", .class_code = 0x0c80, .driver = ""}},
	{"nvswitch", {GPU_OF("10de:2330"), .class_code = 0x0302, .other = "10de:22a3"},
		{GPU_OF("10de:2330"), .class_code = 0x0302, .other = "10de:2330"}},
	{"nvswitch", {GPU_OF("10de:20b0"), .other = "10de:1af1"},
		{.ids = "10de:22a3", .class_code = 0x0680, .driver = "", .other = "10de:22a3"}},
	{"navi-1x-reset", {GPU_OF("1002:731f")}, {GPU_OF("1002:7320")}},
	{"navi-1x-reset", {GPU_OF("1002:7340")}, {GPU_OF("10de:731f")}},
	{"navi-1x-reset", {GPU_OF("1002:7362")},
		{.ids = "1002:731f", .class_code = 0x0403, .driver = ""}},
	{"navi-2x-reset", {GPU_OF("1002:73bf")}, {GPU_OF("1002:744c")}},
	{"navi-2x-reset", {GPU_OF("1002:743f")}, {GPU_OF("1002:731f")}},
	{"rx-9000-reset", {GPU_OF("1002:7550")}, {GPU_OF("1002:744c")}},
	{"rx-9000-reset", {GPU_OF("1002:7590")}, {GPU_OF("1002:7480")}},
	{"rtx-50-reset", {GPU_OF("10de:2b85")}, {GPU_OF("10de:2941")}},
	{"rtx-50-reset", {GPU_OF("10de:2c05")}, {GPU_OF("10de:2704")}},
	{"rtx-50-reset", {GPU_OF("10de:2d04")}, {GPU_OF("10de:2e12")}},
	{"rtx-50-reset", {GPU_OF("10de:2f04")}, {GPU_OF("10de:2684")}},
	{"amdgpu-unbind-7.0.14", {AMDGPU, .kernel = "7.0.14-1-pve"},
		{AMDGPU, .kernel = "7.0.14-3-pve"}},
	{"amdgpu-unbind-7.0.14", {AMDGPU, .kernel = "7.0.14-2-pve"},
		{AMDGPU, .driver = "vfio-pci", .kernel = "7.0.14-2-pve"}},
	{"reset-regression-6.14.2", {GPU_OF("10de:1b80"), .kernel = "6.14.2-arch1-1"},
		{GPU_OF("10de:1b80"), .kernel = "6.14.4-1-pve"}},
	{"reset-regression-6.14.2", {GPU_OF("10de:1b80"), .kernel = "6.12.23+deb13-amd64"},
		{GPU_OF("10de:1b80"), .kernel = "6.12.22+bpo-amd64"}},
	{"no-power-management-6.14.8", {VF, .kernel = "6.14.8-1-bpo12-pve"},
		{VF, .kernel = "6.14.8-2-pve"}},
	{"no-power-management-6.14.8", {VF, .kernel = "6.8.12-12-pve"},
		{GPU_OF("8086:a780"), .kernel = "6.8.12-12-pve"}},
};
#pragma GCC diagnostic pop

static void write_machine(const struct scratch *tree, const struct machine *machine)
{
	char path[128];

	if (machine->kernel)
		scratch_write(tree, "proc/sys/kernel/osrelease", machine->kernel);
	if (machine->driver_version && *machine->driver_version) {
		snprintf(path, sizeof(path), "sys/module/%s/version", machine->driver);
		scratch_write(tree, path, machine->driver_version);
	}
	if (!machine->module)
		return;
	snprintf(path, sizeof(path), "sys/module/%s/refcnt", machine->module);
	scratch_write(tree, path, "0\n");
	if (machine->parameter) {
		snprintf(path, sizeof(path), "sys/module/%s/parameters/%.*s", machine->module,
			(int)strcspn(machine->parameter, "="), machine->parameter);
		scratch_write(tree, path, strchr(machine->parameter, '=') + 1);
	}
}

static bool is_about(const char *name, const struct machine *machine)
{
	struct pci_function functions[2] = {
		{.address = "0000:01:00.0", .class_code = machine->class_code},
		{.address = "0000:02:00.0"}};
	struct pci_function *function = functions;
	const struct pci_functions host = {.items = functions, .count = machine->other ? 2 : 1};
	struct known_quirks known = {0};
	struct quirks one = {0};
	struct scratch tree;
	struct kernel kernel;
	struct quirk_id id;
	bool found = false;

	scratch_init(&tree);
	write_machine(&tree, machine);
	cr_assert_eq(quirk_id_parse(machine->ids, &id), 0);
	function->vendor_id = id.vendor;
	function->device_id = id.first;
	snprintf(function->driver, sizeof(function->driver), "%s", machine->driver);
	if (machine->other) {
		cr_assert_eq(quirk_id_parse(machine->other, &id), 0);
		functions[1].vendor_id = id.vendor;
		functions[1].device_id = id.first;
	}
	strcpy(function->parent, machine->is_virtual ? "0000:00:02.0" : "");
	cr_assert_eq(kernel_open(tree.path, &kernel, NULL), 0);
	shipped_quirks(&one);
	cr_assert_eq(known_quirks_find(&kernel, &one, &host, &known, NULL), 0);
	for (size_t i = 0; i < known.count; i++)
		found = found || strcmp(known.items[i].plan.name, name) == 0;
	known_quirks_done(&known);
	quirks_done(&one);
	kernel_close(&kernel);
	scratch_done(&tree);
	return found;
}

Test(conf_quirks, each_shipped_entry_is_about_its_machine_and_not_about_the_one_beside)
{
	for (size_t i = 0; i < sizeof(shipped) / sizeof(shipped[0]); i++) {
		cr_expect(is_about(shipped[i].name, &shipped[i].about), "case %zu: %s", i,
			shipped[i].name);
		cr_expect_not(is_about(shipped[i].name, &shipped[i].beside), "beside case %zu: %s",
			i, shipped[i].name);
	}
}

Test(conf_quirks, each_shipped_entry_has_a_case_a_source_and_a_fix_for_what_it_warns_of)
{
	shipped_quirks(&quirks);
	for (size_t i = 0; i < quirks.count; i++) {
		const struct quirk *quirk = &quirks.items[i];
		bool has_case = false;

		for (size_t k = 0; k < sizeof(shipped) / sizeof(shipped[0]); k++)
			has_case = has_case || strcmp(shipped[k].name, quirk->name) == 0;
		cr_expect(has_case, "%s has no case", quirk->name);
		cr_expect(quirk->source, "%s has no source", quirk->name);
		cr_expect(quirk->fix || !(quirk->warning || quirk->blocker), "%s has no fix",
			quirk->name);
	}
}
