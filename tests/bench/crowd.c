/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * `crowd PROCESSES DESCRIPTORS`: so many processes that sleep, each with so many descriptors of
 * /dev/null, which is a device as a card's node is. Says "ready" when they are there; they end with
 * it.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	struct rlimit many = {.rlim_cur = 65536, .rlim_max = 65536};
	int processes = count == 3 ? atoi(arguments[1]) : 0;
	int descriptors = count == 3 ? atoi(arguments[2]) : 0;

	if (processes < 1 || descriptors < 4)
		return 2;
	setrlimit(RLIMIT_NOFILE, &many);
	for (int i = 3; i < descriptors; i++) {
		if (open("/dev/null", O_RDONLY) < 0) {
			perror("open /dev/null");
			return 1;
		}
	}
	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("fork");
			return 1;
		}
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
