/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover.h"

#include "kmod-helper/operation/binding.h"
#include "kmod-helper/operation/unload.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static const struct operation *const tables[] = {
	attribute_operations, binding_operations, console_operations, unload_operations, NULL};

char handover_told[4096];
struct handover_user handover_user;

void handover_tell(void *data, const struct log_entry *entry)
{
	size_t used = strlen(handover_told);

	(void)data;
	if (entry->priority <= LOG_NOTICE)
		snprintf(handover_told + used, sizeof(handover_told) - used, "%s\n", entry->text);
}

int handover_devices_in_use(void *fake, const dev_t *wanted, size_t count, device_visitor visitor,
	void *data, struct open_devices_extent *ret)
{
	int r = 0;

	(void)fake;
	*ret = (struct open_devices_extent){0};
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (wanted[i] == handover_user.device)
			r = visitor(data, handover_user.pid, wanted[i]);
	}
	return r;
}

void handover_init(struct handover *handover)
{
	handover_told[0] = '\0';
	*handover = (struct handover){.fake = fake_new()};
	fake_fill(handover->fake);
	scratch_init(&handover->scratch);
	handover->kernel = fake_kernel(handover->fake);
	handover->kernel.root = handover->scratch.root;
	handover->executor = (struct executor){
		.kernel = &handover->kernel,
		.tables = tables,
		.stop = &handover->fake->stop,
	};
	handover->before = fake_describe(handover->fake);
}

void handover_done(struct handover *handover)
{
	free(handover->before);
	free(handover->known);
	quirks_done(&handover->quirks);
	scratch_done(&handover->scratch);
	fake_free(handover->fake);
}

void shipped_quirks(struct quirks *ret)
{
	struct file_read_options options = {.max = 65536, .refuse_nul = true};
	struct root root = ROOT_NONE;
	struct error error = {0};
	char *text = NULL;

	cr_assert_eq(root_open(TESTS_DIR "/../conf", &root, &error), 0, "%s", error.message);
	cr_assert_eq(file_read(&root, "gpu-ferry.quirks", &options, &text, NULL, &error), 0, "%s",
		error.message);
	cr_assert_eq(quirks_parse(text, "shipped", ret, &error), 0, "%s", error.message);
	free(text);
	root_close(&root);
}

void handover_know(struct handover *handover, struct plan_request *request)
{
	struct known_quirks known = {0};

	if (!handover->quirks.count)
		shipped_quirks(&handover->quirks);
	cr_assert_eq(known_quirks_find(
			     &handover->kernel, &handover->quirks, request->host, &known, NULL),
		0);
	free(handover->known);
	handover->known = calloc(known.count + 1, sizeof(*handover->known));
	cr_assert(handover->known);
	for (size_t i = 0; i < known.count; i++)
		handover->known[i] = known.items[i].plan;
	request->quirks = handover->known;
	request->quirk_count = known.count;
	known_quirks_done(&known);
}

void handover_plan(struct handover *handover, struct loan *ret)
{
	static const struct plan_want wants[] = {
		{.address = "0000:01:00.0", .target = "vfio-pci"},
		{.address = "0000:01:00.1", .target = "vfio-pci"},
		{.address = "0000:01:00.2", .target = "vfio-pci"},
	};
	struct pci_functions host = {0};
	struct plan plan = {0};
	struct plan_request request = {.host = &host, .wants = wants, .want_count = 3};

	cr_assert_eq(pci_scan(&handover->kernel, &host, NULL), 0);
	handover_know(handover, &request);
	cr_assert_eq(plan_make(&handover->kernel, &request, &plan, NULL), 0);
	cr_assert_eq(plan.blocker_count, 0u);
	loan_init(ret, VM_104);
	ret->write_deadline_ms = 10000;
	cr_assert_eq(plan_record(&plan, ret), 0);
	plan_done(&plan);
	pci_functions_done(&host);
	fake_restart(handover->fake);
}

void handover_undo_twice(struct handover *handover, struct loan *loan, const char *when)
{
	struct error error = {0};
	struct loan again = {0};
	char *text = NULL;

	cr_assert_eq(loan_format(loan, &text, &error), 0, "%s: %s", when, error.message);
	cr_assert_eq(loan_parse(text, &again, &error), 0, "%s: %s", when, error.message);
	free(text);
	cr_expect_eq(executor_undo(&handover->executor, loan, NULL, &error), 0, "%s: %s", when,
		error.message);
	cr_expect_eq(loan->steps.count, 0u, "%s: %zu steps are left", when, loan->steps.count);
	cr_expect_eq(executor_undo(&handover->executor, &again, NULL, &error), 0, "%s, again: %s",
		when, error.message);
	cr_expect_eq(
		again.steps.count, 0u, "%s, again: %zu steps are left", when, again.steps.count);
	loan_done(&again);
}

void handover_expect_home(struct handover *handover, const char *when)
{
	char *now = fake_describe(handover->fake);

	cr_expect_str_eq(
		now, handover->before, "%s:\n%s\ninstead of\n%s", when, now, handover->before);
	free(now);
}

void handover_adopt_orphans(void)
{
	cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

void handover_await_orphans(void)
{
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}
