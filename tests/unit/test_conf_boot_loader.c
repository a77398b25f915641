/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/host/boot_loader.h"
#include "conf/host/grub_defaults.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOADER_INFO "sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
#define UUIDS "etc/kernel/proxmox-boot-uuids"

static struct scratch scratch;

static void begin(void)
{
	scratch_init(&scratch);
}

static void end(void)
{
	scratch_done(&scratch);
}

TestSuite(conf_boot_loader, .init = begin, .fini = end);

static void write_loader_info(const char *text)
{
	char path[128];
	int fd;

	scratch_write(&scratch, LOADER_INFO, "");
	snprintf(path, sizeof(path), "%s/" LOADER_INFO, scratch.path);
	fd = open(path, O_WRONLY);
	cr_assert_eq(write(fd, "\x06\0\0\0", 4), 4);
	for (; *text; text++)
		cr_assert_eq(write(fd, (const char[]){*text, '\0'}, 2), 2);
	cr_assert_eq(write(fd, "\0", 2), 2);
	close(fd);
}

static void expect_loader(enum boot_loader_kind kind, const char *command)
{
	struct boot_loader loader;
	const char *found;

	boot_loader_find(&scratch.root, &loader);
	found = boot_loader_refresh_command(&loader);
	cr_expect_eq(loader.kind, kind, "%d", (int)loader.kind);
	if (command)
		cr_expect_str_eq(found, command);
	else
		cr_expect_null(found);
}

Test(conf_boot_loader, grub_is_it_where_nothing_else_is_told)
{
	expect_loader(BOOT_LOADER_UNKNOWN, NULL);
	scratch_write(&scratch, GRUB_DEFAULTS_PATH, "");
	expect_loader(BOOT_LOADER_GRUB, "update-grub");
	scratch_write(&scratch, UUIDS, "\n");
	expect_loader(BOOT_LOADER_GRUB, "update-grub");
}

/* Legacy BIOS with ZFS, or secure boot: GRUB on boot partitions that proxmox-boot-tool keeps. */
Test(conf_boot_loader, grub_on_proxmoxs_boot_partitions_is_refreshed_by_its_tool)
{
	scratch_write(&scratch, GRUB_DEFAULTS_PATH, "");
	scratch_write(&scratch, UUIDS, "ABCD-1234\n");
	scratch_write(&scratch, KERNEL_COMMAND_LINE_PATH, "root=ZFS=rpool/ROOT/pve-1\n");
	expect_loader(BOOT_LOADER_GRUB, "proxmox-boot-tool refresh");
}

Test(conf_boot_loader, systemd_boot_says_so_itself)
{
	struct boot_loader loader;

	scratch_write(&scratch, GRUB_DEFAULTS_PATH, "");
	scratch_write(&scratch, UUIDS, "ABCD-1234\n");
	write_loader_info("systemd-boot 252.36-1~deb12u1");
	expect_loader(BOOT_LOADER_SYSTEMD_BOOT, "proxmox-boot-tool refresh");
	boot_loader_find(&scratch.root, &loader);
	cr_expect(loader.efi && loader.proxmox_boot_tool);
	cr_expect_str_eq(loader.info, "systemd-boot 252.36-1~deb12u1");
}

Test(conf_boot_loader, grub_says_so_itself_from_2_12)
{
	scratch_write(&scratch, GRUB_DEFAULTS_PATH, "");
	write_loader_info("GRUB 2.12-9");
	expect_loader(BOOT_LOADER_GRUB, "update-grub");
}

static void expect_configured(const char *expected)
{
	cleanup(boot_command_line_done) struct boot_command_line line = {0};
	struct boot_loader loader;
	struct error error = {0};
	char found[1024] = "";

	boot_loader_find(&scratch.root, &loader);
	cr_assert_eq(boot_command_line_read(&scratch.root, &loader, &line, &error), 0, "%s",
		error.message);
	for (size_t i = 0; i < line.configured_count; i++)
		snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s@%s:%u ",
			line.configured[i].text, line.configured[i].path, line.configured[i].line);
	cr_expect_str_eq(line.unknown.status < 0 ? line.unknown.message : found, expected,
		"%s%s, not %s", found, line.unknown.message, expected);
}

