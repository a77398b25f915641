/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/orphan.h"
#include "hooks/ferry/return.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/lock.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

/* Cards on vfio-pci that no loan has. */

#define HAND                                                                                       \
	(&(const struct loan_owner){                                                               \
		.kind = LOAN_OWNER_HAND,                                                           \
		.iommu_group = 15,                                                                 \
	})

static struct handover handover;
static struct context context;

/* The card is on vfio-pci, and nothing is recorded. */
static void init(void)
{
	cleanup(loan_done) struct loan loan = {0};

	alarm(60);
	handover_init(&handover);
	handover_plan(&handover, &loan);
	context = (struct context){.kernel = handover.kernel, .log = {.write = handover_tell}};
	cr_assert_eq(executor_apply(&handover.executor, &loan, NULL), 0);
	cr_assert_eq(loan_remove(&context.kernel.root, &loan.owner, NULL), 0);
	fake_restart(handover.fake);
}

static void done(void)
{
	handover_done(&handover);
}

TestSuite(orphan, .init = init, .fini = done);

static const char *driver_of(const char *address)
{
	return fake_function(handover.fake, address)->driver;
}

static int lend(struct loan *ret, struct error *error)
{
	char display[] = "0000:01:00.0", audio[] = "0000:01:00.1", usb[] = "0000:01:00.2";
	char *items[] = {display, audio, usb};
	const struct names addresses = {.names = items, .count = 3};

	return orphan_lend(&context, HAND, 15, &addresses, true, ret, error);
}

static void give_back(struct loan *loan)
{
	struct error error = {0};

	cr_assert_eq(lend(loan, &error), 0, "%s", error.message);
	cr_expect_eq(orphan_return(&context, loan, &error), 0, "%s", error.message);
}

/* The override was ours: the loan was deleted. */
Test(orphan, goes_to_the_drivers_that_the_kernel_would_choose)
{
	cleanup(loan_done) struct loan loan = {0}, left = {0};

	give_back(&loan);
	handover_expect_home(&handover, "without a loan");
	cr_expect_eq(loan_read(&context.kernel.root, HAND, &left, NULL), -ENOENT);
}

/* As Proxmox's bind does it. */
Test(orphan, loses_the_id_that_proxmox_gave_vfio_pci)
{
	cleanup(loan_done) struct loan loan = {0};

	for (unsigned int i = 0; i < 3; i++) {
		char address[PCI_ADDRESS_SIZE];

		snprintf(address, sizeof(address), "0000:01:00.%u", i);
		fake_function(handover.fake, address)->override[0] = '\0';
	}
	cr_assert_eq(
		kernel_write(&context.kernel, "sys/bus/pci/drivers/vfio-pci/new_id", "10de 2704"),
		0);
	give_back(&loan);
	handover_expect_home(&handover, "after new_id");
}

Test(orphan, gets_its_driver_loaded)
{
	cleanup(loan_done) struct loan loan = {0};

	fake_module(handover.fake, "nouveau")->state = FAKE_LOADABLE;
	fake_driver(handover.fake, "nouveau")->registered = false;
	give_back(&loan);
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
}

Test(orphan, goes_to_no_driver_where_a_blacklist_forbids_it_and_the_line_is_told)
{
	cleanup(loan_done) struct loan loan = {0};

	scratch_write(&handover.scratch, "etc/modprobe.d/guide.conf",
		"# the guide\nblacklist nouveau\noptions vfio-pci ids=10de:22bb\n");
	fake_module(handover.fake, "nouveau")->state = FAKE_BLOCKED;
	fake_driver(handover.fake, "nouveau")->registered = false;
	give_back(&loan);
	cr_expect_str_empty(driver_of("0000:01:00.0"));
	cr_expect_str_empty(fake_function(handover.fake, "0000:01:00.0")->override);
	cr_expect_str_eq(driver_of("0000:01:00.1"), "snd_hda_intel");
	orphan_tell(&context, &loan);
	cr_expect_not_null(strstr(handover_told,
				   "'blacklist nouveau' of /etc/modprobe.d/guide.conf:2 keeps "
				   "0000:01:00.0 from its driver"),
		"%s", handover_told);
	cr_expect_not_null(strstr(handover_told,
				   "'options vfio-pci ids=10de:22bb' of "
				   "/etc/modprobe.d/guide.conf:3 puts 0000:01:00.1"),
		"%s", handover_told);
}

/* ---- after a VM's end */

static void vm_with_the_card(void)
{
	scratch_write(&handover.scratch, "etc/pve/qemu-server/104.conf", "hostpci0: 01:00\n");
}

static void expect_of_vm(const char *driver)
{
	struct error error = {0};

	cr_expect_eq(orphan_return_of_vm(&context, 104, &error), 0, "%s", error.message);
	cr_expect_str_eq(driver_of("0000:01:00.0"), driver);
}

Test(orphan, of_a_vm_whose_loan_was_deleted_goes_home)
{
	vm_with_the_card();
	expect_of_vm("nouveau");
	handover_expect_home(&handover, "after the VM");
	cr_expect_not_null(strstr(handover_told, "there is no loan any more"), "%s", handover_told);
}

Test(orphan, that_the_boot_set_up_put_there_stays)
{
	vm_with_the_card();
	strcpy(handover.fake->vfio_options, "ids=10de:2704,10de:22bb,10de:1ada");
	expect_of_vm("vfio-pci");
}

Test(orphan, of_a_rule_of_driverctl_stays)
{
	vm_with_the_card();
	scratch_write(&handover.scratch, "etc/driverctl.d/0000:01:00.0", "vfio-pci\n");
	expect_of_vm("vfio-pci");
}

/* The watch has returned what there was: what is on vfio-pci now is somebody else's doing. */
Test(orphan, of_a_vm_that_has_returned_its_loan_stays)
{
	int lock = lock_take(&context.kernel.root, "vm-104", 0, NULL);

	vm_with_the_card();
	lock_mark(lock);
	expect_of_vm("vfio-pci");
	lock_unmark(lock);
	close(lock);
	expect_of_vm("nouveau");
}

Test(orphan, that_the_config_does_not_name_stays)
{
	scratch_write(&handover.scratch, "etc/pve/qemu-server/104.conf", "hostpci0: 02:00\n");
	expect_of_vm("vfio-pci");
}
