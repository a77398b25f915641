/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * Put before libc when programs run under valgrind: Debian 12's does not know openat2(2). The
 * generated trees have no links that lead out of them, so that openat(2) finds the same.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long argument[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		argument[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_openat2) {
		const struct open_how *how = (const void *)argument[2];

		return openat((int)argument[0], (const char *)argument[1], (int)how->flags,
			(mode_t)how->mode);
	}
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(number, argument[0], argument[1], argument[2], argument[3], argument[4],
		argument[5]);
}
