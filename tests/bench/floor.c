/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * The least that moves devices: the writes to sysfs that any tool has to make, and nothing else.
 * `floor out DRIVER ADDRESS...` gives them to DRIVER, `floor home ADDRESS...` back to their own.
 * Says how many microseconds the writes took, without the start of this program.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		perror(path);
		exit(1);
	}
	close(fd);
}

static void move(const char *address, const char *override)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", address);
	put(path, override);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", address);
	put(path, address);
	put("/sys/bus/pci/drivers_probe", address);
}

static long long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

int main(int count, char **arguments)
{
	const char *override = "\n";
	int first = 2;
	long long begin;

	if (count > 3 && strcmp(arguments[1], "out") == 0)
		override = arguments[first++];
	else if (count < 3 || strcmp(arguments[1], "home") != 0)
		return 2;
	begin = microseconds();
	for (int i = first; i < count; i++)
		move(arguments[i], override);
	printf("%lld\n", microseconds() - begin);
	return 0;
}
