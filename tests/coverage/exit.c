/* SPDX-License-Identifier: GPL-2.0-or-later */

/* For `make coverage`: takes the place of _exit (by the linker's --wrap), with which the product's
 * children end. The counters are written at a process's end, but not by _exit itself. */

void __gcov_dump(void);
_Noreturn void __real__exit(int status);
_Noreturn void __wrap__exit(int status);

_Noreturn void __wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}
