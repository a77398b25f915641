/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/host_use.h"

#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

#define NIC "0000:03:00.0"
#define DISK "0000:05:00.0"
#define DEVICES "sys/bus/pci/devices/"
#define SDA DEVICES DISK "/ata1/host0/target0:0:0/0:0:0:0/block/sda"

static struct scratch scratch;
static struct kernel kernel;
static char text[256];

static void setup(void)
{
	scratch_init(&scratch);
	scratch_write(&scratch, DEVICES NIC "/net/eno1/flags", "0x1002\n");
	scratch_write(&scratch, SDA "/dev", "8:0\n");
	scratch_write(&scratch, SDA "/sda1/dev", "8:1\n");
	scratch_write(&scratch, "proc/self/mountinfo",
		"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n");
	scratch_write(&scratch, "proc/swaps", "Filename\tType\tSize\n");
	cr_assert_eq(kernel_open(&scratch.root, &kernel, NULL), 0);
}

static void teardown(void)
{
	kernel_close(&kernel);
	scratch_done(&scratch);
}

TestSuite(host_use, .init = setup, .fini = teardown);

static void expect_use(const char *address, const char *what)
{
	cr_assert(host_use_find(&kernel, address, text, sizeof(text)), "%s is free", address);
	cr_expect_str_eq(text, what);
}

Test(host_use, what_is_idle_is_free)
{
	cr_expect_not(host_use_find(&kernel, NIC, text, sizeof(text)), "%s", text);
	cr_expect_not(host_use_find(&kernel, DISK, text, sizeof(text)), "%s", text);
	cr_expect_not(host_use_find(&kernel, "0000:09:00.0", text, sizeof(text)), "%s", text);
}

Test(host_use, a_network_interface_that_is_up_is_used)
{
	scratch_write(&scratch, DEVICES NIC "/net/eno1/flags", "0x1003\n");
	expect_use(NIC, "network interface eno1 is up");
}

Test(host_use, a_bridge_port_is_used_also_when_it_is_down)
{
	scratch_link(&scratch, DEVICES NIC "/net/eno1/master", "../vmbr0");
	expect_use(NIC, "network interface eno1 belongs to a bridge or bond");
}

Test(host_use, a_disk_with_a_mounted_partition_is_used)
{
	scratch_write(&scratch, "proc/self/mountinfo",
		"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
		"30 22 8:1 / /data rw,relatime shared:2 - ext4 /dev/sda1 rw\n");
	expect_use(DISK, "disk sda1 is mounted");
}

Test(host_use, a_device_number_that_begins_alike_is_another)
{
	scratch_write(&scratch, "proc/self/mountinfo",
		"30 22 8:16 / /data rw,relatime shared:2 - ext4 /dev/sdb rw\n"
		"31 22 8:11 / /more rw,relatime shared:2 - ext4 /dev/sda11 rw\n");
	cr_expect_not(host_use_find(&kernel, DISK, text, sizeof(text)), "%s", text);
}

Test(host_use, a_disk_that_is_swapped_to_is_used)
{
	scratch_write(&scratch, "proc/swaps", "Filename\tType\tSize\n/dev/sda1 partition 100\n");
	expect_use(DISK, "disk sda1 is swapped to");
}

Test(host_use, a_disk_that_is_part_of_a_volume_is_used)
{
	scratch_write(&scratch, SDA "/holders/dm-0", "");
	expect_use(DISK, "disk sda is part of a volume (LVM, MD, multipath)");
}
