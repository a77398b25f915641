/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/reservation.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define FILE_PATH "run/qemu-server/pci-id-reservations"
#define CARD "0000:01:00.0"

static struct scratch scratch;

static void setup(void)
{
	scratch_init(&scratch);
}

static void teardown(void)
{
	scratch_done(&scratch);
}

TestSuite(conf_reservation, .init = setup, .fini = teardown);

static unsigned int owner_at(time_t now, unsigned int vmid)
{
	cleanup(reservations_done) struct reservations reservations = {0};
	struct error error = {0};

	cr_assert_eq(
		reservations_read(&scratch.root, &reservations, &error), 0, "%s", error.message);
	return reservation_owner(&reservations, &scratch.root, CARD, vmid, now, NULL);
}

/* A command line as /proc has it: NUL behind each argument. */
static void write_command_line(const char *program, const char *pidfile)
{
	char path[128];
	FILE *file;

	scratch_write(&scratch, "proc/4242/cmdline", "");
	snprintf(path, sizeof(path), "%s/proc/4242/cmdline", scratch.path);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fprintf(file, "%s%c-id%c104%c-pidfile%c%s%c-daemonize%c", program, 0, 0, 0, 0, pidfile, 0,
		0);
	fclose(file);
}

Test(conf_reservation, no_file_reserves_nothing)
{
	cr_expect_eq(owner_at(1000, 105), 0u);
}

Test(conf_reservation, by_time_it_holds_until_then_and_no_longer)
{
	scratch_write(&scratch, FILE_PATH, CARD " 104 time:1000\n");
	cr_expect_eq(owner_at(999, 105), 104u);
	cr_expect_eq(owner_at(1000, 105), 0u);
	cr_expect_eq(owner_at(999, 104), 0u, "a VM's own reservation is not in its way");
	cr_expect_eq(owner_at(999, 0), 104u);
}

Test(conf_reservation, by_pid_it_holds_while_the_pidfile_says_so)
{
	scratch_write(&scratch, FILE_PATH, CARD " 104 pid:4242\n");
	cr_expect_eq(owner_at(1000, 105), 0u);
	scratch_write(&scratch, "run/qemu-server/104.pid", "4243\n");
	cr_expect_eq(owner_at(1000, 105), 0u);
	scratch_write(&scratch, "run/qemu-server/104.pid", "4242\n");
	cr_expect_eq(owner_at(1000, 105), 104u, "no proc: the pidfile is believed");
	scratch_write(&scratch, "proc/version", "Linux");
	cr_expect_eq(owner_at(1000, 105), 0u, "a proc without the process");
}

Test(conf_reservation, process_must_be_that_vms_qemu)
{
	scratch_write(&scratch, FILE_PATH, CARD " 104 pid:4242\n");
	scratch_write(&scratch, "run/qemu-server/104.pid", "4242\n");
	write_command_line("/usr/bin/kvm", "/var/run/qemu-server/104.pid");
	cr_expect_eq(owner_at(1000, 105), 104u);
	write_command_line("/usr/bin/qemu-system-x86_64", "/run/qemu-server/104.pid");
	cr_expect_eq(owner_at(1000, 105), 104u);
	write_command_line("/usr/bin/kvm", "/var/run/qemu-server/105.pid");
	cr_expect_eq(owner_at(1000, 105), 0u);
	write_command_line("/usr/bin/perl", "/var/run/qemu-server/104.pid");
	cr_expect_eq(owner_at(1000, 105), 0u);
	scratch_write(&scratch, "proc/4242/cmdline", "");
	cr_expect_eq(owner_at(1000, 105), 0u, "a zombie has no command line");
}

Test(conf_reservation, malformed_lines_are_ignored_and_the_last_good_one_counts)
{
	scratch_write(&scratch, FILE_PATH,
		"0000:01:00.0  104 time:2000\n0000:01:00.0 104 time:2000 \n"
		"0000:01:00.0 104 until:2000\nnonsense\n\n0000:01:00.0 104 time:-1\n"
		"0000:01:00.0 104 time:99999999999999999999\n");
	cr_expect_eq(owner_at(1000, 105), 0u);
	scratch_write(&scratch, FILE_PATH, CARD " 104 time:2000\n" CARD "\t106 time:3000");
	cr_expect_eq(owner_at(1000, 105), 106u);
	cr_expect_eq(owner_at(1000, 106), 0u);
}

Test(conf_reservation, refusal_says_who)
{
	cleanup(reservations_done) struct reservations reservations = {0};
	struct error error = {0};

	scratch_write(&scratch, FILE_PATH, CARD " 104 time:2000\n0000:02:00.0 106 pid:4242\n");
	scratch_write(&scratch, "run/qemu-server/106.pid", "4242\n");
	cr_assert_eq(reservations_read(&scratch.root, &reservations, &error), 0);
	cr_expect_eq(
		reservation_check(&reservations, &scratch.root, CARD, 105, 1000, &error), -EBUSY);
	cr_expect_str_eq(error.message,
		"PCI device '0000:01:00.0' is currently reserved for use by VMID '104'");
	cr_expect_eq(
		reservation_check(&reservations, &scratch.root, "0000:02:00.0", 105, 1000, &error),
		-EBUSY);
	cr_expect_str_eq(error.message, "PCI device '0000:02:00.0' already in use by VMID '106'");
}
