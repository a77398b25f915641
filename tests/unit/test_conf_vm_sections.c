/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/vm_sections.h"
#include "kmod-helper/base/cleanup.h"
#include <criterion/criterion.h>
#include <string.h>

static const char text[] = "hostpci0: 01:00\nname: now\n\n"
			   "[PENDING]\nhostpci1: 02:00\nhostpci1: 03:00\n"
			   "delete: name,!net0\nNoKey: 1\n\n"
			   "[before]\n#hookscript: no\nhookscript: local:snippets/gpu-ferry\n"
			   "name:   was   \n\n"
			   "[special:cloudinit]\nname: cloud\n";

static void parse(struct vm_sections *ret)
{
	cr_assert_eq(vm_sections_parse(text, strlen(text), ret, NULL), 0);
}

Test(conf_vm_sections, pending_changes_and_deletions_are_found)
{
	cleanup(vm_sections_done) struct vm_sections sections = {0};
	bool pending = false;

	parse(&sections);
	cr_expect_str_eq(vm_pending_get(&sections, "hostpci1", &pending), "03:00");
	cr_expect(pending);
	cr_expect_null(vm_pending_get(&sections, "name", &pending));
	cr_expect(pending, "a deletion waits");
	cr_expect_null(vm_pending_get(&sections, "net0", &pending));
	cr_expect(pending, "a forced deletion waits");
	cr_expect_null(vm_pending_get(&sections, "hostpci0", &pending));
	cr_expect_not(pending, "what stands above waits for nothing");
}

Test(conf_vm_sections, a_containers_changes_wait_in_a_section_of_their_own)
{
	static const char config[] = "dev0: /dev/null\n\n[pve:pending]\ndelete: dev0\n"
				     "dev1: /dev/kfd\n\n[pending]\ndev2: /dev/zero\n";
	cleanup(vm_sections_done) struct vm_sections sections = {0};
	bool pending = false;

	cr_assert_eq(vm_sections_parse(config, strlen(config), &sections, NULL), 0);
	sections.container = true;
	cr_expect_null(vm_pending_get(&sections, "dev0", &pending));
	cr_expect(pending);
	cr_expect_str_eq(vm_pending_get(&sections, "dev1", &pending), "/dev/kfd");
	cr_expect_null(vm_pending_get(&sections, "dev2", &pending));
	cr_expect_not(pending, "a snapshot may have the name pending");
}

Test(conf_vm_sections, what_stands_above_is_kept_as_it_is_written)
{
	static const char odd[] =
		"#hostpci0: no\nhostpci0: 2b:00,of-tomorrow=1 \r\ncpu: a\ncpu: b\n"
		"[snap]\ncpu: c\nhostpci1: 1\n";
	cleanup(vm_sections_done) struct vm_sections sections = {0};

	cr_assert_eq(vm_sections_parse(odd, strlen(odd), &sections, NULL), 0);
	cr_expect_str_eq(vm_section_get(&sections.own, "hostpci0"), "2b:00,of-tomorrow=1");
	cr_expect_str_eq(vm_section_get(&sections.own, "cpu"), "b");
	cr_expect_null(vm_section_get(&sections.own, "hostpci1"));
}

Test(conf_vm_sections, snapshots_are_told_from_other_sections)
{
	cleanup(vm_sections_done) struct vm_sections sections = {0};

	parse(&sections);
	cr_assert_eq(sections.count, 3u);
	cr_expect_not(vm_section_is_snapshot(&sections.items[0]));
	cr_expect(vm_section_is_snapshot(&sections.items[1]));
	cr_expect_not(vm_section_is_snapshot(&sections.items[2]));
	cr_expect_str_eq(
		vm_section_get(&sections.items[1], "hookscript"), "local:snippets/gpu-ferry");
	cr_expect_str_eq(vm_section_get(&sections.items[1], "name"), "was");
	cr_expect_null(vm_section_get(&sections.items[1], "hostpci0"));
}
