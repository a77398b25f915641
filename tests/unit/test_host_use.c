/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/holder/host_use.h"

#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

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
	scratch_link(&scratch, SDA "/subsystem", "../../class/block");
	scratch_link(&scratch, SDA "/sda1/subsystem", "../../class/block");
	scratch_write(&scratch, "proc/self/mountinfo",
		"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n");
	scratch_write(&scratch, "proc/swaps", "Filename\tType\tSize\n");
	cr_assert_eq(kernel_open(scratch.path, &kernel, NULL), 0);
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

Test(host_use, the_default_route_is_what_the_host_would_lose)
{
	static const char head[] =
		"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n";
	static const char cut_off[] = "network interface eno1 is up and carries the default route: "
				      "the host would be cut off";
	char routes[256];

	scratch_write(&scratch, DEVICES NIC "/net/eno1/flags", "0x1003\n");
	snprintf(routes, sizeof(routes), "%s%s", head,
		"eno10\t00000000\tFE01A8C0\t0003\t0\t0\t0\t00000000\n"
		"eno1\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
		"eno1\t00000000\t00000000\t0001\t0\t0\t0\t00000080\n");
	scratch_write(&scratch, "proc/net/route", routes);
	expect_use(NIC, "network interface eno1 is up");
	snprintf(routes, sizeof(routes), "%s%s", head,
		"eno1.5\t00000000\tFE01A8C0\t0003\t0\t0\t0\t00000000\n");
	scratch_write(&scratch, "proc/net/route", routes);
	expect_use(NIC, cut_off);
	scratch_write(&scratch, "proc/net/route", head);
	scratch_write(&scratch, "proc/net/ipv6_route",
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		"fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eno1\n");
	expect_use(NIC, cut_off);
	scratch_write(&scratch, "proc/net/ipv6_route", "");
	scratch_link(&scratch, DEVICES NIC "/net/eno1/master", "../../vmbr0");
	expect_use(NIC, "network interface eno1 belongs to a bridge or bond");
	snprintf(routes, sizeof(routes), "%s%s", head,
		"vmbr0\t00000000\tFE01A8C0\t0003\t0\t0\t0\t00000000\n");
	scratch_write(&scratch, "proc/net/route", routes);
	expect_use(NIC,
		"network interface eno1 belongs to a bridge or bond and carries the default "
		"route: the host would be cut off");
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

/* Any user makes this file long: FUSE allows him a thousand mounts. */
Test(host_use, a_mount_behind_thousands_of_a_users_is_found)
{
	char line[4200];
	auto_free char *mounts = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&mounts, &size);

	cr_assert_not_null(stream);
	snprintf(line, sizeof(line), "40 22 0:50 / /home/%04000d rw - fuse.x x rw\n", 0);
	for (unsigned int i = 0; i < 1000; i++)
		fputs(line, stream);
	fputs("30 22 8:1 / /data rw,relatime shared:2 - ext4 /dev/sda1 rw\n", stream);
	cr_assert_eq(fclose(stream), 0);
	scratch_write(&scratch, "proc/self/mountinfo", mounts);
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
	expect_use(DISK, "disk sda1 is used for swap");
}

Test(host_use, a_disk_that_is_part_of_a_volume_is_used)
{
	scratch_write(&scratch, SDA "/holders/dm-0", "");
	expect_use(DISK, "disk sda is part of a volume (LVM, MD, multipath)");
}

#define NVME "0000:06:00.0"
#define USB "0000:07:00.0"
#define HUB DEVICES USB "/usb3/3-1"

static void add_disk(const char *path, const char *device)
{
	char file[256];

	snprintf(file, sizeof(file), "%s/dev", path);
	scratch_write(&scratch, file, device);
	snprintf(file, sizeof(file), "%s/subsystem", path);
	scratch_link(&scratch, file, "../../class/block");
}

Test(host_use, an_nvme_disk_with_a_mounted_partition_is_used)
{
	add_disk(DEVICES NVME "/nvme/nvme0/nvme0n1", "259:0");
	add_disk(DEVICES NVME "/nvme/nvme0/nvme0n1/nvme0n1p2", "259:2");
	cr_expect_not(host_use_find(&kernel, NVME, text, sizeof(text)), "%s", text);
	scratch_write(&scratch, "proc/self/mountinfo",
		"30 22 259:2 / /data rw,relatime shared:2 - ext4 /dev/nvme0n1p2 rw\n");
	expect_use(NVME, "disk nvme0n1p2 is mounted");
}

/* With multipath the disk is the subsystem's, and the controller has but a hidden path to it. */
Test(host_use, a_disk_behind_an_nvme_path_is_used)
{
	scratch_write(&scratch, DEVICES NVME "/nvme/nvme1/nvme0c1n2/size", "8\n");
	scratch_link(&scratch, "sys/class/block/nvme0n2",
		"../../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n2");
	add_disk("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n2", "259:5");
	cr_expect_not(host_use_find(&kernel, NVME, text, sizeof(text)), "%s", text);
	scratch_write(&scratch,
		"sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n2/holders/dm-3", "");
	expect_use(NVME, "disk nvme0n2 is part of a volume (LVM, MD, multipath)");
}

