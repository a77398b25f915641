/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * The QEMU guest agent, spoken to in its own protocol on the VM's socket. Source:
 * qga/qapi-schema.json of QEMU 7.2 and docs/interop/qemu-ga.rst.
 *
 * The guest is a stranger: what it sends is bounded in size, depth and time, and no text of it
 * reaches a terminal before text_make_line. The socket takes one client: a second one connects, is
 * not answered, and what it had sent runs when the first one closes. So nothing but a
 * synchronisation is ever sent to an agent that has not just answered one.
 */

#define AGENT_REPLY_MAX (1024u * 1024u) /* a line, base64 included */

struct agent {
	int fd;
	bool in_step; /* false: an answer may still be under way; synchronise first */
	unsigned int answer_ms;
	char *buffer; /* AGENT_REPLY_MAX bytes, @used of them not read yet */
	size_t used;
	/* asked when nothing answers: true when the agent's socket serves somebody else */
	bool (*is_busy)(const void *context);
	const void *context;
};

/* Speaks over the connected stream socket @fd, which the agent closes; each answer may take
 * @answer_ms. 0 or -ENOMEM, then @fd is still the caller's. End with agent_close. */
int agent_init(struct agent *agent, int fd, unsigned int answer_ms, struct error *error);

/* Connects to run/qemu-server/VMID.qga and synchronises; a try, with no wait for a connection that
 * is taken. 0, or
 * -ENOENT	 there is no such socket
 * -ECONNREFUSED nobody listens: QEMU is gone
 * -EBUSY	 another program has the connection
 * -ETIMEDOUT	 no answer: no agent runs in the guest
 * -EPERM	 the socket is not root's; another -errno of connecting. */
int agent_open(const struct root *root, unsigned int vmid, struct agent *ret, struct error *error);
void agent_close(struct agent *agent);

/* Discards what is still under way (guest-sync-delimited). 0, or as agent_execute; -EBUSY when
 * another program has the connection. */
int agent_sync(struct agent *agent, struct error *error);

/*
 * Runs a command of the agent. Takes @arguments, which may be NULL. 0 and what it returned, to be
 * put, or
 * -ENOSYS    the agent does not know the command, or it is disabled there (CommandNotFound)
 * -EREMOTEIO the agent says that it failed (GenericError): its own words are the message
 * -ETIMEDOUT no answer in time: the command may still run in the guest
 * -EBADMSG   the answer is no JSON of the protocol;  -EFBIG it is larger than AGENT_REPLY_MAX
 * -EPIPE     the connection ended;  -EINTR a signal asked us to stop
 */
int agent_execute(struct agent *agent, const char *command, struct json_object *arguments,
	struct json_object **ret, struct error *error);

/* An answer as agent_execute gives it back: 0, -ENOSYS, -EREMOTEIO, -EBADMSG or -ENOMEM. */
int agent_reply_parse(const char *line, struct json_object **ret, struct error *error);

struct agent_program {
	const char *const *arguments; /* NULL-terminated, the program first: the guest's PATH counts
				       */
	unsigned int deadline_ms;
	/* called between two looks whether it has ended; may be NULL. Not 0: give up with that. */
	int (*watch)(void *context, struct error *error);
	void *context;
	bool discard_output;
};

struct agent_result {
	int exit_code; /* -1 when a signal ended it */
	int signal;    /* 0: none */
	char *output;  /* malloced, as the guest wrote it, and a NUL behind */
	char *errors;
	size_t output_length, errors_length;
};

/* Runs a program in the guest and waits for its end. 0 whatever its exit code is, or as
 * agent_execute; -EREMOTEIO also when it is not there. Past the deadline -ETIMEDOUT: it then still
 * runs in the guest, as the message says. */
int agent_run(struct agent *agent, const struct agent_program *program, struct agent_result *ret,
	struct error *error);
void agent_result_done(struct agent_result *result);

/* What guest-exec-status returned: 0, -EINPROGRESS when the program has not ended, -EBADMSG. */
int agent_result_parse(struct json_object *status, struct agent_result *ret, struct error *error);

/* Sleeps. 0, or -EINTR when a signal asked us to stop. */
int agent_sleep(unsigned int milliseconds, struct error *error);
