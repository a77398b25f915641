/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/operation/binding.h"
#include "tests/support/handover.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define AUDIO "0000:01:00.1"

static struct fake *fake;
static struct kernel kernel;

static void init(void)
{
	fake = fake_new();
	fake_fill(fake);
	fake_driver(fake, "vfio-pci")->registered = true;
	fake_module(fake, "vfio-pci")->state = FAKE_LOADED;
	kernel = fake_kernel(fake);
}

static void done(void)
{
	fake_free(fake);
}

TestSuite(binding, .init = init, .fini = done);

static const struct operation *operation(const char *name)
{
	static const struct operation *const tables[] = {binding_operations, NULL};
	const struct operation *found = operation_find(tables, name);

	cr_assert_not_null(found, "%s", name);
	return found;
}

static struct step step_of(const char *argument, const char *original)
{
	struct step step = {.subject = AUDIO};

	snprintf(step.argument, sizeof(step.argument), "%s", argument);
	snprintf(step.original, sizeof(step.original), "%s", original);
	return step;
}

/* As the executor does it: the look, then the write. */
static int run(const char *name, enum direction direction, struct step *step, struct error *error)
{
	const struct operation *found = operation(name);
	int r;

	strcpy(step->operation, name);
	r = found->look ? found->look(&kernel, step, direction, error) : 0;
	if (r < 0)
		return r;
	return direction == APPLY ? found->apply(&kernel, step, error)
				  : found->undo(&kernel, step, error);
}

static int apply(const char *name, struct step step, struct error *error)
{
	return run(name, APPLY, &step, error);
}

static int undo(const char *name, struct step step, struct error *error)
{
	return run(name, UNDO, &step, error);
}

static struct fake_function *audio(void)
{
	return fake_function(fake, AUDIO);
}

Test(binding, override_is_written_once_and_read_back)
{
	cr_expect_eq(apply("override", step_of("vfio-pci", ""), NULL), 0);
	cr_expect_eq(apply("override", step_of("vfio-pci", ""), NULL), 0);
	cr_expect_str_eq(
		fake->writes, "sys/bus/pci/devices/" AUDIO "/driver_override = vfio-pci\n");
}

Test(binding, override_is_cleared_by_a_newline_because_nothing_else_reaches_the_kernel)
{
	strcpy(audio()->override, "vfio-pci");
	cr_expect_eq(undo("override", step_of("vfio-pci", ""), NULL), 0);
	cr_expect_str_eq(audio()->override, "");
}

Test(binding, an_override_that_cannot_be_read_back_is_an_error)
{
	struct error error = {0};

	fake->event = (struct fake_event){.kind = FAKE_FAIL, .at = 3, .status = -EIO};
	cr_expect_eq(apply("override", step_of("vfio-pci", ""), &error), -EIO);
	cr_expect_not_null(strstr(error.message, AUDIO), "%s", error.message);
}

Test(binding, unbind_of_a_function_without_a_driver_is_done_already)
{
	audio()->driver[0] = '\0';
	cr_expect_eq(apply("unbind", step_of("snd_hda_intel", ""), NULL), 0);
	cr_expect_str_eq(fake->writes, "");
}

Test(binding, unbind_from_a_driver_that_it_is_not_on_is_refused)
{
	struct error error = {0};

	strcpy(audio()->driver, "pci-stub");
	cr_expect_eq(apply("unbind", step_of("snd_hda_intel", ""), &error), -EBUSY);
	cr_expect_not_null(strstr(error.message, "pci-stub"), "%s", error.message);
	cr_expect_str_eq(fake->writes, "");
}

static int unbind_as(const char *operation_name, struct error *error)
{
	strcpy(audio()->driver, "snd_hda_intel");
	return apply(operation_name, step_of("snd_hda_intel", "snd_hda_intel"), error);
}

