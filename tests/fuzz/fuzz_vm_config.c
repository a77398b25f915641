/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/vm_config.h"
#include "conf/pve/vm_cpu.h"
#include "conf/pve/vm_sections.h"
#include "kmod-helper/base/cleanup.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever the bytes are, there is a config, and its questions have answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(vm_config_done) struct vm_config config = {0};
	cleanup(cpu_arguments_done) struct cpu_arguments cpu = {0};
	cleanup(vm_sections_done) struct vm_sections sections = {0};

	if (vm_config_parse((const char *)data, size, &config, NULL) < 0)
		abort();
	if (vm_sections_parse((const char *)data, size, &sections, NULL) < 0)
		abort();
	for (size_t i = 0; i < sections.count; i++)
		(void)vm_section_is_snapshot(&sections.items[i]);
	(void)vm_pending_get(&sections, "hostpci0", NULL);
	if (vm_config_is_windows(&config) && vm_config_ostype(&config)[0] != 'w')
		abort();
	if (cpu_arguments_parse(
		    vm_config_get(&config, "args"), vm_config_get(&config, "cpu"), &cpu) == 0 &&
		strlen(cpu.rest) > size)
		abort();
	(void)vm_config_has_hostpci(&config);
	(void)vm_config_is_template(&config);
	(void)vm_config_is_q35(&config);
	return 0;
}
