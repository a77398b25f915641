/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/settings.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static void expect_defaults(const struct settings *settings)
{
	cr_expect_eq(settings->write_deadline_seconds, 30u);
	cr_expect_eq(settings->slow_write_deadline_seconds, 0u);
	cr_expect_eq(settings->return_wait_seconds, 30u);
	cr_expect_eq(settings->boot_display, BOOT_DISPLAY_ALLOW);
	cr_expect_eq(settings->backup_of_stopped_vm, BACKUP_ALLOW);
	cr_expect_eq(settings->windows_blacklist, WINDOWS_BLACKLIST_WHILE_RUNNING);
	cr_expect_eq(settings->allow.count, 0u);
	cr_expect_eq(settings->devices.count, 0u);
	cr_expect_eq(settings->busy, BUSY_FAIL);
	cr_expect_eq(settings->notify, NOTIFY_OFF);
	cr_expect_eq(settings->busy_wait_seconds, 60u);
	cr_assert_eq(settings->stop_units.count, 2u);
	cr_expect_str_eq(settings->stop_units.items[0].name, "nvidia-persistenced.service");
	cr_expect_str_eq(settings->stop_units.items[1].name, "nvidia-powerd.service");
	cr_expect_eq(settings->containers.count, 0u);
	cr_expect_eq(settings->make_room.count, 2u);
}

static void expect_refused(const char *text, const char *message)
{
	struct settings settings = {0};
	struct error error = {0};

	cr_expect_eq(settings_parse(text, "f", 104, &settings, &error), -EINVAL, "%s", text);
	cr_expect_str_eq(error.message, message, "%s → %s", text, error.message);
}

Test(conf_settings, no_file_means_the_defaults)
{
	cleanup(settings_done) struct settings settings = {0};
	struct scratch scratch;
	struct error error = {0};

	scratch_init(&scratch);
	cr_assert_eq(settings_read(&scratch.root, 104, &settings, &error), 0, "%s", error.message);
	expect_defaults(&settings);
	scratch_done(&scratch);
}

Test(conf_settings, shipped_file_says_the_defaults)
{
	cleanup(root_close) struct root root = ROOT_NONE;
	cleanup(settings_done) struct settings settings = {0};
	struct file_read_options options = {.max = 65536, .refuse_nul = true};
	auto_free char *text = NULL;
	struct error error = {0};

	cr_assert_eq(root_open(TESTS_DIR "/../conf", &root, &error), 0, "%s", error.message);
	cr_assert_eq(file_read(&root, "gpu-ferry.conf", &options, &text, NULL, &error), 0, "%s",
		error.message);
	cr_assert_eq(settings_parse(text, "gpu-ferry.conf", 104, &settings, &error), 0, "%s",
		error.message);
	expect_defaults(&settings);
	cr_expect(strstr(text, "\nwrite_deadline_seconds") && strstr(text, "\nvms ="));
}

static const char sample[] =
	"write_deadline_seconds = 60; allow = [ \"2b:00.4\" ];\n"
	"vms = ( { vmid = 104; boot_display = \"refuse\"; },\n"
	"{ vmid = 105; windows_blacklist = \"permanent\"; allow = ( \"0001:03:00.0\", \"04:1f.7\" ); } );\n";

Test(conf_settings, values_of_a_vm_go_before_those_at_the_top)
{
	cleanup(settings_done) struct settings first = {0};
	cleanup(settings_done) struct settings second = {0};
	cleanup(settings_done) struct settings nobody = {0};

	cr_assert_eq(settings_parse(sample, "f", 104, &first, NULL), 0);
	cr_expect_eq(first.write_deadline_seconds, 60u);
	cr_expect_eq(first.boot_display, BOOT_DISPLAY_REFUSE);
	cr_assert_eq(first.allow.count, 1u);
	cr_expect_str_eq(first.allow.names[0], "0000:2b:00.4");
	cr_assert_eq(settings_parse(sample, "f", 105, &second, NULL), 0);
	cr_expect_eq(second.boot_display, BOOT_DISPLAY_ALLOW);
	cr_expect_eq(second.windows_blacklist, WINDOWS_BLACKLIST_PERMANENT);
	cr_assert_eq(second.allow.count, 2u);
	cr_expect_str_eq(second.allow.names[0], "0001:03:00.0");
	cr_expect_str_eq(second.allow.names[1], "0000:04:1f.7");
	cr_assert_eq(settings_parse(sample, "f", 0, &nobody, NULL), 0);
	cr_expect_eq(nobody.allow.count, 1u);
	cr_expect_eq(nobody.boot_display, BOOT_DISPLAY_ALLOW);
}