/* The twin's audio function is on another driver: whoever counts, counts for this one. */
Test(binding, a_module_that_counts_users_is_not_torn_off_unless_the_plan_saw_it)
{
	struct step step = step_of("snd_hda_intel", "snd_hda_intel");
	struct holder holder = {.kind = HOLDER_PROCESS, .address = AUDIO};
	struct holders seen = {.items = &holder, .count = 1};
	struct steps steps = {.items = &step, .count = 1};
	struct error error = {0};

	strcpy(fake_function(fake, "0000:02:00.1")->driver, "");
	fake_module(fake, "snd_hda_intel")->busy = true;
	cr_expect_eq(unbind_as("unbind", &error), -EBUSY);
	cr_expect_not_null(
		strstr(error.message, "a user of the module snd_hda_intel"), "%s", error.message);
	cr_expect_eq(unbind_as("unbind-counted", NULL), 0);
	cr_expect_str_eq(audio()->driver, "");

	strcpy(audio()->driver, "snd_hda_intel");
	strcpy(step.operation, "unbind");
	binding_accept_counts(&kernel, &seen, &steps);
	cr_expect_str_eq(step.operation, "unbind", "a process explains the count");
	seen.count = 0;
	fake_module(fake, "snd_hda_intel")->busy = false;
	binding_accept_counts(&kernel, &seen, &steps);
	cr_expect_str_eq(step.operation, "unbind", "nobody counts");
	fake_module(fake, "snd_hda_intel")->busy = true;
	binding_accept_counts(&kernel, &seen, &steps);
	cr_expect_str_eq(step.operation, "unbind-counted");
}

Test(binding, bind_that_the_probe_file_hides_tells_the_drivers_own_error)
{
	struct error error = {0};

	audio()->driver[0] = '\0';
	strcpy(audio()->override, "vfio-pci");
	fake_driver(fake, "vfio-pci")->probe_error = -ENOTTY;
	cr_expect_eq(apply("bind", step_of("vfio-pci", ""), &error), -ENOTTY);
	cr_expect_not_null(strstr(error.message, "vfio-pci/bind"), "%s", error.message);
}

static int kernel_log[2];

static int follow_log(void *context)
{
	(void)context;
	return dup(kernel_log[0]);
}

static void kernel_says(const char *record)
{
	cr_assert_eq(write(kernel_log[1], record, strlen(record)), (ssize_t)strlen(record));
}

/* One probe for each attempt, and what the driver says of it; not what others say meanwhile. */
Test(binding, a_driver_that_does_not_take_it_is_asked_once_and_quoted)
{
	struct kernel_ops ops = *kernel.ops;
	struct error error = {0};

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, kernel_log), 0);
	ops.follow_log = follow_log;
	kernel.ops = &ops;
	audio()->driver[0] = '\0';
	fake_driver(fake, "snd_hda_intel")->probe_error = -EPERM;
	kernel_says("6,1,1,-;snd_hda_intel " AUDIO ": enabling device\n");
	kernel_says("3,2,2,-;xhci_hcd 0000:02:00.2: it broke\n");
	kernel_says("4,3,3,-;NVRM: The GPU " AUDIO
		    "\\x0aNVRM:  is not supported.\\x0a\n SUBSYSTEM=pci\n");
	kernel_says("4,4,4,-;NVRM: probe failed\n");
	cr_expect_eq(undo("unbind", step_of("snd_hda_intel", ""), &error), -EPERM);
	cr_expect_eq(fake_driver(fake, "snd_hda_intel")->probes, 1u);
	cr_expect_not_null(strstr(error.message,
				   "bind " AUDIO " to snd_hda_intel: the driver did not take it: "
				   "\"NVRM: The GPU " AUDIO " is not supported.\" ("),
		"%s", error.message);
	cr_expect_not_null(strstr(error.message, "see `dmesg`"), "%s", error.message);
}

Test(binding, bind_without_a_match_is_an_error_though_the_kernel_says_nothing)
{
	audio()->driver[0] = '\0';
	strcpy(audio()->override, "some-other");
	cr_expect_eq(apply("bind", step_of("vfio-pci", ""), NULL), -ENODEV);
}

static int let_another_driver_win(void *context, const char *path, const char *value)
{
	(void)context, (void)path, (void)value;
	strcpy(audio()->driver, "snd_hda_intel");
	return -EBUSY;
}

Test(binding, bind_that_another_driver_won_names_it)
{
	struct kernel_ops ops = *kernel.ops;
	struct error error = {0};

	ops.write = let_another_driver_win;
	kernel.ops = &ops;
	audio()->driver[0] = '\0';
	cr_expect_eq(apply("bind", step_of("vfio-pci", ""), &error), -EBUSY);
	cr_expect_not_null(strstr(error.message, "snd_hda_intel"), "%s", error.message);
}

