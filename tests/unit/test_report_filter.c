/* SPDX-License-Identifier: GPL-2.0-or-later */

/* hooks/commands/report_filter: what the cases of the command line do not reach */

#include "hooks/commands/report_filter.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char own[] = "pve", other[] = "web-1", guest[] = "windows";
static char *node_names[] = {own, other};
static const struct names nodes = {node_names, 2};

/* What is left of @text, which the caller frees. */
static char *filtered(void (*filter)(struct filter *), const char *text, struct names *private)
{
	char *copy = strdup(text), *ret = NULL;
	size_t size;
	struct filter work = {.out = open_memstream(&ret, &size),
		.text = copy,
		.length = strlen(text),
		.nodes = &nodes,
		.private = private};

	filter(&work);
	fclose(work.out);
	free(copy);
	return ret;
}

static void check(void (*filter)(struct filter *), const char *text, const char *expected)
{
	char *guests[] = {guest};
	struct names private = {guests, 1};
	char *kept = filtered(filter, text, &private);

	cr_expect_str_eq(kept, expected);
	free(kept);
}

Test(report_filter, names_in_the_journal_are_replaced)
{
	check(filter_journal, "VM 104 is on web-1: qm on pve, windows",
		"VM 104 is on node2: qm on node1, NAME");
}

Test(report_filter, journal_keeps_words_that_only_look_like_a_name)
{
	check(filter_journal, "/etc/pve, kernel 6.8.12-4-pve, windows10, web-10",
		"/etc/pve, kernel 6.8.12-4-pve, windows10, web-10");
}

/* Docker's and Podman's names are in no file of the report. */
Test(report_filter, names_of_applications_in_the_journal_are_left_out)
{
	check(filter_journal,
		"x (PID 1, card0) of Docker container a-b_c.1, y of Podman container z",
		"x (PID 1, card0) of Docker container NAME, y of Podman container NAME");
	check(filter_journal, "container 105 (x, PID 2)", "container 105 (x, PID 2)");
}

Test(report_filter, addresses_and_uuids_become_zeros)
{
	char text[] = "enx0011aabbccdd 00:11:aa:bb:cc:dd 0000:2b:00.0 "
		      "12345678-9abc-def0-1234-56789abcdef0 enxyz";

	filter_addresses(text);
	cr_expect_str_eq(text,
		"enx000000000000 00:00:00:00:00:00 0000:2b:00.0 "
		"00000000-0000-0000-0000-000000000000 enxyz");
}

Test(report_filter, names_of_guests_are_kept_for_the_journal)
{
	struct names private = {0};
	char *kept = filtered(filter_vm, "name: secret\nbios: ovmf\n", &private);

	cr_expect_str_eq(kept, "\nbios: ovmf\n");
	cr_assert_eq(private.count, 1);
	cr_expect_str_eq(private.names[0], "secret");
	names_done(&private);
	free(kept);
}

Test(report_filter, grub_value_of_several_lines_is_kept_line_by_line)
{
	check(filter_grub, "GRUB_CMDLINE_LINUX=\"quiet secret=1 \\\n iommu=pt key=2\"\nA=secret\n",
		"GRUB_CMDLINE_LINUX=\"quiet \\\niommu=pt\"\n#\n");
	check(filter_grub, "GRUB_CMDLINE_LINUX=\"$(cat /secret) quiet\"",
		"GRUB_CMDLINE_LINUX=\"$LEFT_OUT quiet\"");
}

Test(report_filter, modprobe_line_goes_on_as_it_began)
{
	check(filter_modprobe, "options wifi \\\nkey=secret\noptions nouveau \\\nmodeset=0\n",
		"#\n#\noptions nouveau \\\nmodeset=0\n");
}

Test(report_filter, comments_behind_a_line_are_left_out)
{
	check(filter_modprobe, "blacklist nouveau # secret\noptions nvidia a=b # secret \\\nc=d\n",
		"blacklist nouveau\noptions nvidia a=b\nc=d\n");
	check(filter_modules, "vfio-pci ids=10de:2704 # secret\n # secret\n",
		"vfio-pci ids=10de:2704\n#\n");
}

Test(report_filter, comment_without_an_end_leaves_nothing_of_itself)
{
	check(filter_settings, "busy = \"a/*b\";\n/* secret\nsecret", "busy = \"a/*b\";\n\n");
}