Test(conf_settings, unknown_settings_are_refused_with_their_line)
{
	expect_refused("\nnobody = 1;",
		"f:2: setting 'nobody': there is no such setting (see gpu-ferry.conf(5))");
	expect_refused("vms = ( { vmid = 104;\nfoo = 1; } );",
		"f:2: setting 'foo': there is no such setting of a VM (see gpu-ferry.conf(5))");
	expect_refused("vms = ( { vmid = 104; vms = ( ); } );",
		"f:1: setting 'vms': there is no such setting of a VM (see gpu-ferry.conf(5))");
	expect_refused("vmid = 104;",
		"f:1: setting 'vmid': there is no such setting (see gpu-ferry.conf(5))");
}

Test(conf_settings, numbers_are_held_to_their_range)
{
	expect_refused("write_deadline_seconds = 0;",
		"f:1: setting 'write_deadline_seconds': 0 is out of range, 1 to 3600 are allowed");
	expect_refused("return_wait_seconds = -1;",
		"f:1: setting 'return_wait_seconds': -1 is out of range, 0 to 3600 are allowed");
	expect_refused("return_wait_seconds = 3601L;",
		"f:1: setting 'return_wait_seconds': 3601 is out of range, 0 to 3600 are allowed");
	expect_refused("write_deadline_seconds = 30.0;",
		"f:1: setting 'write_deadline_seconds': must be a whole number, 1 to 3600");
	expect_refused("write_deadline_seconds = true;",
		"f:1: setting 'write_deadline_seconds': must be a whole number, 1 to 3600");
}

/* libconfig 1.5 reads 4294967326 as 30. */
Test(conf_settings, numbers_that_libconfig_would_cut_are_refused)
{
	expect_refused("\nwrite_deadline_seconds = 4294967326;",
		"f:2: the number 4294967326 is too large");
	expect_refused(
		"write_deadline_seconds=0x10000001E;", "f:1: the number 0x10000001E is too large");
	expect_refused("write_deadline_seconds = -18446744073709551586L;",
		"f:1: the number -18446744073709551586L is too large");
}

Test(conf_settings, what_looks_like_a_number_in_text_is_none)
{
	cleanup(settings_done) struct settings settings = {0};
	struct error error = {0};

	cr_expect_eq(settings_parse("# 12345678901 @include\n// 12345678901\n"
				    "/* 12345678901\n@include \"x\" */ return_wait_seconds = 1;\n",
			     "f", 0, &settings, &error),
		0, "%s", error.message);
	cr_expect_eq(settings.return_wait_seconds, 1u);
}

Test(conf_settings, words_and_addresses_are_checked)
{
	expect_refused("boot_display = \"never\";",
		"f:1: setting 'boot_display': must be one of \"allow\", \"refuse\"");
	expect_refused("backup_of_stopped_vm = true;",
		"f:1: setting 'backup_of_stopped_vm': must be one of \"allow\", \"refuse\"");
	expect_refused("boot_display = 1;",
		"f:1: setting 'boot_display': must be one of \"allow\", \"refuse\"");
	expect_refused("allow = \"2b:00.4\";",
		"f:1: setting 'allow': must be a list, [ \"…\", \"…\" ]; each must be the address "
		"of a function, like \"0000:2b:00.0\"");
	expect_refused("allow = [ \"2b:00\" ];",
		"f:1: setting 'allow': each must be the address of a function, like "
		"\"0000:2b:00.0\", not '2b:00'");
	expect_refused("allow = ( 1 );",
		"f:1: setting 'allow': each must be the address of a function, like "
		"\"0000:2b:00.0\", not '?'");
}