Test(binding, bind_to_what_it_is_on_writes_nothing)
{
	strcpy(audio()->driver, "vfio-pci");
	cr_expect_eq(apply("bind", step_of("vfio-pci", ""), NULL), 0);
	cr_expect_str_eq(fake->writes, "");
}

Test(binding, a_host_driver_is_not_bound_while_vfio_owns_the_group)
{
	audio()->driver[0] = '\0';
	fake->vfio_owned_group = 15;
	cr_expect_eq(undo("unbind", step_of("snd_hda_intel", "snd_hda_intel"), NULL), -EBUSY);
}

static unsigned int waits;

static void free_the_group(void *context, const char *path, unsigned int milliseconds)
{
	(void)path, (void)milliseconds;
	if (++waits == 3)
		((struct fake *)context)->vfio_owned_group = -1;
}

Test(binding, a_group_that_a_killed_process_still_closes_is_waited_for)
{
	struct kernel_ops ops = *kernel.ops;

	ops.wait_close = free_the_group;
	kernel.ops = &ops;
	waits = 0;
	audio()->driver[0] = '\0';
	fake->vfio_owned_group = 15;
	cr_expect_eq(undo("unbind", step_of("snd_hda_intel", "snd_hda_intel"), NULL), 0);
	cr_expect_str_eq(audio()->driver, "snd_hda_intel");
	cr_expect_eq(waits, 3u);
}

Test(binding, undo_of_bind_lets_another_driver_alone)
{
	cr_expect_eq(undo("bind", step_of("vfio-pci", ""), NULL), 0);
	cr_expect_str_eq(audio()->driver, "snd_hda_intel");
	cr_expect_str_eq(fake->writes, "");
}

static const struct kernel_ops *fake_ops;

static int list_node(void *context, const char *path, struct names *ret)
{
	return strcmp(path, "sys/dev/char") == 0 ? names_add(ret, "116:7")
						 : fake_ops->list(context, path, ret);
}

static int node_target(void *context, const char *path, char *buffer, size_t size)
{
	(void)context, (void)path;
	snprintf(buffer, size, "../../devices/pci0000:00/" AUDIO "/sound/card1/controlC1");
	return 0;
}

static int one_user(void *context, const dev_t *wanted, size_t count, device_visitor visitor,
	void *data, struct open_devices_extent *ret)
{
	(void)context, (void)ret;
	cr_expect(count == 1 && wanted[0] == makedev(116, 7));
	return visitor(data, 4242, makedev(116, 7));
}

static unsigned int looks;

static int not_all(void *context, const dev_t *wanted, size_t count, device_visitor visitor,
	void *data, struct open_devices_extent *ret)
{
	(void)context, (void)wanted, (void)count, (void)visitor, (void)data;
	looks++;
	*ret = (struct open_devices_extent){.is_partial = true, .pid = 4242, .most = 20001};
	return 0;
}

/* On the way home, too: from a driver that a person has chosen. A count alone strands nothing. */
Test(binding, a_driver_of_the_hosts_is_not_torn_from_who_has_its_nodes)
{
	struct kernel_ops ops = *kernel.ops;
	struct error error = {0};

	fake_ops = kernel.ops;
	ops.list = list_node;
	ops.target = node_target;
	ops.devices_in_use = one_user;
	kernel.ops = &ops;
	strcpy(fake_function(fake, "0000:02:00.1")->driver, "");
	fake_module(fake, "snd_hda_intel")->busy = true;
	strcpy(audio()->driver, "snd_hda_intel");
	cr_expect_eq(undo("bind", step_of("snd_hda_intel", ""), &error), -EBUSY);
	cr_expect_not_null(strstr(error.message, "PID 4242, controlC1"), "%s", error.message);
	cr_expect_str_eq(audio()->driver, "snd_hda_intel");
	kernel.ops = fake_ops;
	cr_expect_eq(undo("bind", step_of("snd_hda_intel", ""), &error), 0);
	cr_expect_str_eq(audio()->driver, "");
}

