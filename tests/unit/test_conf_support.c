/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test_conf_support.h"

#include "kmod-helper/base/cleanup.h"
#include <criterion/criterion.h>
#include <string.h>

const char *const table_addresses[] = {
	"0000:01:00.0",
	"0000:01:00.1",
	"0000:02:00.0",
	"0000:02:00.1",
	"0000:2b:00.0",
	"0000:2b:00.1",
	"0000:2b:00.2",
	"0000:2b:00.3",
	"0001:01:00.0",
	"10000:e1:00.0",
	"0000:0a:00.0",
	"0000:00:02.0",
	"0000:d0:13.0",
};
const size_t table_address_count = sizeof(table_addresses) / sizeof(*table_addresses);

/* As the maker of the tables had it: there is a device at every address. */
int table_look_up(void *context, const char *address, struct mapping_device *ret)
{
	const char *bus = strchr(address, ':') + 1;

	(void)context;
	*ret = (struct mapping_device){
		.vendor = "10de",
		.device = "1b80",
		.subsystem_vendor = "1458",
		.subsystem_device = "3702",
		.iommu_group = 16,
	};
	if (strncmp(bus, "2b", 2) == 0)
		strcpy(ret->device, "2704");
	if (strncmp(bus, "01", 2) == 0)
		ret->iommu_group = 14;
	if (strncmp(bus, "02", 2) == 0)
		ret->iommu_group = 15;
	return 0;
}

char *conformance_read(const char *name, size_t *ret_length)
{
	struct file_read_options options = {.max = 1024 * 1024};
	struct root root = ROOT_NONE;
	struct error error;
	char path[256];
	char *text = NULL;

	cr_assert_eq(root_open(TESTS_DIR "/conformance", &root, &error), 0, "%s", error.message);
	snprintf(path, sizeof(path), "%s", name);
	cr_assert_eq(file_read(&root, path, &options, &text, ret_length, &error), 0, "%s",
		error.message);
	root_close(&root);
	return text;
}

static void row_check(char *line, void (*check)(const struct row *row))
{
	struct row row;

	for (size_t i = 0; i < ROW_FIELDS; i++) {
		char *field = strsep(&line, "\t");

		row.fields[i] = field ? field : line + strlen(line);
		if (!line)
			line = row.fields[i] + strlen(row.fields[i]);
	}
	check(&row);
}

void rows_check(const char *name, void (*check)(const struct row *row))
{
	size_t length;
	auto_free char *text = conformance_read(name, &length);
	char *rest = text;
	size_t count = 0;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		if (!line[0] || line[0] == '#')
			continue;
		row_check(line, check);
		count++;
	}
	cr_assert_gt(count, 10u, "%s is nearly empty", name);
}

char *names_join(const struct names *names, const char *separator)
{
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	for (size_t i = 0; i < names->count; i++)
		fprintf(stream, "%s%s", i ? separator : "", names->names[i]);
	fclose(stream);
	return text;
}
