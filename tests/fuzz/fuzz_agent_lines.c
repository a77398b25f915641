/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/guest/agent.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SENT_MAX 65536u /* what a socket takes without anybody who reads */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const char *const arguments[] = {"true", NULL};

/* A guest that sends these bytes, whatever it is asked, and hangs up. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const struct agent_program program = {.arguments = arguments};
	struct agent_result result = {0};
	struct error error = {0};
	struct agent agent = {0};
	int pair[2], r;

	if (length > SENT_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	assert(send(pair[1], bytes, length, MSG_DONTWAIT) == (ssize_t)length);
	shutdown(pair[1], SHUT_WR);
	assert(agent_init(&agent, pair[0], 1000, &error) == 0);
	/* a synchronisation cannot be guessed */
	agent.in_step = length % 8;
	r = agent_run(&agent, &program, &result, &error);
	assert(r == 0 || error.message[0]);
	agent_result_done(&result);
	agent_close(&agent);
	close(pair[1]);
	return 0;
}