static void expect_room(const struct settings *settings, const char *expected)
{
	static const char *const kinds[] = {
		[ROOM_UNIT] = "unit",
		[ROOM_CONTAINER_UNIT] = "container_unit",
		[ROOM_CONTAINER] = "container",
		[ROOM_VM] = "vm",
		[ROOM_PROGRAM] = "program",
	};
	char text[1024] = "";

	for (size_t i = 0; i < settings->make_room.count; i++) {
		const struct room_entry *entry = &settings->make_room.items[i];
		bool has_number = entry->kind != ROOM_UNIT && entry->kind != ROOM_PROGRAM;

		char number[16] = "";

		if (has_number)
			snprintf(number, sizeof(number), "%u ", entry->guest);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %s%s;",
			kinds[entry->kind], number, entry->name);
	}
	cr_expect_str_eq(text, expected, "'%s' instead of '%s'", text, expected);
}

static const char busy_sample[] = "stop_units = [ \"a@b.service\" ]; containers = \"any\";\n"
				  "vms = ( { vmid = 104; busy = \"stop\"; busy_wait_seconds = 5;\n"
				  "containers = [ 105, 106 ]; stop_units = ( ); } );\n";

Test(conf_settings, what_may_be_stopped_for_a_vm)
{
	cleanup(settings_done) struct settings nobody = {0};
	cleanup(settings_done) struct settings vm = {0};
	struct error error = {0};

	cr_assert_eq(settings_parse(busy_sample, "f", 0, &nobody, &error), 0, "%s", error.message);
	cr_expect_eq(nobody.busy, BUSY_FAIL);
	expect_room(&nobody, "unit a@b.service;");
	cr_assert_eq(settings_parse(busy_sample, "f", 104, &vm, &error), 0, "%s", error.message);
	cr_expect_eq(vm.busy, BUSY_STOP);
	cr_expect_eq(vm.busy_wait_seconds, 5u);
	expect_room(&vm, "container 105 ;container 106 ;");
}

static const char room_sample[] =
	"stop_units = ( ); containers = \"any\"; busy = \"stop\";\n"
	"make_room = ( { vm = 106; }, { container = 105; unit = \"a.service\"; },\n"
	"{ container = 105; }, { unit = \"b.service\"; }, { program = \"/etc/x\"; } );\n"
	"vms = ( { vmid = 104; make_room = ( { vm = 104; }, { vm = 107; } ); } );\n";

/* One list, in its order; the older settings come behind it. A VM does not stop for itself. */
Test(conf_settings, who_makes_room_is_one_list)
{
	cleanup(settings_done) struct settings other = {0};
	cleanup(settings_done) struct settings vm = {0};
	cleanup(settings_done) struct settings itself = {0};
	struct error error = {0};

	cr_assert_eq(settings_parse(room_sample, "f", 103, &other, &error), 0, "%s", error.message);
	expect_room(&other,
		"vm 106 ;container_unit 105 a.service;container 105 ;unit b.service;"
		"program /etc/x;container 0 ;");
	cr_assert_eq(settings_parse(room_sample, "f", 104, &vm, &error), 0);
	expect_room(&vm, "vm 107 ;container 0 ;");
	cr_assert_eq(settings_parse(room_sample, "f", 106, &itself, &error), 0);
	expect_room(&itself,
		"container_unit 105 a.service;container 105 ;unit b.service;"
		"program /etc/x;container 0 ;");
}

Test(conf_settings, entries_of_make_room_are_checked)
{
#define FORMS                                                                                          \
	"f:1: setting 'make_room': each entry must be one of { unit = \"…\"; }, { container = …; " \
	"unit = \"…\"; }, { container = …; }, { vm = …; }, { program = \"…\"; }"
	expect_refused("make_room = ( { } );", FORMS);
	expect_refused("make_room = ( { vm = 105; unit = \"a.service\"; } );", FORMS);
	expect_refused("make_room = ( \"a.service\" );", FORMS);
	expect_refused("make_room = [ ];",
		"f:1: setting 'make_room': must be a list, ( { unit = \"…\"; }, … )");
	expect_refused("make_room = ( { vm = 99; } );",
		"f:1: setting 'vm': 99 is out of range, 100 to 999999999 are allowed");
	expect_refused("make_room = ( { container = 105; unit = \"a\"; } );",
		"f:1: setting 'unit': each must be the name of a unit, like \"ollama.service\", not "
		"'a'");
	expect_refused("make_room = ( { program = \"/etc/$HOME\"; } );",
		"f:1: setting 'program': must be the path of a program, like "
		"\"/etc/gpu-ferry/make-room.d/docker\"");
	expect_refused("make_room = ( { program = \"x\"; } );",
		"f:1: setting 'program': must be the path of a program, like "
		"\"/etc/gpu-ferry/make-room.d/docker\"");
#undef FORMS
}