Test(conf_boot_loader, arguments_of_grub_know_their_line)
{
	scratch_write(&scratch, GRUB_DEFAULTS_PATH,
		"GRUB_DEFAULT=0\n"
		"GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\n"
		"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on\"  # mine\n"
		"GRUB_CMDLINE_LINUX=''\n");
	scratch_write(&scratch, GRUB_DEFAULTS_FOLDER "/kdump.cfg",
		"GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT crashkernel=1M\"\n");
	scratch_write(&scratch, GRUB_DEFAULTS_FOLDER "/a.cfg", "GRUB_CMDLINE_LINUX=first\n");
	scratch_write(&scratch, GRUB_DEFAULTS_FOLDER "/z.cfg.bak", "GRUB_CMDLINE_LINUX=no\n");
	expect_configured("first@etc/default/grub.d/a.cfg:1 quiet@etc/default/grub:3 "
			  "intel_iommu=on@etc/default/grub:3 "
			  "crashkernel=1M@etc/default/grub.d/kdump.cfg:1 ");
}

Test(conf_boot_loader, what_only_a_shell_could_tell_is_unknown)
{
	scratch_write(&scratch, GRUB_DEFAULTS_PATH,
		"GRUB_CMDLINE_LINUX=ok\nGRUB_CMDLINE_LINUX_DEFAULT=\"$(cat /etc/x)\"\n");
	expect_configured("/etc/default/grub:2: the value of GRUB_CMDLINE_LINUX_DEFAULT is shell "
			  "code, which gpu-ferry does not run");
}

/* Debian's own, kept by kernel-install: proxmox-boot-tool would change nothing there. */
Test(conf_boot_loader, systemd_boot_without_proxmoxs_tool_is_not_for_us)
{
	scratch_write(&scratch, GRUB_DEFAULTS_PATH, "");
	scratch_write(&scratch, KERNEL_COMMAND_LINE_PATH, "root=/dev/sda1\n");
	write_loader_info("systemd-boot 257.8-1~deb13u2");
	expect_loader(BOOT_LOADER_UNKNOWN, NULL);
	expect_configured(
		"this host boots with systemd-boot, and proxmox-boot-tool does not manage its "
		"boot partition");
}

Test(conf_boot_loader, systemd_boot_has_one_line)
{
	write_loader_info("systemd-boot 254");
	scratch_write(&scratch, UUIDS, "ABCD-1234\n");
	expect_configured("read /etc/kernel/cmdline: No such file or directory");
	scratch_write(&scratch, KERNEL_COMMAND_LINE_PATH,
		"root=ZFS=rpool/ROOT/pve-1 boot=zfs\nnot read\n");
	expect_configured("root=ZFS=rpool/ROOT/pve-1@etc/kernel/cmdline:1 "
			  "boot=zfs@etc/kernel/cmdline:1 ");
}

Test(conf_boot_loader, the_running_command_line_is_read_too)
{
	cleanup(boot_command_line_done) struct boot_command_line line = {0};
	struct boot_loader loader = {0};

	scratch_write(&scratch, "proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda quiet\n");
	cr_assert_eq(boot_command_line_read(&scratch.root, &loader, &line, NULL), 0);
	cr_expect_eq(line.running.count, 3u);
	cr_expect_eq(line.unknown.status, -ENOSYS);
}

static void expect_argument(const char *expected)
{
	const char *found = boot_iommu_argument(&scratch.root, true);

	cr_expect_str_eq(found ? found : "none", expected);
}

Test(conf_boot_loader, only_an_older_kernel_on_intel_needs_an_argument)
{
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.2.16-3-pve\n");
	cr_expect_null(boot_iommu_argument(&scratch.root, false));
	expect_argument("intel_iommu=on");
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.8.12-1-pve\n");
	expect_argument("none");
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "7.0.0-1-pve\n");
	expect_argument("none");
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.7.12\n");
	expect_argument("intel_iommu=on");
	scratch_write(&scratch, "boot/config-6.7.12",
		"CONFIG_X=y\nCONFIG_INTEL_IOMMU_DEFAULT_ON=y\nCONFIG_Y=y\n");
	expect_argument("none");
	scratch_write(&scratch, "boot/config-6.7.12",
		"CONFIG_X=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n");
	expect_argument("intel_iommu=on");
}

