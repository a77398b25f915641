/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/node_name.h"
#include "conf/pve/vm_config.h"
#include "kmod-helper/base/cleanup.h"
#include "test_conf_support.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/stat.h>

static const char *const keys[] = {"agent", "args", "bios", "cpu", "description", "hookscript",
	"hostpci0", "hostpci1", "hostpci2", "hostpci3", "hostpci4", "hostpci5", "hostpci6",
	"hostpci7", "hostpci8", "hostpci9", "hostpci10", "hostpci11", "hostpci12", "hostpci13",
	"hostpci14", "hostpci15", "lock", "machine", "name", "ostype", "parent", "template", "vga"};

static void parse(const char *text, struct vm_config *ret)
{
	cr_assert_eq(vm_config_parse(text, strlen(text), ret, NULL), 0);
}

/* Which models there are is the version's, and not judged. */
static bool is_cpu_model(const char *key, const char *value)
{
	return strcmp(key, "cpu") == 0 && value && !strpbrk(value, ",=");
}

static void config_holds(const struct vm_config *config, const char *file, const char *json)
{
	json_object *expected = json_tokener_parse(json);

	cr_assert_not_null(expected, "%s", json);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const char *value = vm_config_get(config, keys[i]);
		json_object *wanted;

		if (json_object_object_get_ex(expected, keys[i], &wanted))
			cr_expect_str_eq(value ? value : "(none)", json_object_get_string(wanted),
				"%s: %s", file, keys[i]);
		else if (!is_cpu_model(keys[i], value))
			cr_expect_null(value, "%s: %s is '%s'", file, keys[i], value);
	}
	json_object_put(expected);
}

static void file_holds(const char *folder, const struct row *row)
{
	cleanup(vm_config_done) struct vm_config config = {0};
	auto_free char *text = NULL;
	char path[128];
	size_t length;

	snprintf(path, sizeof(path), "%s/%s", folder, row->fields[0]);
	text = conformance_read(path, &length);
	cr_assert_eq(vm_config_parse(text, length, &config, NULL), 0);
	config_holds(&config, path, row->fields[1]);
}

static void row_holds(const struct row *row)
{
	file_holds("vm", row);
}

static void row_of_more_holds(const struct row *row)
{
	file_holds("vm-more", row);
}

Test(conf_vm_config, every_file_of_proxmox_holds)
{
	rows_check("vm.tsv", row_holds);
	rows_check("vm-more.tsv", row_of_more_holds);
}

static void expect_value(const char *text, const char *key, const char *value)
{
	cleanup(vm_config_done) struct vm_config config = {0};
	const char *found;

	parse(text, &config);
	found = vm_config_get(&config, key);
	cr_expect_str_eq(found ? found : "(none)", value, "%s", text);
}

Test(conf_vm_config, invalid_duplicate_leaves_the_valid_one)
{
	expect_value("hostpci0: 01:00\nhostpci0: nonsense\n", "hostpci0", "01:00");
	expect_value("machine: q35\nmachine: vax\n", "machine", "q35");
}

Test(conf_vm_config, booleans_are_normalised)
{
	expect_value("template: Yes\n", "template", "1");
	expect_value("template: off\n", "template", "0");
	expect_value("template: 2\n", "template", "(none)");
	expect_value("onboot: -1\n", "onboot", "(none)");
}

Test(conf_vm_config, what_is_not_read_here_is_not_judged)
{
	cleanup(vm_config_done) struct vm_config config = {0};

	parse("cores: 007\nnext-years-key: \"a b\"\ncpu: DiamondRapids,flags=+brand-new\n",
		&config);
	cr_expect_eq(config.warnings.count, 0u);
	expect_value("cores: 007\n", "cores", "007");
	expect_value("next-years-key: \"a b\"\n", "next-years-key", "\"a b\"");
	expect_value(
		"cpu: DiamondRapids,flags=+brand-new\n", "cpu", "DiamondRapids,flags=+brand-new");
	expect_value("cpu: host\ncpu: host,hidden=perhaps\n", "cpu", "host");
}

/* Proxmox checks an enumeration when it is set, not when it is read. */
Test(conf_vm_config, plain_strings_are_not_checked_but_lose_their_quotes)
{
	expect_value("ostype: \"win10\"\n", "ostype", "win10");
	expect_value("bios: vax\n", "bios", "vax");
	expect_value("args: \"-cpu host\"\n", "args", "\"-cpu host\"");
}

Test(conf_vm_config, value_of_blanks_is_the_last_blank)
{
	expect_value("args: \t\n", "args", "\t");
	expect_value("hostpci0:  \n", "hostpci0", " ");
	expect_value("hostpci0:\n", "hostpci0", "(none)");
	expect_value("hostpci0: \r\n", "hostpci0", "(none)");
	expect_value("hostpci0: 01:00\r\n", "hostpci0", "01:00");
}

Test(conf_vm_config, snapshot_state_swallows_its_line)
{
	expect_value("args: -x snapstate: prepare \n", "args", "(none)");
	expect_value("args: -x snapstate: other\n", "args", "-x snapstate: other");
	expect_value("description: snapstate: delete\n", "description", "snapstate: delete");
}