/* A loan has the number and the name in one text, "999999999/….service", which is never cut. */
Test(conf_settings, name_of_a_service_in_a_container_leaves_room_for_the_number)
{
	struct error error = {0};
	char text[512];

	for (int length = 237; length <= 238; length++) {
		cleanup(settings_done) struct settings settings = {0};

		snprintf(text, sizeof(text),
			"make_room = ( { container = 999999999; unit = \"%0*d.service\"; } );",
			length, 0);
		cr_expect_eq(settings_parse(text, "f", 0, &settings, &error),
			length == 237 ? 0 : -EINVAL);
	}
}

Test(conf_settings, units_and_containers_are_checked)
{
	expect_refused("stop_units = [ \"../x.service\" ];",
		"f:1: setting 'stop_units': each must be the name of a unit, like "
		"\"ollama.service\", not '../x.service'");
	expect_refused("stop_units = [ \"ollama\" ];",
		"f:1: setting 'stop_units': each must be the name of a unit, like "
		"\"ollama.service\", not 'ollama'");
	expect_refused("stop_units = \"x.service\";",
		"f:1: setting 'stop_units': must be a list of systemd units, [ \"…\", \"…\" ]");
	expect_refused("containers = \"all\";",
		"f:1: setting 'containers': must be a list of container numbers, [ 105, 106 ], or "
		"\"any\"");
	expect_refused("containers = [ \"105\" ];",
		"f:1: setting 'containers': must be a list of container numbers, [ 105, 106 ], or "
		"\"any\"");
	expect_refused("containers = [ 105, 99 ];",
		"f:1: setting 'containers': 99 is out of range, 100 to 999999999 are allowed");
	expect_refused("busy = \"kill\";",
		"f:1: setting 'busy': must be one of \"fail\", \"wait\", \"stop\"");
	expect_refused("busy_wait_seconds = 0;",
		"f:1: setting 'busy_wait_seconds': 0 is out of range, 1 to 3600 are allowed");
}

Test(conf_settings, vms_are_checked_whichever_vm_is_asked_for)
{
	expect_refused("vms = ( { vmid = 200; write_deadline_seconds = 0; } );",
		"f:1: setting 'write_deadline_seconds': 0 is out of range, 1 to 3600 are allowed");
	expect_refused("vms = ( { vmid = 200; },\n{ vmid = 200; } );",
		"f:2: setting 'vmid': VM 200 is listed twice in 'vms'");
	expect_refused("vms = ( { boot_display = \"allow\"; } );",
		"f:1: setting 'vms': an entry has no 'vmid'");
	expect_refused("vms = ( { vmid = 99; } );",
		"f:1: setting 'vmid': 99 is out of range, 100 to 999999999 are allowed");
	expect_refused("vms = ( 104 );", "f:1: setting 'vms': each entry must be { vmid = …; … }");
	expect_refused("vms = { vmid = 104; };",
		"f:1: setting 'vms': must be a list, ( { vmid = …; … }, … )");
}

static const char devices[] =
	"devices = ( { address = \"2b:00.0\"; reset_method = \"flr bus\"; power_control = \"on\"; },\n"
	"{ d3cold_allowed = false; address = \"0001:03:00.1\"; reset_method = \"\"; } );\n"
	"vms = ( { vmid = 105; devices = ( ); } );\n";

static void expect_device(const struct settings *settings, size_t index, const char *address,
	const char *attribute, const char *value)
{
	cr_expect_str_eq(settings->devices.items[index].address, address);
	cr_expect_str_eq(settings->devices.items[index].attribute, attribute);
	cr_expect_str_eq(settings->devices.items[index].value, value);
}

