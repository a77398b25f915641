/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/container.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static void expect(const char *text, const char *nodes)
{
	cleanup(names_done) struct names names = {0};
	auto_free char *copy = strdup(text);
	char found[512] = "";

	cr_assert_eq(container_nodes_parse(copy, &names), 0);
	for (size_t i = 0; i < names.count; i++) {
		strcat(found, names.names[i]);
		strcat(found, " ");
	}
	cr_expect_str_eq(found, nodes, "%s: %s", text, found);
}

Test(container, devices_and_bind_mounts_are_found)
{
	expect("arch: amd64\ndev0: /dev/nvidia0\ndev1: path=/dev/nvidiactl,mode=0666\n"
	       "dev2: mode=0666,path=/dev/dri/renderD128\n",
		"dev/nvidia0 dev/nvidiactl dev/dri/renderD128 ");
	expect("lxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir\n"
	       "lxc.mount.entry = /dev/kfd dev/kfd none bind\n",
		"dev/dri dev/kfd ");
	expect("lxc.mount.entry: /dev/dri/ dev/dri/ none bind\nlxc.mount.entry: /dev/ dev none bind\n",
		"dev/dri ");
}

Test(container, numbers_of_devices_are_found)
{
	expect("lxc.cgroup2.devices.allow: c 226:128 rwm\nlxc.cgroup.devices.allow = c 195:0 rw\n"
	       "lxc.cgroup2.devices.allow: c 195:* rwm\nlxc.cgroup2.devices.allow: b 8:0 r\n"
	       "lxc.cgroup2.devices.allow: a\nlxc.cgroup2.devices.deny: c 1:1 rwm\n",
		"226:128 195:0 ");
}

Test(container, what_is_no_node_does_not_count)
{
	expect("dev0:\ndev1: gid=5\ndevice: /dev/x\nmp0: /dev/dri,mp=/x\ndev2: /etc/passwd\n"
	       "lxc.mount.entry: /srv srv none bind\nlxc.mount.entryx: /dev/x\n#dev3: /dev/x\n",
		"");
}

Test(container, snapshots_do_not_count)
{
	expect("dev0: /dev/nvidia0\n\n[before]\ndev1: /dev/nvidia1\n", "dev/nvidia0 ");
}

Test(container, every_container_of_the_node_is_read)
{
	cleanup(containers_done) struct containers containers = {0};
	struct scratch scratch;

	scratch_init(&scratch);
	scratch_write(
		&scratch, "etc/pve/lxc/105.conf", "dev0: /dev/nvidia0\ndev1: /dev/nvidiactl\n");
	scratch_write(&scratch, "etc/pve/lxc/106.conf", "arch: amd64\n");
	scratch_write(&scratch, "etc/pve/lxc/107.conf", "dev0: /dev/dri/card0\n");
	scratch_write(&scratch, "etc/pve/lxc/107.conf.bak", "dev0: /dev/dri/card1\n");
	scratch_write(&scratch, "etc/pve/lxc/99.conf", "dev0: /dev/dri/card1\n");
	cr_assert_eq(containers_read(&scratch.root, &containers, NULL), 0);
	cr_assert_eq(containers.count, 2);
	cr_expect_eq(containers.items[0].ctid, 105);
	cr_expect_eq(containers.items[0].nodes.count, 2);
	cr_expect_eq(containers.items[1].ctid, 107);
	cr_expect_str_eq(containers.items[1].nodes.names[0], "dev/dri/card0");
	scratch_done(&scratch);
}

Test(container, a_node_without_containers_has_none)
{
	struct containers containers;
	struct scratch scratch;

	scratch_init(&scratch);
	cr_assert_eq(containers_read(&scratch.root, &containers, NULL), 0);
	cr_expect_eq(containers.count, 0);
	scratch_done(&scratch);
}
