/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/guest/agent.h"
#include "hooks/guest/view.h"
#include "kmod-helper/base/cleanup.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void read_devices(struct json_object *value)
{
	struct guest_devices devices = {0};

	(void)guest_devices_parse_windows(value, &devices, NULL);
	guest_devices_done(&devices);
}

static void read_result(struct json_object *value)
{
	struct agent_result result = {0};
	struct guest_devices devices = {0};
	struct nvidia_smi answer = {0};
	char line[64];

	if (agent_result_parse(value, &result, NULL) == 0) {
		assert(!result.output[result.output_length]);
		guest_text_copy(result.errors, line, sizeof(line));
		assert(!strchr(line, '\n'));
		nvidia_smi_parse(result.errors, &answer);
		assert(guest_devices_parse_lines(result.output, &devices, NULL) == 0);
	}
	guest_devices_done(&devices);
	nvidia_smi_done(&answer);
	agent_result_done(&result);
}

/* A line of the guest's, as every reader of answers might get it. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	auto_free char *line = strndup((const char *)bytes, length);
	struct json_object *value = NULL;
	struct error error = {0};

	if (!line)
		return 0;
	if (agent_reply_parse(line, &value, &error) == 0) {
		read_devices(value);
		read_result(value);
	} else {
		assert(error.message[0]);
	}
	json_object_put(value);
	return 0;
}