Test(conf_settings, devices_are_told_as_the_kernels_files)
{
	cleanup(settings_done) struct settings settings = {0};
	cleanup(settings_done) struct settings without = {0};

	cr_assert_eq(settings_parse(devices, "f", 104, &settings, NULL), 0);
	cr_assert_eq(settings.devices.count, 4u);
	expect_device(&settings, 0, "0000:2b:00.0", "reset_method", "flr bus");
	expect_device(&settings, 1, "0000:2b:00.0", "power/control", "on");
	expect_device(&settings, 2, "0001:03:00.1", "d3cold_allowed", "0");
	expect_device(&settings, 3, "0001:03:00.1", "reset_method", "");
	cr_assert_eq(settings_parse(devices, "f", 105, &without, NULL), 0);
	cr_expect_eq(without.devices.count, 0u);
}

Test(conf_settings, what_is_wrong_with_a_device_is_told_with_its_line)
{
	expect_refused("devices = [ \"2b:00.0\" ];",
		"f:1: setting 'devices': must be a list, ( { address = \"…\"; … }, … )");
	expect_refused("devices = ( \"2b:00.0\" );",
		"f:1: setting 'devices': each entry must be { address = \"…\"; … }");
	expect_refused("devices = (\n{ power_control = \"on\"; } );",
		"f:2: setting 'devices': each must be the address of a function, like "
		"\"0000:2b:00.0\", not '?'");
	expect_refused("devices = (\n{ address = \"2b:00.0\"; power_control = \"on\"; },\n"
		       "{ address = \"0000:2b:00.0\"; } );",
		"f:3: setting 'devices': 0000:2b:00.0 is listed twice");
	expect_refused("devices = ( { address = \"2b:00.0\";\nd3cold = true; } );",
		"f:2: setting 'd3cold': there is no such setting of a device (see "
		"gpu-ferry.conf(5))");
	expect_refused("devices = ( { address = \"2b:00.0\"; d3cold_allowed = 1; } );",
		"f:1: setting 'd3cold_allowed': must be true or false");
	expect_refused("devices = ( { address = \"2b:00.0\"; power_control = \"off\"; } );",
		"f:1: setting 'power_control': must be one of \"on\", \"auto\"");
	expect_refused("devices = ( { address = \"2b:00.0\"; reset_method = \"flr;bus\"; } );",
		"f:1: setting 'reset_method': must be the kernel's reset methods with a space "
		"between them, like \"flr bus\", or \"\" for no reset");
}

Test(conf_settings, syntax_errors_name_their_line)
{
	expect_refused("allow = [ ];\nreturn_wait_seconds = = 3;", "f:2: syntax error");
	expect_refused("boot_display = \"allow\";\nboot_display = \"allow\";",
		"f:2: duplicate setting name");
}

/* The file outside must not even be opened: a FIFO would block the start of the VM. */
Test(conf_settings, include_is_refused_and_opens_nothing, .timeout = 5)
{
	struct scratch scratch;
	char path[64];
	char text[128];

	scratch_init(&scratch);
	snprintf(path, sizeof(path), "%s/fifo", scratch.path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	snprintf(text, sizeof(text), "@include \"%s\"\n", path);
	expect_refused(text, "f:1: '@include' is not supported");
	snprintf(text, sizeof(text), "\n \t@include \"%s\"\n", path);
	expect_refused(text, "f:2: '@include' is not supported");
	scratch_done(&scratch);
}

static int read_with_mode(mode_t mode, uid_t owner, struct error *error)
{
	cleanup(settings_done) struct settings settings = {0};
	struct scratch scratch;
	char path[128];
	int r;

	scratch_init(&scratch);
	scratch_write(&scratch, SETTINGS_PATH, "return_wait_seconds = 7;\n");
	snprintf(path, sizeof(path), "%s/" SETTINGS_PATH, scratch.path);
	cr_assert_eq(chmod(path, mode), 0);
	if (owner)
		cr_assert_eq(chown(path, owner, owner), 0);
	r = settings_read(&scratch.root, 0, &settings, error);
	if (r == 0)
		cr_expect_eq(settings.return_wait_seconds, 7u);
	scratch_done(&scratch);
	return r;
}

Test(conf_settings, unsafe_file_is_refused)
{
	struct error error = {0};

	cr_expect_eq(read_with_mode(0644, 0, &error), 0, "%s", error.message);
	cr_expect_eq(read_with_mode(0664, 0, &error), -EPERM);
	cr_expect_eq(read_with_mode(0646, 0, &error), -EPERM);
	if (getuid() == 0)
		cr_expect_eq(read_with_mode(0644, 1000, &error), -EPERM);
}
