/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/device/device_nodes.h"
#include "tests/fuzz/answers.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const char *const addresses[] = {"0000:01:00.0", "0000:01:00.1"};

/* What a loan has of the nodes is what it has when it is written again. */
static void check_round_trip(const char *recorded)
{
	char text[NODES_TEXT_SIZE], again[NODES_TEXT_SIZE];
	cleanup(nodes_done) struct nodes nodes = {0}, read = {0};

	assert(nodes_parse(recorded, addresses[0], &nodes) == 0);
	nodes_format(&nodes, addresses[0], text, sizeof(text));
	assert(nodes_parse(text, addresses[0], &read) == 0);
	nodes_format(&read, addresses[0], again, sizeof(again));
	assert(strcmp(text, again) == 0 && read.count <= nodes.count);
}

/* What sysfs and NVIDIA's driver list, and then the text that a loan has. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	cleanup(nodes_done) struct nodes nodes = {0};
	struct answers answers;
	struct kernel kernel = answers_kernel(&answers);
	char text[NODES_TEXT_SIZE];
	const char *recorded;

	answers_init(&answers, bytes, length);
	recorded = answers_next(&answers);
	check_round_trip(recorded ? recorded : "");
	assert(nodes_collect(&kernel, addresses, 2, &nodes) == 0);
	assert(nodes_collect_group(&kernel, 15, addresses[0], &nodes) == 0);
	nodes_format(&nodes, addresses[0], text, sizeof(text));
	answers_done(&answers);
	return 0;
}