Test(conf_vm_config, description_is_decoded_to_utf8)
{
	expect_value("#%ea%b0%80%3A\n", "description", "가:");
	expect_value("#a%ff%00b\n", "description",
		"a\xef\xbf\xbd\xef\xbf\xbd"
		"b");
	expect_value("#a\xe9\n", "description", "a\xef\xbf\xbd");
	expect_value("#100%\n#%4\n", "description", "100%\n%4");
	expect_value("#\n", "description", "");
}

static bool is_windows(const char *text)
{
	cleanup(vm_config_done) struct vm_config config = {0};

	parse(text, &config);
	return vm_config_is_windows(&config);
}

Test(conf_vm_config, windows_is_what_proxmox_knows_as_windows)
{
	static const char *const types[] = {
		"wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11"};

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		char line[32];

		snprintf(line, sizeof(line), "ostype: %s\n", types[i]);
		cr_expect(is_windows(line), "%s", types[i]);
	}
	cr_expect_not(is_windows("ostype: l26\n"));
	cr_expect_not(is_windows("ostype: win12345\n"));
	cr_expect_not(is_windows(""));
}

static bool has_agent(const char *text)
{
	cleanup(vm_config_done) struct vm_config config = {0};

	cr_assert_eq(vm_config_parse(text, strlen(text), &config, NULL), 0);
	return vm_config_has_agent(&config);
}

Test(conf_vm_config, agent_is_on_when_its_switch_is)
{
	cr_expect(has_agent("agent: 1\n"));
	cr_expect(has_agent("agent: enabled=1,fstrim_cloned_disks=1\n"));
	cr_expect_not(has_agent("agent: 0\n"));
	cr_expect_not(has_agent("agent: enabled=0,type=isa\n"));
	cr_expect_not(has_agent(""));
}

static bool is_q35(const char *text)
{
	cleanup(vm_config_done) struct vm_config config = {0};

	parse(text, &config);
	return vm_config_is_q35(&config);
}

Test(conf_vm_config, q35_is_a_machine_type)
{
	cr_expect(is_q35("machine: q35\n"));
	cr_expect(is_q35("machine: viommu=intel,type=pc-q35-9.0+pve1\n"));
	cr_expect_not(is_q35("machine: pc\n"));
	cr_expect_not(is_q35("machine: viommu=intel\n"));
	cr_expect_not(is_q35(""));
}

Test(conf_vm_config, predicates_look_before_the_first_section)
{
	cleanup(vm_config_done) struct vm_config config = {0};

	parse("template: 0\n[PENDING]\nhostpci0: 01:00\ntemplate: 1\n", &config);
	cr_expect_not(vm_config_has_hostpci(&config));
	cr_expect_not(vm_config_is_template(&config));
}

Test(conf_vm_config, ignored_lines_are_told)
{
	cleanup(vm_config_done) struct vm_config config = {0};

	parse("ostype: l26\nagent: maybe\n", &config);
	cr_assert_eq(config.warnings.count, 1u);
	cr_expect(strstr(config.warnings.names[0], "line 2: 'agent' is ignored: "));
}

Test(conf_vm_config, ignored_hostpci_is_kept_apart)
{
	cleanup(vm_config_done) struct vm_config config = {0};

	parse("hostpci0: 2B:00\nhostpci16: 2b:00\nhostpci1: 01:00;pcie=1\nhostpci1: 01:00\n"
	      "[PENDING]\nhostpci2: 2B:00\n",
		&config);
	cr_assert_eq(config.ignored_count, 2u);
	cr_expect_str_eq(config.ignored[0].key, "hostpci0");
	cr_expect_str_eq(config.ignored[0].value, "2B:00");
	cr_expect_str_eq(config.ignored[1].key, "hostpci16");
	cr_expect_null(vm_config_hostpci(&config, 0));
	cr_assert_eq(config.warnings.count, 1u);
	cr_expect(strstr(config.warnings.names[0], "'hostpci1: 01:00;pcie=1'"));
}

static int read_vm(const struct scratch *scratch, unsigned int vmid, const char *migrated_from,
	struct error *error)
{
	cleanup(vm_config_done) struct vm_config config = {0};
	struct vm_config_read_options options = {.vmid = vmid, .migrated_from = migrated_from};
	int r = vm_config_read(&scratch->root, &options, &config, error);

	if (r == 0)
		cr_expect_str_eq(vm_config_get(&config, "hostpci0"), "01:00");
	return r;
}

Test(conf_vm_config, file_is_found_through_the_link_or_by_the_nodes_name)
{
	struct scratch scratch;
	struct error error = {0};

	scratch_init(&scratch);
	scratch_write(&scratch, "etc/pve/nodes/n1/qemu-server/104.conf", "hostpci0: 01:00\n");
	scratch_write(&scratch, "etc/hostname", "n1.example.org\n");
	cr_expect_eq(read_vm(&scratch, 104, NULL, &error), 0, "%s", error.message);
	scratch_link(&scratch, "etc/pve/local", "nodes/n2");
	cr_expect_eq(read_vm(&scratch, 104, "", &error), -EREMOTE);
	cr_expect(strstr(error.message, "not on this node but on n1"), "%s", error.message);
	scratch_link(&scratch, "etc/pve/qemu-server", "nodes/n1/qemu-server");
	cr_expect_eq(read_vm(&scratch, 104, NULL, &error), 0, "%s", error.message);
	scratch_done(&scratch);
}

