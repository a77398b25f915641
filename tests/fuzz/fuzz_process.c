/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/guest/agent.h"
#include "kmod-helper/base/cgroup.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/kernel/open_devices.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_cgroup(char *text)
{
	struct cgroup cgroup;

	cgroup_parse(text, &cgroup);
	assert(cgroup.guest <= VMID_MAX && !strpbrk(cgroup.unit, "/\n"));
	assert(!cgroup.guest == (cgroup.kind != CGROUP_CONTAINER && cgroup.kind != CGROUP_VM));
	assert(cgroup.kind != CGROUP_SERVICE || *cgroup.unit);
	assert(!*cgroup.unit || cgroup.kind == CGROUP_SERVICE || cgroup.kind == CGROUP_CONTAINER);
}

/* Lines of /proc/PID/stat, maps and cgroup, and of /proc/net/unix. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	auto_free char *text = strndup((const char *)bytes, length);
	auto_free char *line = strndup((const char *)bytes, length);
	auto_free char *sockets = strndup((const char *)bytes, length);
	unsigned long long start_time;
	struct memory_mapping mapping;
	char state;

	if (!text || !line || !sockets)
		return 0;
	if (memory_mapping_parse(text, &mapping))
		assert(mapping.file > text && mapping.file < text + strlen(text));
	if (process_stat_parse(line, &state, &start_time) == 0)
		assert(state);
	if (agent_is_taken(sockets, "run/qemu-server/104.qga"))
		assert(strstr(text, "run/qemu-server/104.qga"));
	check_cgroup(text);
	return 0;
}
