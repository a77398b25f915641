/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/choice.h"
#include "kmod-helper/base/cleanup.h"
#include "test_conf_support.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define MAP(bus, group)                                                                            \
	"\tmap id=10de:1b80,iommugroup=" group ",node=n1,path=0000:" bus                           \
	":00,subsystem-id=1458:3702\n"

/* Two cards to choose from, and each alone. */
static const char pci_cfg[] = "gpus\n" MAP("01", "14") MAP("02", "15") "\none\n" MAP(
	"01", "14") "\ntwice\n\tmap id=10de:1b80,iommugroup=14,node=n1,path=0000:01:00;0000:01:00,"
		    "subsystem-id=1458:3702\n" MAP("02", "15");

static int check_free(void *context, const char *address, struct error *error)
{
	const char *taken = context;

	if (!taken || strncmp(address, taken, strlen(taken)) != 0)
		return 0;
	return error_set(error, -EBUSY, "%s is taken", address);
}

struct fixture {
	struct vm_config config;
	struct mappings mappings;
	struct choice choice;
};

static void fixture_done(struct fixture *fixture)
{
	choice_done(&fixture->choice);
	mappings_done(&fixture->mappings);
	vm_config_done(&fixture->config);
}

/* @taken is the beginning of the addresses that another VM has. */
static void choose(const char *vm, const char *taken, struct fixture *ret)
{
	char *copy = taken ? strdup(taken) : NULL;
	struct choice_host host = {
		.addresses = table_addresses,
		.count = table_address_count,
		.node = "n1",
		.mappings = &ret->mappings,
		.look_up = table_look_up,
		.check_free = check_free,
		.context = copy,
	};

	cr_assert_eq(vm_config_parse(vm, strlen(vm), &ret->config, NULL), 0);
	cr_assert_eq(mappings_parse(pci_cfg, strlen(pci_cfg), &ret->mappings, NULL), 0);
	cr_assert_eq(choice_make(&ret->config, &host, &ret->choice, NULL), 0);
	free(copy);
}

/* @wanted: the addresses of each entry, "; " between them, or the error; then the notices. */
static void expect(const char *vm, const char *taken, const char *wanted)
{
	cleanup(fixture_done) struct fixture fixture = {0};
	auto_free char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	choose(vm, taken, &fixture);
	for (size_t i = 0; i < fixture.choice.count && !fixture.choice.error.status; i++) {
		auto_free char *addresses =
			names_join(choice_addresses(&fixture.choice.entries[i]), " ");

		fprintf(stream, "%s%s", i ? "; " : "", addresses);
	}
	if (fixture.choice.error.status)
		fputs(fixture.choice.error.message, stream);
	for (size_t i = 0; i < fixture.choice.count; i++) {
		if (fixture.choice.entries[i].notice)
			fprintf(stream, " (hostpci%u: %s)", fixture.choice.entries[i].index,
				fixture.choice.entries[i].notice);
	}
	fclose(stream);
	cr_expect_str_eq(text, wanted, "%s→ %s", vm, text);
}

Test(conf_choice, first_free_alternative_is_taken)
{
	expect("hostpci0: mapping=gpus\n", NULL, "0000:01:00.0 0000:01:00.1");
	expect("hostpci0: mapping=gpus\n", "0000:01:00", "0000:02:00.0 0000:02:00.1");
	expect("hostpci0: mapping=gpus\n", "0000:01:00.1", "0000:02:00.0 0000:02:00.1");
	expect("hostpci0: mapping=gpus\n", "0000:0",
		"hostpci0: could not find a free device for 'hostpci0'");
}

Test(conf_choice, entries_choose_in_order_of_their_number)
{
	expect("hostpci1: mapping=gpus\nhostpci0: mapping=gpus\n", NULL,
		"0000:01:00.0 0000:01:00.1; 0000:02:00.0 0000:02:00.1");
	expect("hostpci0: 01:00\nhostpci1: mapping=gpus\n", NULL,
		"0000:01:00.0 0000:01:00.1; 0000:02:00.0 0000:02:00.1");
	expect("hostpci0: mapping=gpus\nhostpci1: mapping=gpus\nhostpci2: mapping=gpus\n", NULL,
		"hostpci2: could not find a free device for 'hostpci2'");
}

/* Proxmox does not look ahead: a choice is not changed for the sake of a later entry. */
Test(conf_choice, no_device_goes_to_a_vm_twice)
{
	expect("hostpci0: mapping=gpus\nhostpci1: 01:00\n", NULL,
		"hostpci1: device '0000:01:00.0' assigned more than once");
	expect("hostpci0: 01:00;01:00\n", NULL,
		"hostpci0: device '0000:01:00.0' assigned more than once");
	expect("hostpci0: 01:00.0\nhostpci1: 01:00.1\n", NULL, "0000:01:00.0; 0000:01:00.1");
	expect("hostpci0: mapping=twice\n", NULL,
		"hostpci0: device '0000:01:00.0' assigned more than once");
}