/* Debian's own third choice, which leaves out the processor's graphics only. */
Test(conf_boot_loader, debians_kernels_need_no_argument)
{
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "5.2.0-3-amd64\n");
	expect_argument("intel_iommu=on");
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.1.0-30-amd64\n");
	expect_argument("none");
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.12.117+deb13-amd64\n");
	expect_argument("none");
	scratch_write(&scratch, "boot/config-6.12.117+deb13-amd64",
		"CONFIG_X=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n"
		"CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n");
	expect_argument("none");
	scratch_write(&scratch, "boot/config-6.12.117+deb13-amd64",
		"CONFIG_X=y\nCONFIG_INTEL_IOMMU_DEFAULT_OFF=y\n");
	expect_argument("intel_iommu=on");
}

Test(conf_boot_loader, an_iommu_that_came_by_itself_needs_no_argument)
{
	scratch_write(&scratch, "proc/sys/kernel/osrelease", "6.7.12\n");
	scratch_write(&scratch, "proc/cmdline", "quiet intel_iommu=on\n");
	scratch_write(&scratch, "sys/class/iommu/dmar0/uevent", "");
	expect_argument("intel_iommu=on");
	scratch_write(&scratch, "proc/cmdline", "quiet\n");
	expect_argument("none");
}

/* ---- the grammar of /etc/default/grub */

static void expect_value(const char *text, const char *name, const char *expected)
{
	cleanup(grub_defaults_done) struct grub_defaults defaults = {0};
	const struct grub_variable *variable;

	cr_assert_eq(grub_defaults_parse(&defaults, "f", text), 0);
	variable = grub_defaults_get(&defaults, name);
	if (!expected) {
		cr_expect(variable && !variable->value, "%s is known: %s", text,
			variable ? variable->value : "unset");
		return;
	}
	cr_assert(variable && variable->value, "%s gives nothing", text);
	cr_expect_str_eq(variable->value, expected, "%s gives '%s'", text, variable->value);
}

Test(grub_defaults, values_are_the_shells)
{
	expect_value("A=b", "A", "b");
	expect_value("A=\n", "A", "");
	expect_value("A='b $C \"'\"d 'e'\"f\\ g", "A", "b $C \"d 'e'f g");
	expect_value("A=\"\\\"\\$\\\\\\x\"", "A", "\"$\\\\x");
	expect_value("B=1\nA=\"$B ${B}2 $Bx $unset.\"", "A", "1 12  .");
	expect_value("A=1; A=2 # 3", "A", "2");
	expect_value("export A=1", "A", "1");
	expect_value("A=\"b\\\nc\"", "A", "bc");
	expect_value("A=\"b\nc\"", "A", "b\nc");
	expect_value("if x; then y; fi\nA=1", "A", "1");
	expect_value("A=100$", "A", "100$");
	expect_value("A=$(b ')' \\) (c) )\nB=1", "B", "1");
	expect_value("A=`b \\` c`\nB=1", "B", "1");
}

Test(grub_defaults, what_a_shell_would_run_is_unknown)
{
	expect_value("A=`b c`\n", "A", NULL);
	expect_value("A=$(b \"$(c)\" ')' )d\n", "A", NULL);
	expect_value("A=${B:-c}\n", "A", NULL);
	expect_value("A=$?\n", "A", NULL);
	expect_value("A=`b`\nB=\"x $A\"", "B", NULL);
	expect_value("A=\"b\n", "A", NULL);
	expect_value("A='b\n", "A", NULL);
	expect_value("if x\nthen\nA=1\nfi\n", "A", NULL);
	expect_value("GRUB_CMDLINE_LINUX=1\n[ x ] && GRUB_CMDLINE_LINUX=2\n", "GRUB_CMDLINE_LINUX",
		NULL);
	expect_value("GRUB_CMDLINE_LINUX_DEFAULT+=\" x\"\n", "GRUB_CMDLINE_LINUX_DEFAULT", NULL);
	expect_value("GRUB_CMDLINE_LINUX=1 true\n", "GRUB_CMDLINE_LINUX", NULL);
}
