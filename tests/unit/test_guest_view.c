/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/guest/card.h"
#include "hooks/guest/view.h"
#include "kmod-helper/base/cleanup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static void parse_lines(const char *text, struct guest_devices *ret)
{
	auto_free char *copy = strdup(text);

	cr_assert_eq(guest_devices_parse_lines(copy, ret, NULL), 0);
}

Test(guest_view, devices_are_read_with_and_without_a_driver)
{
	cleanup(guest_devices_done) struct guest_devices devices = {0};

	parse_lines("0000:01:00.0 0x10de 0x2704 nvidia\n0000:01:00.1 0x10de 0x22bb \n", &devices);
	cr_assert(devices.items && devices.count == 2);
	cr_expect_str_eq(devices.items[0].address, "0000:01:00.0");
	cr_expect_eq(devices.items[0].vendor_id, 0x10de);
	cr_expect_eq(devices.items[0].device_id, 0x2704);
	cr_expect_str_eq(devices.items[0].driver, "nvidia");
	cr_expect_str_eq(devices.items[1].driver, "");
}

Test(guest_view, lines_that_are_no_device_are_passed_over)
{
	cleanup(guest_devices_done) struct guest_devices devices = {0};

	parse_lines("\n\nsh: warning\n0000:01:00.0 10de 0x2704\n0000:01:00.0 0x10de 0x12704\n"
		    "0000:01:00.0 0x10de\nzz:00.0 0x10de 0x2704\n0000:02:00.0 0x1 0x2 a\033[2J\n",
		&devices);
	cr_assert_eq(devices.count, 1);
	cr_expect_str_eq(devices.items[0].driver, "a\033[2J");
}

Test(guest_view, a_guest_cannot_fill_the_hosts_memory)
{
	static const char line[] = "0000:01:00.0 0x1 0x2 x\n";
	cleanup(guest_devices_done) struct guest_devices devices = {0};
	size_t length = sizeof(line) - 1;
	auto_free char *text = malloc(10000 * length + 1);

	for (size_t i = 0; i < 10000; i++)
		memcpy(text + i * length, line, length + 1);
	cr_assert_eq(guest_devices_parse_lines(text, &devices, NULL), 0);
	cr_assert_eq(devices.count, 4096);
}

Test(guest_view, windows_tells_names_and_versions)
{
	cleanup(guest_devices_done) struct guest_devices devices = {0};
	struct json_object *list = json_tokener_parse(
		"[{\"driver-name\": \"NVIDIA GeForce RTX 4080\", \"driver-version\": "
		"\"31.0.15.5222\", \"id\": {\"type\": \"pci\", \"vendor-id\": 4318, \"device-id\": "
		"9988}}, {\"driver-name\": \"no id\"}, 7, null, {\"id\": 7}]");

	cr_assert_eq(guest_devices_parse_windows(list, &devices, NULL), 0);
	json_object_put(list);
	cr_assert_eq(devices.count, 1);
	cr_expect_eq(devices.items[0].device_id, 0x2704);
	cr_expect_str_eq(devices.items[0].driver, "NVIDIA GeForce RTX 4080");
	cr_expect_str_eq(devices.items[0].driver_version, "31.0.15.5222");
}

static int parse_nvidia_smi(const char *text, struct nvidia_smi *ret)
{
	auto_free char *copy = strdup(text);

	return nvidia_smi_parse(copy, ret);
}

Test(guest_view, nvidia_smi_tells_each_gpu_and_the_driver)
{
	cleanup(nvidia_smi_done) struct nvidia_smi answer = {0};

	cr_assert_eq(parse_nvidia_smi("NVIDIA GeForce RTX 4080, 550.78\r\nNVIDIA, Inc. A, 550.78\n",
			     &answer),
		0);
	cr_expect_eq(answer.gpus.count, 2);
	cr_expect_str_eq(answer.gpus.names[0], "NVIDIA GeForce RTX 4080");
	cr_expect_str_eq(answer.gpus.names[1], "NVIDIA, Inc. A");
	cr_expect_str_eq(answer.driver_version, "550.78");
}

Test(guest_view, nvidia_smi_without_a_gpu_is_no_answer)
{
	cleanup(nvidia_smi_done) struct nvidia_smi answer = {0};

	cr_expect_eq(parse_nvidia_smi("No devices were found\n", &answer), -EBADMSG);
	cr_expect_eq(parse_nvidia_smi("", &answer), -EBADMSG);
}

/* Each twin of the guest belongs to one of the host's. */
Test(guest_card, twins_are_matched_once_each)
{
	cleanup(guest_devices_done) struct guest_devices devices = {0};
	struct guest_card items[3] = {
		{.address = "0000:2b:00.0", .vendor_id = 0x10de, .device_id = 0x2704},
		{.address = "0000:2c:00.0", .vendor_id = 0x10de, .device_id = 0x2704},
		{.address = "0000:2d:00.0", .vendor_id = 0x10de, .device_id = 0x2704},
	};
	struct guest_cards cards = {items, 3};

	parse_lines(
		"0000:01:00.0 0x10de 0x2704 nvidia\n0000:02:00.0 0x10de 0x2704 nvidia\n", &devices);
	guest_cards_match(&cards, &devices);
	cr_expect_eq(items[0].seen, &devices.items[0]);
	cr_expect_eq(items[1].seen, &devices.items[1]);
	cr_expect_null(items[2].seen);
}
