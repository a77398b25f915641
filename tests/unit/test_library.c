/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/library.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>

static typeof(&floor) find_floor;

Test(library, functions_are_found_on_first_use_and_again)
{
	const struct library_symbol symbols[] = {LIBRARY_SYMBOL(floor, find_floor)};
	const struct library library = {"libm.so.6", "libc6", symbols, 1};
	struct error error = {0};

	for (int i = 0; i < 2; i++) {
		cr_assert_eq(library_load(&library, &error), 0, "%s", error.message);
		cr_assert_eq((int)find_floor(2.5), 2);
	}
}

Test(library, library_that_is_absent_is_named_with_its_package)
{
	const struct library library = {"libnowhere.so.1", "libnowhere1", NULL, 0};
	struct error error = {0};

	cr_assert_eq(library_load(&library, &error), -ENOENT);
	cr_assert_str_eq(error.message,
		"load a library: libnowhere.so.1: cannot open shared object file: No such file or "
		"directory; install libnowhere1");
}

Test(library, function_that_is_missing_is_named)
{
	void *pointer = NULL;
	const struct library_symbol symbols[] = {{"no_such_function", &pointer}};
	const struct library library = {"libm.so.6", "libc6", symbols, 1};
	struct error error = {0};

	cr_assert_eq(library_load(&library, &error), -ENOSYS);
	cr_assert_str_eq(
		error.message, "load a library: libm.so.6 has no no_such_function; upgrade libc6");
	cr_assert_null(pointer);
}