Test(conf_vm_config, vm_that_comes_is_read_where_it_comes_from)
{
	struct scratch scratch;
	struct error error = {0};

	scratch_init(&scratch);
	scratch_write(&scratch, "etc/hostname", "n1\n");
	scratch_write(&scratch, "etc/pve/nodes/n2/qemu-server/104.conf", "hostpci0: 01:00\n");
	cr_expect_eq(read_vm(&scratch, 104, "n2", &error), 0, "%s", error.message);
	cr_expect_eq(read_vm(&scratch, 104, "../nodes/n2", &error), -EINVAL);
	cr_expect_eq(read_vm(&scratch, 104, "n2/../n2", &error), -EINVAL);
	scratch_done(&scratch);
}

Test(conf_vm_config, what_is_no_vm_is_told_apart)
{
	struct scratch scratch;
	struct error error = {0};
	char path[128];
	char *large = calloc(1, VM_CONFIG_MAX_BYTES + 2);

	scratch_init(&scratch);
	scratch_write(&scratch, "etc/hostname", "n1\n");
	cr_expect_eq(read_vm(&scratch, 100, NULL, &error), -ENOTCONN);
	cr_expect(strstr(error.message, "is pve-cluster running"), "%s", error.message);
	scratch_write(&scratch, "etc/pve/local/ssl", "");
	cr_expect_eq(read_vm(&scratch, 100, NULL, &error), -ENOENT);
	cr_expect(strstr(error.message, "there is no VM 100"), "%s", error.message);
	scratch_write(&scratch, "etc/pve/nodes/n1/lxc/101.conf", "x: y\n");
	cr_expect_eq(read_vm(&scratch, 101, NULL, &error), -EISNAM);
	scratch_write(&scratch, "etc/pve/qemu-server/102.conf/x", "");
	cr_expect_eq(read_vm(&scratch, 102, NULL, &error), -EISDIR);
	snprintf(path, sizeof(path), "%s/etc/pve/qemu-server/103.conf", scratch.path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_expect_eq(read_vm(&scratch, 103, NULL, &error), -ENXIO);
	snprintf(path, sizeof(path), "%s/etc/pve/qemu-server/104.conf", scratch.path);
	scratch_write(&scratch, "etc/pve/qemu-server/104.conf", "hostpci0: 01:00\n");
	cr_assert_eq(truncate(path, 20), 0);
	cr_expect_eq(read_vm(&scratch, 104, NULL, &error), -EILSEQ);
	memset(large, 'a', VM_CONFIG_MAX_BYTES + 1);
	scratch_write(&scratch, "etc/pve/qemu-server/105.conf", large);
	cr_expect_eq(read_vm(&scratch, 105, NULL, &error), -EFBIG);
	free(large);
	scratch_done(&scratch);
}

/* Proxmox writes what a browser sent as Latin-1, and no reader of its own minds. */
Test(conf_vm_config, bytes_of_others_do_not_stop_a_start)
{
	struct scratch scratch;
	struct error error = {0};

	scratch_init(&scratch);
	scratch_write(&scratch, "etc/hostname", "n1\n");
	scratch_write(&scratch, "etc/pve/qemu-server/104.conf",
		"#caf\xe9 \033[2J\nciuser: m\xfcller\nname: \x01\xff\nhostpci0: 01:00\n");
	cr_expect_eq(read_vm(&scratch, 104, NULL, &error), 0, "%s", error.message);
	scratch_done(&scratch);
}

Test(conf_node, names_are_checked)
{
	cr_expect(node_name_is_valid("pve1"));
	cr_expect(node_name_is_valid("n"));
	cr_expect_not(node_name_is_valid(""));
	cr_expect_not(node_name_is_valid(".."));
	cr_expect_not(node_name_is_valid("a/b"));
	cr_expect_not(node_name_is_valid("a-"));
	cr_expect_not(node_name_is_valid("a\n"));
}

Test(conf_node, name_comes_from_the_link_the_file_or_the_kernel)
{
	struct scratch scratch;
	struct error error = {0};
	char name[NODE_NAME_SIZE];

	scratch_init(&scratch);
	cr_assert_eq(node_name(&scratch.root, name, sizeof(name), &error), 0, "%s", error.message);
	scratch_write(&scratch, "etc/hostname", "fromfile.example.org\n");
	cr_assert_eq(node_name(&scratch.root, name, sizeof(name), &error), 0, "%s", error.message);
	cr_expect_str_eq(name, "fromfile");
	scratch_link(&scratch, "etc/pve/local", "nodes/fromlink");
	cr_assert_eq(node_name(&scratch.root, name, sizeof(name), &error), 0, "%s", error.message);
	cr_expect_str_eq(name, "fromlink");
	scratch_done(&scratch);
}
