/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/vm_cpu.h"
#include "kmod-helper/base/cleanup.h"
#include <criterion/criterion.h>
#include <errno.h>

static void expect(const char *args, const char *cpu, const char *native, const char *rest,
	const char *dropped)
{
	cleanup(cpu_arguments_done) struct cpu_arguments arguments = {0};

	cr_assert_eq(cpu_arguments_parse(args, cpu, &arguments), 0, "%s", args);
	cr_expect_str_eq(arguments.native, native, "%s: %s", args, arguments.native);
	cr_expect_str_eq(arguments.rest, rest, "%s: %s", args, arguments.rest);
	cr_expect_str_eq(arguments.dropped, dropped, "%s: %s", args, arguments.dropped);
}

/* The line of the guides, and what Proxmox has for it. */
Test(vm_cpu, the_guides_line_has_a_native_form)
{
	expect("-cpu 'host,kvm=off,hv_vendor_id=proxmox'", "host,hidden=1,flags=+pcid",
		"host,hidden=1,flags=+pcid,hv-vendor-id=proxmox", "", "");
	expect("-cpu host,kvm=off,+pcid,hv-vendor-id=proxmox", NULL,
		"host,hidden=1,flags=+pcid,hv-vendor-id=proxmox", "", "");
}

Test(vm_cpu, what_else_is_in_args_stays_as_it_is_written)
{
	expect("-device 'x,id=a b' -cpu host -smbios type=1", NULL, "host",
		"-device 'x,id=a b' -smbios type=1", "");
	expect("-name \"a\\\" -cpu b\" --cpu host", "kvm64,phys-bits=host", "host,phys-bits=host",
		"-name \"a\\\" -cpu b\"", "");
}

Test(vm_cpu, what_has_no_native_form_is_named)
{
	expect("-cpu host,-hypervisor,hv_relaxed,hv_time,migratable=no,+aes", NULL,
		"host,flags=+aes", "", "-hypervisor,migratable=no");
	expect("-cpu SomeModel-v9,kvm=on", "host,hidden=1", "host", "", "SomeModel-v9");
	expect("-cpu host,hv_vendor_id=has-a-dash", NULL, "host", "", "hv_vendor_id=has-a-dash");
}

Test(vm_cpu, a_flag_of_args_goes_before_the_same_one_of_cpu)
{
	expect("-cpu host,pcid=off,aes", "host,flags=+pcid;+ssbd", "host,flags=+ssbd;-pcid;+aes",
		"", "");
}

Test(vm_cpu, a_cpu_without_a_value_is_still_taken_out)
{
	expect("-cpu", "host", "host", "", "");
	expect("-S -cpu ''", "host", "host", "-S", "");
}

Test(vm_cpu, args_without_a_cpu_are_told)
{
	struct cpu_arguments arguments;

	cr_expect_eq(cpu_arguments_parse(NULL, "host", &arguments), -ENOENT);
	cr_expect_eq(cpu_arguments_parse("", NULL, &arguments), -ENOENT);
	cr_expect_eq(cpu_arguments_parse("-device a,x=-cpu -cpux", NULL, &arguments), -ENOENT);
}

Test(vm_cpu, hidden_is_read_from_the_cpu)
{
	cr_expect(cpu_is_hidden("host,hidden=1"));
	cr_expect(cpu_is_hidden("cputype=host,hidden=on"));
	cr_expect_not(cpu_is_hidden("host,hidden=0"));
	cr_expect_not(cpu_is_hidden("host"));
	cr_expect_not(cpu_is_hidden(NULL));
	cr_expect_not(cpu_is_hidden("host,hidden=1,hidden=1"));
}