/* Nobody but QEMU has a VFIO group: a VM's card goes home all the same. */
Test(binding, a_driver_whose_users_are_not_known_is_not_torn_off_but_for_vfio)
{
	struct kernel_ops ops = *kernel.ops;
	struct error error = {0};
	char group[64];

	fake_ops = kernel.ops;
	ops.list = list_node;
	ops.target = node_target;
	ops.devices_in_use = not_all;
	kernel.ops = &ops;
	strcpy(fake_function(fake, "0000:02:00.1")->driver, "");
	fake_module(fake, "snd_hda_intel")->busy = true;
	strcpy(audio()->driver, "snd_hda_intel");
	cr_expect_eq(undo("bind", step_of("snd_hda_intel", ""), &error), -EBUSY);
	cr_expect_not_null(strstr(error.message,
				   "process 4242 (?) of user ? has more than 20000 "
				   "descriptors and mappings: who uses the card is not known"),
		"%s", error.message);
	error = (struct error){0};
	cr_expect_eq(apply("unbind", step_of("snd_hda_intel", ""), &error), -EBUSY);
	cr_expect_not_null(strstr(error.message, "is not known"), "%s", error.message);
	cr_expect_str_eq(audio()->driver, "snd_hda_intel");
	strcpy(audio()->driver, "vfio-pci");
	fake_module(fake, "vfio-pci")->busy = true;
	snprintf(group, sizeof(group), "sys/class/vfio/%ld/dev", pci_read_group(&kernel, AUDIO));
	fake_add_file(fake, group, "243:0");
	looks = 0;
	cr_expect_eq(undo("bind", step_of("vfio-pci", ""), &error), 0, "%s", error.message);
	cr_expect_eq(looks, 1u);
	cr_expect_str_eq(audio()->driver, "");
	kernel.ops = fake_ops;
}

Test(binding, undo_of_unbind_wins_against_a_new_id_of_proxmox)
{
	struct fake_driver *vfio = fake_driver(fake, "vfio-pci");

	vfio->new_ids[vfio->new_id_count++] = (struct fake_id){.vendor = 0x10de, .device = 0x22bb};
	audio()->driver[0] = '\0';
	cr_expect_eq(undo("unbind", step_of("snd_hda_intel", "snd_hda_intel"), NULL), 0);
	cr_expect_str_eq(audio()->driver, "snd_hda_intel");
}

Test(binding, undo_of_unbind_loads_the_module_the_driver_came_from)
{
	audio()->driver[0] = '\0';
	strcpy(fake_driver(fake, "snd_hda_intel")->module, "snd_other");
	strcpy(fake_module(fake, "snd_hda_intel")->name, "snd_other");
	fake_module(fake, "snd_other")->state = FAKE_LOADABLE;
	fake_driver(fake, "snd_hda_intel")->registered = false;
	cr_expect_eq(undo("unbind", step_of("snd_hda_intel", "snd_other"), NULL), 0);
	cr_expect_str_eq(audio()->driver, "snd_hda_intel");
	cr_expect_not_null(strstr(fake->writes, "module = snd_other"));
}

Test(binding, undo_of_unbind_says_which_driver_has_it_now)
{
	struct error error = {0};

	strcpy(audio()->driver, "pci-stub");
	strcpy(audio()->override, "vfio-pci");
	cr_expect_eq(undo("unbind", step_of("snd_hda_intel", ""), &error), -EBUSY);
	cr_expect_not_null(strstr(error.message, "pci-stub"), "%s", error.message);
}

/* The override went with the device. */
Test(binding, undo_of_unbind_leaves_a_device_that_came_back_where_the_kernel_put_it)
{
	struct error error = {0};

	strcpy(audio()->driver, "pci-stub");
	cr_expect_eq(undo("unbind", step_of("snd_hda_intel", ""), &error), 0);
	cr_expect_not_null(strstr(error.message, "came back: the kernel gave it to pci-stub"), "%s",
		error.message);
	cr_expect_str_eq(audio()->driver, "pci-stub");
}

Test(binding, an_id_of_proxmox_is_removed_and_its_absence_is_no_error)
{
	struct fake_driver *vfio = fake_driver(fake, "vfio-pci");

	vfio->new_ids[vfio->new_id_count++] = (struct fake_id){.vendor = 0x10de, .device = 0x22bb};
	cr_expect_eq(undo("id", step_of("10de 22bb", ""), NULL), 0);
	cr_expect_eq(vfio->new_id_count, 0u);
	cr_expect_eq(undo("id", step_of("10de 22bb", ""), NULL), 0);
	vfio->registered = false;
	cr_expect_eq(undo("id", step_of("10de 22bb", ""), NULL), 0);
}

