/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/commands/report_filter.h"
#include "kmod-helper/base/cleanup.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Those that keep the numbers of lines, first. */
#define LINE_FILTERS 15

static void (*const filters[])(struct filter *filter) = {filter_vm, filter_container,
	filter_storage, filter_mapping, filter_settings, filter_arguments, filter_grub,
	filter_modprobe, filter_modules, filter_boot_ids, filter_cpuinfo, filter_routes,
	filter_mounts, filter_swaps, filter_nvidia, filter_journal, filter_attachment, filter_qemu,
	filter_node_name};

static size_t count_lines(const char *text)
{
	size_t count = 0;

	for (; (text = strchr(text, '\n')); text++)
		count++;
	return count;
}

static char *run(void (*filter)(struct filter *filter), const char *text, size_t length)
{
	static char own[] = "pve", other[] = "web-1";
	static char *node_names[] = {own, other};
	static const struct names nodes = {node_names, 2};
	cleanup(names_done) struct names private = {0};
	auto_free char *copy = strdup(text);
	char *kept = NULL;
	size_t size;
	struct filter work = {.out = open_memstream(&kept, &size),
		.text = copy,
		.length = length,
		.nodes = &nodes,
		.private = &private};

	if (!copy || !work.out)
		abort();
	filter(&work);
	if (fclose(work.out) != 0)
		abort();
	return kept;
}

/* The first byte chooses the filter. The lines stay where they are, and what is an address is one
 * no more. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t which = size ? data[0] % (sizeof(filters) / sizeof(filters[0])) : 0;
	auto_free char *text = size ? strndup((const char *)data + 1, size - 1) : strdup("");
	auto_free char *kept = run(filters[which], text, strlen(text));
	auto_free char *again = NULL;

	if (which < LINE_FILTERS && count_lines(kept) != count_lines(text))
		abort();
	filter_addresses(kept);
	again = strdup(kept);
	filter_addresses(again);
	if (!again || strcmp(again, kept) != 0)
		abort();
	return 0;
}
