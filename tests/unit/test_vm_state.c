/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/vm_process.h"
#include "hooks/ferry/vm_state.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LOCK "var/lock/qemu-server/lock-104.conf"
#define PIDFILE "run/qemu-server/104.pid"
#define SCOPE "sys/fs/cgroup/qemu.slice/104.scope/cgroup.procs"
#define OF_ROOT "Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t%d\n"

static struct scratch scratch;
static struct kernel kernel;

static void setup(void)
{
	scratch_init(&scratch);
	cr_assert_eq(kernel_open(scratch.path, &kernel, NULL), 0);
}

static void teardown(void)
{
	kernel_close(&kernel);
	scratch_done(&scratch);
}

TestSuite(vm_process, .init = setup, .fini = teardown);
TestSuite(vm_state, .init = setup, .fini = teardown);

static void write_of(pid_t pid, const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "proc/%d/%s", (int)pid, name);
	scratch_write(&scratch, path, text);
}

/* A living process; @status: its user and its numbers. */
static void add_process(pid_t pid, const char *command, const char *status)
{
	char text[128];

	snprintf(text, sizeof(text), "%d (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0",
		(int)pid, command);
	write_of(pid, "stat", text);
	write_of(pid, "comm", command);
	write_of(pid, "cmdline", "");
	write_of(pid, "cgroup", "0::/\n");
	snprintf(text, sizeof(text), OF_ROOT, (int)pid);
	write_of(pid, "status", status ? status : text);
}

/* @arguments: blanks stand for the NULs of /proc. */
static void set_arguments(pid_t pid, const char *arguments)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/proc/%d/cmdline", scratch.path, (int)pid);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	for (; *arguments; arguments++)
		fputc(*arguments == ' ' ? '\0' : *arguments, file);
	fputc('\0', file);
	fclose(file);
}

#define QEMU "/usr/bin/kvm -id 104 -name vm -pidfile /var/run/qemu-server/104.pid -daemonize"

Test(vm_process, it_is_the_qemu_that_the_pidfile_names)
{
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0);
	add_process(4242, "kvm", NULL);
	set_arguments(4242, QEMU);
	scratch_write(&scratch, PIDFILE, "4242\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 4242);
	cr_expect_eq(vm_process_find(&scratch.root, 105), 0);
}