Test(binding, load_of_a_module_that_brings_no_such_driver_is_an_error)
{
	struct step step = {.subject = "snd_hda_intel", .argument = "no-such-driver"};
	struct error error = {0};

	cr_expect_eq(operation("load")->apply(&kernel, &step, &error), -ENOENT);
	cr_expect_not_null(strstr(error.message, "no-such-driver"), "%s", error.message);
}

/* "10de 22bb", or "" where the id is not ours to remove. */
static void expect_id(const char *options, const char *expected)
{
	struct steps steps = {0};

	strcpy(fake->vfio_options, options);
	cr_assert_eq(binding_plan_id(&kernel, AUDIO, &steps), 0);
	cr_expect_str_eq(steps.count ? steps.items[0].argument : "", expected, "%s", options);
	steps_done(&steps);
}

Test(binding, proxmoxs_id_is_removed_and_the_boots_own_never)
{
	expect_id("", "10de 22bb");
	expect_id("disable_vga=1", "10de 22bb");
	expect_id("ids=10de:2704", "10de 22bb");
	expect_id("ids=10de:22bb", "");
	expect_id("ids=10de:2704,10de:22bb disable_vga=1", "");
	expect_id("disable_vga=1 ids=10DE:2704,10DE:22BB", "");
	expect_id("ids=10de:2704 ids=10de:22bb", "");
	expect_id("ids=\"10de:22bb\"", "");
	/* remove_id would take the first of the id, and that is the boot's */
	expect_id("ids=10de:22bb:1458:3702", "");
	expect_id("ids=10de:22bbf", "10de 22bb");
}

/* Read past the end of the options, it would find what stands behind them in memory. */
Test(binding, options_end_where_they_end)
{
	char options[32] = "ids=";

	strcpy(options + 5, "ids=10de:22bb");
	cr_expect_not(binding_options_have_id(options, 0x10de, 0x22bb));
}

Test(binding, an_id_whose_origin_cannot_be_known_stays)
{
	struct steps steps = {0};

	fake_restart(fake);
	/* after vendor and device */
	fake->event = (struct fake_event){.kind = FAKE_FAIL, .at = 3, .status = -EIO};
	cr_assert_eq(binding_plan_id(&kernel, AUDIO, &steps), 0);
	cr_expect_eq(steps.count, 0u);
	steps_done(&steps);
}

/* ---- what a step is called, and how long it may take */

static void expect_described(const char *name, enum direction direction, const char *expected)
{
	struct step step = step_of("nouveau", "");
	char text[STEP_TEXT_SIZE];

	snprintf(step.operation, sizeof(step.operation), "%s", name);
	operation_describe(operation(name), &step, direction, text, sizeof(text));
	cr_expect_str_eq(text, expected, "'%s' instead of '%s'", text, expected);
}

Test(binding, steps_are_described_in_both_directions)
{
	expect_described("unbind", APPLY, "unbind " AUDIO " from nouveau");
	expect_described("unbind", UNDO, "bind " AUDIO " to nouveau");
	expect_described("bind", APPLY, "bind " AUDIO " to nouveau");
	expect_described("bind", UNDO, "unbind " AUDIO " from nouveau");
	expect_described("override", APPLY, "override " AUDIO ": nouveau");
	expect_described("override", UNDO, "override " AUDIO ": none");
	expect_described("load", APPLY, "load " AUDIO);
	expect_described("id", UNDO, "undo id " AUDIO);
}

Test(binding, a_description_that_does_not_fit_is_cut)
{
	struct step step = step_of("nouveau", "");
	char text[12];

	operation_describe(operation("unbind"), &step, APPLY, text, sizeof(text));
	cr_expect_str_eq(text, "unbind 0000");
}

Test(binding, ucsi_of_nvidia_gets_the_slow_deadline)
{
	struct loan_function functions[] = {{.address = AUDIO, .slow_deadline_ms = 240000}};
	struct loan loan = {
		.write_deadline_ms = 30000, .functions = functions, .function_count = 1};
	const struct step slow = step_of("nvidia-gpu", "");
	struct step usual = step_of("nvidia", "");

	strcpy(usual.subject, "0000:01:00.0");
	cr_expect_eq(operation_deadline_ms(operation("unbind"), &slow, &loan), 240000u);
	cr_expect_eq(operation_deadline_ms(operation("unbind"), &usual, &loan), 30000u);
	loan.write_deadline_ms = 300000;
	cr_expect_eq(operation_deadline_ms(operation("unbind"), &slow, &loan), 300000u,
		"the settings allow even longer");
}
