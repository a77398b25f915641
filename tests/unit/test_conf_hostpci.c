/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/hostpci.h"
#include "conf/pve/vm_config.h"
#include "kmod-helper/base/cleanup.h"
#include "test_conf_support.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* "pcie=1,x-vga=1", by name, without what the device is named by. */
static char *options_text(const struct hostpci *hostpci)
{
	cleanup(names_done) struct names names = {0};
	const struct property_set *set = &hostpci->options;

	for (size_t i = 0; i < set->format->count; i++) {
		const char *name = set->format->rules[i].name;
		char option[256];

		if (!set->values[i] || strcmp(name, "host") == 0 || strcmp(name, "mapping") == 0)
			continue;
		snprintf(option, sizeof(option), "%s=%s", name, set->values[i]);
		names_add(&names, option);
	}
	if (names.count)
		qsort(names.names, names.count, sizeof(*names.names), compare_names);
	return names_join(&names, ",");
}

/* parse_hostpci, as far as it does not need mappings. */
static int addresses_find(const struct hostpci *hostpci, struct names *ret)
{
	int r = hostpci_check(hostpci, NULL);

	for (size_t i = 0; r == 0 && i < hostpci->ids.count; i++)
		r = hostpci_find(
			hostpci->ids.names[i], table_addresses, table_address_count, ret, NULL);
	return r == 0 && hostpci->mdev && ret->count > 1 ? -EINVAL : r;
}

static char *addresses_text(const struct hostpci *hostpci)
{
	cleanup(names_done) struct names names = {0};
	char *text = NULL;

	if (hostpci->mapping && !hostpci->host) {
		cr_assert_gt(asprintf(&text, "mapping=%s", hostpci->mapping), 0);
		return text;
	}
	if (addresses_find(hostpci, &names) < 0)
		return strdup("error");
	return names_join(&names, " ");
}

static void row_holds(const struct row *row)
{
	cleanup(vm_config_done) struct vm_config config = {0};
	cleanup(hostpci_done) struct hostpci hostpci = {0};
	auto_free char *addresses = NULL;
	auto_free char *options = NULL;
	const char *value = row->fields[0];
	char text[1024];
	const char *kept;

	snprintf(text, sizeof(text), "hostpci0: %s\n", value);
	cr_assert_eq(vm_config_parse(text, strlen(text), &config, NULL), 0);
	kept = vm_config_get(&config, "hostpci0");
	cr_expect_str_eq(kept ? "kept" : "dropped", row->fields[1], "'%s'", value);
	if (!kept)
		return;
	cr_assert_eq(hostpci_parse(kept, &hostpci, NULL), 0, "'%s'", value);
	addresses = addresses_text(&hostpci);
	options = options_text(&hostpci);
	cr_expect_str_eq(addresses, row->fields[2], "'%s': %s", value, addresses);
	cr_expect_str_eq(options, row->fields[3], "'%s': %s", value, options);
}

Test(conf_hostpci, every_row_of_proxmox_holds)
{
	rows_check("hostpci.tsv", row_holds);
	rows_check("hostpci-more.tsv", row_holds);
}

Test(conf_hostpci, fields_follow_the_options)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};

	cr_assert_eq(hostpci_parse("2b:00.0;2b:00.1,pcie=on,x-vga=1,rombar=0,driver=keep,"
				   "romfile=a.rom,legacy-igd=no,mdev=nvidia-63",
			     &hostpci, NULL),
		0);
	cr_expect_eq(hostpci.ids.count, 2u);
	cr_expect_str_eq(hostpci.ids.names[1], "2b:00.1");
	cr_expect(hostpci.pcie && hostpci.x_vga && hostpci.keep_driver);
	cr_expect_not(hostpci.rombar || hostpci.legacy_igd);
	cr_expect_str_eq(hostpci.romfile, "a.rom");
	cr_expect_str_eq(hostpci.mdev, "nvidia-63");
}

Test(conf_hostpci, rombar_is_on_unless_switched_off)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};

	cr_assert_eq(hostpci_parse("01:00", &hostpci, NULL), 0);
	cr_expect(hostpci.rombar);
	cr_expect_not(hostpci.keep_driver);
}

Test(conf_hostpci, mdev_of_zero_passes_the_whole_device)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};

	cr_assert_eq(hostpci_parse("01:00,mdev=0", &hostpci, NULL), 0);
	cr_expect_null(hostpci.mdev);
	cr_expect_str_eq(property_get(&hostpci.options, "mdev"), "0");
}

Test(conf_hostpci, failure_leaves_the_result_alone_and_says_why)
{
	struct hostpci hostpci = {.romfile = "untouched"};
	struct error error = {0};

	cr_expect_eq(hostpci_parse("01:00,foo=1", &hostpci, &error), -EINVAL);
	cr_expect_str_eq(hostpci.romfile, "untouched");
	cr_expect_str_eq(error.message, "unknown option 'foo'");
}

Test(conf_hostpci, start_dies_of_both_and_of_neither)
{
	cleanup(hostpci_done) struct hostpci both = {0};
	cleanup(hostpci_done) struct hostpci neither = {0};
	struct error error;

	cr_assert_eq(hostpci_parse("01:00,mapping=gpu1", &both, NULL), 0);
	cr_expect_eq(hostpci_check(&both, &error), -EINVAL);
	cr_expect_str_eq(error.message, "Cannot set both 'host' and 'mapping'.");
	cr_assert_eq(hostpci_parse("pcie=1", &neither, NULL), 0);
	cr_expect_eq(hostpci_check(&neither, &error), -EINVAL);
	cr_expect_str_eq(error.message, "Either 'host' or 'mapping' must be set.");
}

Test(conf_hostpci, functions_come_in_order_whatever_the_hosts_order)
{
	static const char *const host[] = {"0000:2b:00.3", "0000:2b:00.0", "0000:2c:00.0"};
	cleanup(names_done) struct names names = {0};
	auto_free char *text = NULL;
	struct error error;

	cr_assert_eq(hostpci_find("2b:00", host, 3, &names, &error), 0);
	text = names_join(&names, " ");
	cr_expect_str_eq(text, "0000:2b:00.0 0000:2b:00.3");
	cr_expect_eq(hostpci_find("2d:00", host, 3, &names, &error), -ENODEV);
	cr_expect_str_eq(error.message, "no PCI device found for '2d:00'");
}

Test(conf_hostpci, usual_slips_are_mended)
{
	static const char *const rows[][2] = {
		{"01:00;pcie=1", "01:00,pcie=1"},
		{"2B:00", "2b:00"},
		{"host=0000:2B:00;romfile=A b.rom", "host=0000:2b:00,romfile=A b.rom"},
		{"01:00, pcie=1", "01:00,pcie=1"},
		{"01:00.0,02:00.0", "01:00.0;02:00.0"},
		{"2b:00;", "2b:00"},
		{"2b:00,pci=1", NULL},
		{"1:00.0", NULL},
		{"pcie=2", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char mended[HOSTPCI_MENDED_SIZE] = "as before";
		bool done = hostpci_mend(rows[i][0], mended, sizeof(mended));

		cr_expect_eq(done, rows[i][1] != NULL, "'%s'", rows[i][0]);
		cr_expect_str_eq(mended, rows[i][1] ? rows[i][1] : "as before");
	}
}
