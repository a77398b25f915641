/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/loan_life.h"
#include "hooks/ferry/return.h"
#include "kmod-helper/base/cleanup.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Returns as the commands do them, over the fake kernel: of a card of which something has changed
 * since it was lent. */

#define HELD_GROUP 15
#define HELD_DEVICE makedev(240, HELD_GROUP)

static struct handover handover;
static struct context context;
static struct kernel_ops ops;
static struct loan loan;

static void init(void)
{
	alarm(60);
	handover_init(&handover);
	handover_plan(&handover, &loan);
	context = (struct context){.kernel = handover.kernel, .log = {.write = handover_tell}};
	cr_assert_eq(executor_apply(&handover.executor, &loan, NULL), 0);
	loan.state = LOAN_LENT;
	loan.return_wait_ms = 0;
}

static void done(void)
{
	loan_done(&loan);
	handover_done(&handover);
}

TestSuite(return, .init = init, .fini = done);

static int give_back(struct error *error)
{
	fake_restart(handover.fake);
	cr_assert_eq(loan_write(&context.kernel.root, &loan, NULL), 0);
	return return_loan(&context, &loan.owner, error);
}

static void expect_ended(void)
{
	cleanup(loan_done) struct loan left = {0};
	struct error error = {0};

	cr_expect_eq(give_back(&error), 0, "%s", error.message);
	cr_expect_eq(loan_read(&context.kernel.root, &loan.owner, &left, NULL), -ENOENT);
}

static void expect_told(const char *text)
{
	cr_expect_str_eq(handover_told, text, "told '%s' instead of '%s'", handover_told, text);
}

static struct fake_function *replug(const char *from, const char *to)
{
	struct fake_function before = *fake_function(handover.fake, from);

	fake_remove_card(handover.fake, from);
	return fake_plug(handover.fake, &before, to);
}

static const char *driver_of(const char *address)
{
	return fake_function(handover.fake, address)->driver;
}

Test(return, of_a_card_that_left_ends_with_one_line)
{
	fake_remove_card(handover.fake, "0000:01:00");
	expect_ended();
	expect_told("0000:01:00.0 left the bus while it was lent to VM 104: nothing to return\n");
	cr_expect_str_empty(handover.fake->writes);
}

Test(return, of_another_card_at_its_address_says_that_it_stays)
{
	fake_remove_card(handover.fake, "0000:01:00.1");
	fake_remove_card(handover.fake, "0000:01:00.2");
	fake_function(handover.fake, "0000:01:00.0")->device = 0x1e07;
	expect_ended();
	cr_expect_not_null(
		strstr(handover_told, "another device (10de:1e07 1458:3702) is there now"), "%s",
		handover_told);
	cr_expect_str_eq(driver_of("0000:01:00.0"), "vfio-pci");
}

Test(return, of_a_card_that_came_back_by_itself_says_so)
{
	for (unsigned int i = 0; i < 3; i++) {
		char address[PCI_ADDRESS_SIZE];

		snprintf(address, sizeof(address), "0000:01:00.%u", i);
		replug(address, address);
	}
	expect_ended();
	expect_told("0000:01:00.0 is on nouveau already: it left the bus and came back, or another "
		    "program bound it\n");
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
}

/* An id that Proxmox gave vfio-pci put it there. */
Test(return, finds_what_came_back_elsewhere_on_vfio_pci_by_its_identity)
{
	cr_assert_eq(
		kernel_write(&context.kernel, "sys/bus/pci/drivers/vfio-pci/new_id", "10de 2704"),
		0);
	strcpy(fake_function(handover.fake, "0000:01:00.0")->override, "");
	replug("0000:01:00.0", "0000:05:00.0")->group = 25;
	strcpy(fake_function(handover.fake, "0000:05:00.0")->driver, "vfio-pci");
	expect_ended();
	cr_expect_not_null(
		strstr(handover_told, "0000:01:00.0 came back as 0000:05:00.0, on vfio-pci"), "%s",
		handover_told);
	cr_expect_str_eq(driver_of("0000:05:00.0"), "nouveau");
	cr_expect_str_empty(fake_function(handover.fake, "0000:05:00.0")->override);
	cr_expect_eq(fake_driver(handover.fake, "vfio-pci")->new_id_count, 0u);
	cr_expect_str_eq(driver_of("0000:02:00.0"), "nouveau");
}

/* NVIDIA's driver gives it the lowest number that is free. */
Test(return, of_a_card_that_has_another_number_now_says_so)
{
	struct loan_function *display = loan_find(&loan, "0000:01:00.0");

	strcpy(display->nodes, "controlC1=116:1 nvidia1=195:1");
	fake_add_file(handover.fake, "proc/driver/nvidia/gpus/0000:01:00.0/information",
		"Model: \t\t NVIDIA Test Card\nDevice Minor: \t 0\n");
	expect_ended();
	expect_told(
		"0000:01:00.0 is /dev/nvidia0 now, and was /dev/nvidia1 before: what names that "
		"node (a container's dev0) means another card now, until the next reboot\n");
}

Test(return, of_a_card_that_has_its_number_again_says_nothing)
{
	strcpy(loan_find(&loan, "0000:01:00.0")->nodes, "nvidia0=195:0");
	fake_add_file(handover.fake, "proc/driver/nvidia/gpus/0000:01:00.0/information",
		"Device Minor: \t 0\n");
	expect_ended();
	expect_told("");
}