Test(host_use, mounted_storage_behind_usb_is_used)
{
	add_disk(HUB "/3-1.2/3-1.2:1.0/host6/target6:0:0/6:0:0:0/block/sdb", "8:16");
	add_disk(HUB "/3-1.2/3-1.2:1.0/host6/target6:0:0/6:0:0:0/block/sdb/sdb1", "8:17");
	cr_expect_not(host_use_find(&kernel, USB, text, sizeof(text)), "%s", text);
	scratch_write(&scratch, "proc/self/mountinfo",
		"30 22 8:17 / /stick rw,relatime shared:2 - vfat /dev/sdb1 rw\n");
	expect_use(USB, "disk sdb1 is mounted");
}

static void add_input(const char *folder, const char *name, const char *keys, const char *axes)
{
	char file[256];

	snprintf(file, sizeof(file), "%s/name", folder);
	scratch_write(&scratch, file, name);
	snprintf(file, sizeof(file), "%s/capabilities/key", folder);
	scratch_write(&scratch, file, keys);
	snprintf(file, sizeof(file), "%s/capabilities/rel", folder);
	scratch_write(&scratch, file, axes);
}

/* The capabilities are those of real devices. */
Test(host_use, a_keyboard_on_a_usb_controller_is_the_hosts)
{
	add_input(HUB "/3-1:1.0/0003:046D:C31C.0001/input/input7", "Logitech USB Keyboard\n",
		"1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe\n", "0\n");
	expect_use(USB, "keyboard \"Logitech USB Keyboard\" is plugged into it");
}

/* The name is the device's own text, and a device may be made by anybody. */
Test(host_use, a_long_name_of_a_keyboard_is_cut)
{
	char name[200], expected[200];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	add_input(HUB "/3-1:1.0/0003:046D:C31C.0001/input/input7", name,
		"1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe\n", "0\n");
	snprintf(expected, sizeof(expected), "keyboard \"%.63s\" is plugged into it", name);
	expect_use(USB, expected);
}

Test(host_use, a_mouse_on_a_usb_controller_is_the_hosts)
{
	add_input(HUB "/3-1:1.0/0003:046D:C077.0002/input/input8", "Logitech USB Optical Mouse\n",
		"ff0000 0 0 0 0\n", "903\n");
	expect_use(USB, "mouse \"Logitech USB Optical Mouse\" is plugged into it");
}

Test(host_use, buttons_of_a_headset_are_no_keyboard)
{
	add_input(HUB "/3-1:1.3/0003:0951:16A4.0003/input/input9", "HyperX Headset\n",
		"1000000000000 0 c000000000000 0\n", "0\n");
	cr_expect_not(host_use_find(&kernel, USB, text, sizeof(text)), "%s", text);
}

Test(host_use, the_plugs_of_an_audio_function_are_no_persons)
{
	add_input(DEVICES "0000:08:00.1/sound/card1/input12", "HDA NVidia HDMI/DP,pcm=3\n",
		"fffffffffffffffe\n", "0\n");
	cr_expect_not(host_use_find(&kernel, "0000:08:00.1", text, sizeof(text)), "%s", text);
}

static dev_t claimed;

static int claim(void *context, const char *path, dev_t device)
{
	(void)context;
	cr_expect(strncmp(path, "dev/sda", 7) == 0, "%s", path);
	return device == claimed;
}

Test(host_use, a_disk_that_the_kernel_claims_is_used_though_sysfs_says_nothing)
{
	struct kernel_ops ops = *kernel.ops;
	struct kernel asked = {.ops = &ops, .context = kernel.context, .root = kernel.root};

	ops.block_is_claimed = claim;
	cr_expect_not(host_use_find_claimed(&asked, DISK, text, sizeof(text)), "%s", text);
	claimed = makedev(8, 1);
	cr_expect_not(host_use_find(&asked, DISK, text, sizeof(text)), "it opens nothing");
	cr_assert(host_use_find_claimed(&asked, DISK, text, sizeof(text)));
	cr_expect_str_eq(
		text, "disk sda1 is in use by the kernel (mounted elsewhere, or part of a pool)");
	scratch_write(&scratch, "run/udev/data/b8:1", "S:disk/by-id/x\nE:ID_FS_TYPE=zfs_member\n");
	cr_assert(host_use_find_claimed(&asked, DISK, text, sizeof(text)));
	cr_expect_str_eq(text, "disk sda1 is in use by the kernel (zfs_member)");
}

Test(host_use, a_captured_tree_claims_nothing)
{
	cr_expect_not(host_use_find_claimed(&kernel, DISK, text, sizeof(text)), "%s", text);
}