Test(conf_choice, single_alternative_that_another_vm_has_is_refused)
{
	cleanup(fixture_done) struct fixture fixture = {0};

	choose("hostpci0: mapping=one\n", "0000:01:00.1", &fixture);
	cr_expect_eq(fixture.choice.error.status, -EBUSY);
	cr_expect_str_eq(fixture.choice.error.message, "hostpci0: 0000:01:00.1 is taken");
	cr_expect_not_null(choice_addresses(&fixture.choice.entries[0]),
		"a plan still shows what it would be");
}

/* All entries are read before one is chosen. */
Test(conf_choice, first_error_is_proxmoxs_first)
{
	cleanup(fixture_done) struct fixture fixture = {0};

	choose("hostpci0: 01:00;01:00\nhostpci1: 77:00\nhostpci2: 2b:00\n", NULL, &fixture);
	cr_expect_str_eq(fixture.choice.error.message, "hostpci1: no PCI device found for '77:00'");
	cr_expect_eq(fixture.choice.error.status, -ENODEV);
	cr_expect_eq(fixture.choice.count, 3u);
	cr_expect_eq(fixture.choice.entries[0].error.status, -EINVAL);
	cr_expect_eq(fixture.choice.entries[2].error.status, 0);
	cr_expect_eq(choice_addresses(&fixture.choice.entries[2])->count, 4u);
}

Test(conf_choice, mediated_devices_take_no_function)
{
	cleanup(fixture_done) struct fixture fixture = {0};

	choose("hostpci0: 00:02,mdev=i915-GVTg_V5_4\nhostpci1: 00:02,mdev=nvidia-63\n",
		"0000:00:02", &fixture);
	cr_expect_eq(fixture.choice.error.status, 0, "%s", fixture.choice.error.message);
	cr_expect(fixture.choice.entries[0].mediated);
	expect("hostpci0: 01:00,mdev=nvidia-63\n", NULL,
		"hostpci0: cannot use mediated device with multifunction device");
}

Test(conf_choice, machine_must_fit)
{
	expect("hostpci0: 01:00,pcie=1\n", NULL,
		"0000:01:00.0 0000:01:00.1 (hostpci0: q35 machine model is not enabled)");
	expect("machine: q35\nhostpci0: 01:00.0,pcie=1\n", NULL, "0000:01:00.0");
	expect("machine: q35\nhostpci0: 01:00.0,pcie=0\n", NULL, "0000:01:00.0");
}

Test(conf_choice, legacy_igd_is_checked_as_proxmox_does)
{
	expect("hostpci0: 00:02,legacy-igd=1\n", NULL,
		"0000:00:02.0 (hostpci0: legacy IGD assignment requires VGA mode to be 'none')");
	expect("vga: none\nhostpci0: 00:02,legacy-igd=1\n", NULL, "0000:00:02.0");
	expect("vga: none\nhostpci0: 00:02,legacy-igd=1,rombar=0\n", NULL,
		"0000:00:02.0 (hostpci0: legacy IGD assignment requires rombar to be enabled)");
	expect("vga: none\nhostpci0: 00:02,legacy-igd=1,x-vga=1\n", NULL,
		"0000:00:02.0 (hostpci0: legacy IGD assignment is not compatible with x-vga)");
	expect("vga: none\nmachine: q35\nhostpci0: 00:02,legacy-igd=1\n", NULL,
		"0000:00:02.0 (hostpci0: legacy IGD assignment is not compatible with q35)");
	expect("vga: none\nhostpci0: 01:00,legacy-igd=1\n", NULL,
		"0000:01:00.0 0000:01:00.1 (hostpci0: legacy IGD assignment is not compatible with multifunction devices)");
	expect("vga: none\nhostpci0: 01:00.0,legacy-igd=1\n", NULL,
		"0000:01:00.0 (hostpci0: legacy IGD assignment only works for devices on host bus 00:02.0)");
	expect("vga: none\nhostpci0: 00:02,legacy-igd=1\nhostpci1: 0a:00,legacy-igd=1\n", NULL,
		"0000:00:02.0; 0000:0a:00.0 (hostpci1: only one device can be assigned in "
		"legacy-igd mode)");
}

Test(conf_choice, without_entries_there_is_nothing_to_choose)
{
	expect("ostype: l26\n", NULL, "");
}