static int (*real_list)(void *fake, const char *path, struct names *ret);

static int list_node(void *fake, const char *path, struct names *ret)
{
	return strcmp(path, "sys/dev/char") == 0 ? names_add(ret, "226:3")
						 : real_list(fake, path, ret);
}

static int node_of_display(void *fake, const char *path, char *buffer, size_t size)
{
	(void)fake, (void)path;
	snprintf(buffer, size, "../../devices/pci0000:00/0000:01:00.0/drm/renderD129");
	return 0;
}

/* nvidia_drm makes none for a card that comes after it. */
Test(return, of_a_card_without_its_drm_node_says_so)
{
	struct loan_function *display = loan_find(&loan, "0000:01:00.0");

	strcpy(display->nodes, "fb0=29:0 card1=226:1 renderD129=226:129");
	expect_ended();
	expect_told(
		"0000:01:00.0 had /dev/dri/card1 before, and has no such node now: see `dmesg`\n");
}

Test(return, of_a_card_with_another_drm_node_or_none_before_says_nothing)
{
	strcpy(loan_find(&loan, "0000:01:00.0")->nodes, "card1=226:1 renderD128=226:128");
	strcpy(loan_find(&loan, "0000:01:00.2")->nodes, "hidraw0=240:0 smartcard0=240:1");
	ops = *context.kernel.ops;
	real_list = ops.list;
	ops.list = list_node;
	ops.target = node_of_display;
	context.kernel.ops = &ops;
	expect_ended();
	expect_told("");
}

/* The twin is on vfio-pci too, but another owner put it there. */
Test(return, does_not_take_the_twin_for_what_left)
{
	struct fake_function *twin = fake_function(handover.fake, "0000:02:00.0");

	strcpy(twin->driver, "vfio-pci");
	strcpy(twin->override, "vfio-pci");
	fake_remove_card(handover.fake, "0000:01:00");
	expect_ended();
	cr_expect_str_eq(driver_of("0000:02:00.0"), "vfio-pci");
}

/* ---- who holds a group */

static void hold_group(void)
{
	fake_add_file(handover.fake, "sys/class/vfio/15/dev", "240:15");
	ops = *context.kernel.ops;
	handover_user = (struct handover_user){HELD_DEVICE, 4242};
	ops.devices_in_use = handover_devices_in_use;
	context.kernel.ops = &ops;
}

Test(return, waits_for_the_users_of_the_group)
{
	struct error error = {0};

	hold_group();
	cr_expect_eq(give_back(&error), -EBUSY);
	cr_expect_not_null(strstr(error.message, "PID 4242"), "%s", error.message);
}

Test(return, does_not_wait_for_the_users_of_a_group_that_the_card_has_left)
{
	hold_group();
	fake_remove_card(handover.fake, "0000:01:00");
	expect_ended();
}

/* The number belongs to another device now. */
Test(return, waits_for_the_group_that_the_card_has_now)
{
	hold_group();
	for (unsigned int i = 0; i < 3; i++) {
		char address[PCI_ADDRESS_SIZE];

		snprintf(address, sizeof(address), "0000:01:00.%u", i);
		fake_function(handover.fake, address)->group = 25;
	}
	expect_ended();
	cr_expect_str_eq(driver_of("0000:01:00.0"), "nouveau");
}

Test(return, of_a_card_lent_by_hand_is_due_when_it_has_left)
{
	loan.owner = (struct loan_owner){.kind = LOAN_OWNER_HAND, .iommu_group = 15};
	cr_expect_not(loan_life_is_due(&context, &loan));
	fake_remove_card(handover.fake, "0000:01:00.0");
	cr_expect_not(loan_life_is_due(&context, &loan));
	fake_remove_card(handover.fake, "0000:01:00");
	cr_expect(loan_life_is_due(&context, &loan));
}

/* The driver was updated meanwhile, and dkms failed. */
Test(return, without_the_home_drivers_module_says_so_and_is_owed_until_it_is_there)
{
	cleanup(loan_done) struct loan left = {0};
	struct fake_module *nouveau = fake_module(handover.fake, "nouveau");
	struct error error = {0};

	fake_driver(handover.fake, "nouveau")->registered = false;
	nouveau->state = FAKE_LOADABLE;
	strcpy(nouveau->name, "gone");
	cr_expect_eq(give_back(&error), -ENOENT);
	cr_expect_str_eq(error.message,
		"return the devices lent (VM 104): 0000:01:00.0 has no driver now: load the driver "
		"nouveau: load the module nouveau: there is none");
	cr_expect_str_empty(driver_of("0000:01:00.0"));
	cr_expect_str_eq(driver_of("0000:01:00.1"), "snd_hda_intel");
	cr_expect_str_eq(driver_of("0000:01:00.2"), "xhci_hcd");
	cr_assert_eq(loan_read(&context.kernel.root, &loan.owner, &left, NULL), 0);
	cr_expect_eq(left.state, LOAN_OWED);
	strcpy(nouveau->name, "nouveau");
	cr_expect_eq(return_loan(&context, &loan.owner, &error), 0, "%s", error.message);
	handover_expect_home(&handover, "once the module is there");
}
