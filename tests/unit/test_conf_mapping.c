/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/choice.h"
#include "kmod-helper/base/cleanup.h"
#include "test_conf_support.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define GOOD "\tmap id=10de:1b80,iommugroup=14,node=n1,path=0000:01:00,subsystem-id=1458:3702\n"

static void unescape(char *text)
{
	char *end = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] && strchr("ntr", text[1])) {
			text++;
			*end++ = *text == 'n' ? '\n' : *text == 't' ? '\t' : '\r';
		} else {
			*end++ = *text;
		}
	}
	*end = '\0';
}

/* What `hostpci0: mapping=gpu1` means on node n1. */
static void choose(const char *text, struct choice *ret)
{
	static const char vm[] = "hostpci0: mapping=gpu1\n";
	cleanup(vm_config_done) struct vm_config config = {0};
	cleanup(mappings_done) struct mappings mappings = {0};
	struct choice_host host = {
		.addresses = table_addresses,
		.count = table_address_count,
		.node = "n1",
		.mappings = &mappings,
		.look_up = table_look_up,
	};

	cr_assert_eq(mappings_parse(text, strlen(text), &mappings, NULL), 0);
	cr_assert_eq(vm_config_parse(vm, strlen(vm), &config, NULL), 0);
	cr_assert_eq(choice_make(&config, &host, ret, NULL), 0);
	cr_assert_eq(ret->count, 1u);
}

static char *alternatives_text(const struct choice_entry *entry)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	for (size_t i = 0; i < entry->alternatives.count; i++) {
		auto_free char *list = names_join(&entry->alternatives.lists[i], " ");

		fprintf(stream, "%s%s", i ? " | " : "", list);
	}
	if (!entry->alternatives.count)
		fputs("error", stream);
	fclose(stream);
	return text;
}

static void row_holds(const struct row *row)
{
	cleanup(choice_done) struct choice choice = {0};
	auto_free char *alternatives = NULL;
	size_t length = strlen(row->fields[3]);

	unescape(row->fields[1]);
	choose(row->fields[1], &choice);
	alternatives = alternatives_text(&choice.entries[0]);
	cr_expect_str_eq(alternatives, row->fields[2], "%s: %s", row->fields[0], alternatives);
	/* Proxmox's line ends came out as blanks */
	while (length && row->fields[3][length - 1] == ' ')
		row->fields[3][--length] = '\0';
	if (length)
		cr_expect_str_eq(choice.entries[0].error.message, row->fields[3], "%s: %s",
			row->fields[0], choice.entries[0].error.message);
}

Test(conf_mapping, every_row_of_proxmox_holds)
{
	rows_check("mapping.tsv", row_holds);
	rows_check("mapping-more.tsv", row_holds);
}

static void expect_error(const char *text, int status)
{
	cleanup(choice_done) struct choice choice = {0};

	choose(text, &choice);
	cr_expect_eq(choice.error.status, status, "%s: %d", text, choice.error.status);
}

Test(conf_mapping, errors_are_told_apart)
{
	expect_error("gpu1\n" GOOD, 0);
	expect_error("gpu2\n" GOOD, -ENOENT);
	expect_error("gpu1\n" GOOD "\tmdev 1\n", -ESTALE);
	expect_error("gpu1\n\tmap id=10de:1b80,iommugroup=16,node=n1,path=0000:77:00,"
		     "subsystem-id=1458:3702\n",
		-ENODEV);
}

/* A header without an empty line before it is a line of the section above. */
Test(conf_mapping, only_an_empty_line_ends_a_section)
{
	expect_error("other\n" GOOD "gpu1\n" GOOD, -ENOENT);
	expect_error("other\n" GOOD " \ngpu1\n" GOOD, -ENOENT);
	expect_error("other\n" GOOD "\ngpu1\n" GOOD, 0);
	expect_error("other\n" GOOD "0\ngpu1\n" GOOD, 0);
}

Test(conf_mapping, of_one_name_the_last_section_counts_even_when_it_is_worth_nothing)
{
	expect_error("gpu1\n" GOOD "\ngpu1\n\tmdev 0\n", -ENOENT);
	expect_error("gpu1\n\tmdev 0\n\ngpu1\n" GOOD, 0);
}

/* The line has room for one group only. */
Test(conf_mapping, group_is_compared_for_the_first_path_only)
{
	expect_error("gpu1\n\tmap id=10de:1b80,iommugroup=14,node=n1,path=0000:01:00;0000:02:00,"
		     "subsystem-id=1458:3702\n",
		0);
	expect_error("gpu1\n\tmap id=10de:1b80,iommugroup=14,node=n1,path=0000:02:00;0000:01:00,"
		     "subsystem-id=1458:3702\n",
		-ESTALE);
}

static int nothing_there(void *context, const char *address, struct mapping_device *ret)
{
	(void)context;
	(void)address;
	(void)ret;
	return -ENODEV;
}

Test(conf_mapping, missing_device_is_named)
{
	cleanup(mappings_done) struct mappings mappings = {0};
	struct alternatives alternatives = {0};
	struct error error;
	static const char text[] = "gpu1\n" GOOD;

	cr_assert_eq(mappings_parse(text, strlen(text), &mappings, NULL), 0);
	cr_expect_eq(
		mapping_find(&mappings, "gpu1", "n1", nothing_there, NULL, &alternatives, &error),
		-ESTALE);
	cr_expect_str_eq(error.message,
		"PCI device mapping invalid (hardware probably changed): pci device "
		"'0000:01:00.0' not found");
	cr_expect_null(alternatives.lists);
}

Test(conf_mapping, warnings_name_file_and_line)
{
	cleanup(mappings_done) struct mappings mappings = {0};
	static const char text[] = "# x\ngpu1\n" GOOD "\tfoo bar\n";

	cr_assert_eq(mappings_parse(text, strlen(text), &mappings, NULL), 0);
	cr_assert_eq(mappings.warnings.count, 1u);
	cr_expect_str_eq(mappings.warnings.names[0],
		"/etc/pve/mapping/pci.cfg:4: 'foo' is not a setting of a mapping");
}

Test(conf_mapping, no_file_means_no_mappings)
{
	struct scratch scratch;
	cleanup(mappings_done) struct mappings mappings = {0};
	cleanup(mappings_done) struct mappings found = {0};
	struct error error;

	scratch_init(&scratch);
	cr_assert_eq(mappings_read(&scratch.root, &mappings, &error), 0, "%s", error.message);
	cr_expect_eq(mappings.count, 0u);
	scratch_write(&scratch, "etc/pve/mapping/pci.cfg", "gpu1\n" GOOD);
	cr_assert_eq(mappings_read(&scratch.root, &found, &error), 0, "%s", error.message);
	cr_expect_eq(found.count, 1u);
	scratch_done(&scratch);
}
