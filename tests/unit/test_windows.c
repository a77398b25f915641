/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/ferry/windows.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <string.h>

/* nvidia-modprobe loads the driver by its name. */
Test(windows, nvidias_modules_cannot_be_loaded_by_their_names_either)
{
	struct scratch scratch;
	struct step step = {.operation = "blacklist",
		.subject = "/run/modprobe.d/gpu-ferry-104.conf",
		.argument = "nvidia nvidia_current nouveau"};
	struct kernel kernel;
	char text[512];

	scratch_init(&scratch);
	kernel = (struct kernel){.root = scratch.root};
	cr_assert_eq(windows_operations[0].apply(&kernel, &step, NULL), 0);
	cr_assert_gt(file_read_attribute(&scratch.root, "run/modprobe.d/gpu-ferry-104.conf", text,
			     sizeof(text)),
		0);
	cr_expect_str_eq(strchr(text, '\n') + 1,
		"blacklist nvidia\ninstall nvidia /bin/false\n"
		"blacklist nvidia_current\ninstall nvidia_current /bin/false\n"
		"blacklist nouveau");
	scratch_done(&scratch);
}