/* A pidfile stays when QEMU was killed, and its number goes to somebody else's process. */
Test(vm_process, a_process_that_is_not_roots_is_no_vm)
{
	scratch_write(&scratch, PIDFILE, "4242\n");
	add_process(4242, "kvm", "Name:\tkvm\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t4242\n");
	set_arguments(4242, QEMU);
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0);
	write_of(4242, "status", "Name:\tkvm\nUid:\t1000\t0\t0\t0\nNSpid:\t4242\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0, "a set-user-ID program");
	write_of(4242, "status", "Name:\tkvm\nUid:\t0\t0\t0\t0\nNSpid:\t4242\t7\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0, "a container's root");
	write_of(4242, "cgroup", "0::/user.slice/qemu.slice/104.scope\n");
	write_of(4242, "cmdline", "");
	write_of(4242, "status", "Name:\tkvm\nUid:\t0\t0\t0\t0\nNSpid:\t4242\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0, "not its scope");
}

Test(vm_process, without_a_pidfile_it_is_the_qemu_in_the_scope)
{
	add_process(4242, "kvm", NULL);
	set_arguments(4242, QEMU);
	scratch_write(&scratch, SCOPE, "4200\n4242\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 4242);
	scratch_write(&scratch, SCOPE, "");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0);
	scratch_write(
		&scratch, "sys/fs/cgroup/systemd/qemu.slice/104.scope/cgroup.procs", "4242\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 4242, "cgroup v1");
}

/* A VM with a TPM on Proxmox VE 9: both live on when QEMU dies and qmeventd is down. */
Test(vm_process, what_outlives_qemu_in_the_scope_is_not_the_vm)
{
	add_process(4200, "swtpm", NULL);
	set_arguments(4200, "swtpm socket --pid file=/run/qemu-server/104.swtpm.pid");
	add_process(4201, "qemu-storage-da", NULL);
	set_arguments(4201,
		"qemu-storage-daemon --daemonize --pidfile /run/qemu-server/qsd-104-tpmstate0.pid");
	add_process(4202, "virtiofsd", NULL);
	set_arguments(4202, "/usr/libexec/virtiofsd --fd=12");
	write_of(4200, "cgroup", "0::/qemu.slice/104.scope\n");
	write_of(4201, "cgroup", "0::/qemu.slice/104.scope\n");
	write_of(4202, "cgroup", "0::/qemu.slice/104.scope\n");
	scratch_write(&scratch, SCOPE, "4200\n4201\n4202\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0);
	/* its number was QEMU's */
	scratch_write(&scratch, PIDFILE, "4201\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0);
	cr_expect(vm_is_gone(&kernel, 104));
}

Test(vm_process, a_killed_qemu_runs_until_it_has_ended)
{
	add_process(4242, "kvm", NULL);
	write_of(4242, "cgroup", "0::/qemu.slice/104.scope\n");
	scratch_write(&scratch, SCOPE, "4242\n");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 4242);
	write_of(4242, "stat", "4242 (kvm) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0");
	cr_expect_eq(vm_process_find(&scratch.root, 104), 0);
}

Test(vm_process, a_scope_of_a_thousand_processes_has_qemu_too)
{
	char text[8192];
	size_t length = 0;

	for (unsigned int pid = 10000; length < 7000; pid++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%u\n", pid);
	snprintf(text + length, sizeof(text) - length, "4242\n");
	add_process(4242, "kvm", NULL);
	set_arguments(4242, QEMU);
	scratch_write(&scratch, SCOPE, text);
	cr_expect_eq(vm_process_find(&scratch.root, 104), 4242);
}

Test(vm_process, a_scope_that_cannot_be_read_is_no_end)
{
	scratch_write(&scratch, SCOPE "/x", "");
	cr_expect_lt(vm_process_find(&scratch.root, 104), 0);
	cr_expect_not(vm_is_gone(&kernel, 104));
}

/* Somebody locks VM 104's config; @fd keeps the lock. */
static int lock_config(void)
{
	char path[128];
	int fd;

	scratch_write(&scratch, LOCK, "");
	snprintf(path, sizeof(path), "%s/" LOCK, scratch.path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(flock(fd, LOCK_SH), 0);
	return fd;
}

static void open_config(pid_t pid)
{
	char path[64], target[128];

	snprintf(path, sizeof(path), "proc/%d/fd/3", (int)pid);
	scratch_link(&scratch, path, "/dev/null");
	snprintf(path, sizeof(path), "proc/%d/fd/10", (int)pid);
	snprintf(target, sizeof(target), "%s/" LOCK, scratch.path);
	scratch_link(&scratch, path, target);
}

/* As /proc/locks shows the lock of @fd. */
static void write_locks(int fd, pid_t pid)
{
	struct stat status;
	char text[256];

	cr_assert_eq(fstat(fd, &status), 0);
	snprintf(text, sizeof(text),
		"1: POSIX  ADVISORY  WRITE 77 %02x:%02x:%lu 0 EOF\n"
		"2: FLOCK  ADVISORY  READ %d %02x:%02x:%lu 0 EOF\n"
		"2: -> FLOCK  ADVISORY  WRITE 78 %02x:%02x:%lu 0 EOF\n",
		major(status.st_dev), minor(status.st_dev), (unsigned long)status.st_ino, (int)pid,
		major(status.st_dev), minor(status.st_dev), (unsigned long)status.st_ino,
		major(status.st_dev), minor(status.st_dev), (unsigned long)status.st_ino);
	scratch_write(&scratch, "proc/locks", text);
}

/* find_lock() asks for a shared lock, which is granted beside a shared one. */
static int lock_config_alone(void)
{
	int fd = lock_config();

	cr_assert_eq(flock(fd, LOCK_EX), 0);
	return fd;
}

Test(vm_state, a_vm_that_root_has_locked_is_starting)
{
	auto_close int fd = lock_config_alone();
	char text[128];

	kernel.root.live = true;
	add_process(500, "task UPID:pve:0", NULL);
	open_config(500);
	cr_expect_not(vm_is_gone(&kernel, 104));
	cr_expect_not(vm_find_stranger(&kernel, 104, text, sizeof(text)));
	cr_assert_eq(flock(fd, LOCK_UN), 0);
	cr_expect(vm_is_gone(&kernel, 104), "the file is open, and not locked");
}

Test(vm_state, a_strangers_lock_does_not_count_and_is_named)
{
	auto_close int fd = lock_config_alone();
	char text[128];

	kernel.root.live = true;
	add_process(500, "task UPID:pve:0", NULL);
	add_process(501, "flock", "Name:\tflock\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t501\n");
	open_config(501);
	add_process(502, "sh", "Name:\tsh\nUid:\t0\t0\t0\t0\nNSpid:\t502\t9\n");
	open_config(502);
	write_locks(fd, 501);
	cr_expect(vm_is_gone(&kernel, 104));
	cr_expect(vm_find_stranger(&kernel, 104, text, sizeof(text)));
	cr_expect_str_eq(text, "process 501 (flock)");
	/* `flock 9` has ended, and the shell around it has the lock */
	write_locks(fd, 777);
	cr_expect(vm_is_gone(&kernel, 104));
	cr_expect(vm_find_stranger(&kernel, 104, text, sizeof(text)));
	cr_expect_str_eq(text, "process 777 (ended; a child of it is left)");
}

/* A start task that was killed leaves a child that goes on to start QEMU. */
Test(vm_state, a_child_of_roots_holds_the_lock_on)
{
	auto_close int fd = lock_config_alone();

	kernel.root.live = true;
	add_process(500, "task UPID:pve:0", NULL);
	open_config(500);
	write_locks(fd, 777);
	cr_expect_not(vm_is_gone(&kernel, 104));
}

Test(vm_state, a_lock_that_nobody_can_see_the_owner_of_counts)
{
	auto_close int fd = lock_config_alone();

	cr_assert_geq(fd, 0);
	kernel.root.live = true;
	cr_expect_not(vm_is_gone(&kernel, 104), "there is no proc");
}
