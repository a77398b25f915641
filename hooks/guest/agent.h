/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Speaks with the QEMU guest agent, in its own protocol, on the VM's socket. Source:
 * qga/qapi-schema.json of QEMU 7.2 and docs/interop/qemu-ga.rst.
 *
 * The guest is not trusted: what it sends is limited in size, depth and time, and none of its text
 * is obeyed by a terminal (output_print). The socket serves one client: a second one can connect
 * but gets no answer, and what it sent runs when the first one closes. So we send nothing but a
 * synchronisation to an agent that has not just answered one.
 */

#define AGENT_REPLY_MAX (1024u * 1024u) /* a line, base64 included */

struct agent {
	int fd;
	bool in_step; /* false: an answer may still be under way; synchronise first */
	unsigned int answer_ms;
	char *buffer; /* AGENT_REPLY_MAX bytes, @used of them not read yet */
	size_t used;
	/* called when nothing answers; true when the agent's socket serves another client */
	bool (*is_busy)(const void *context);
	const void *context;
};

/* Uses the connected stream socket @fd; each answer may take @answer_ms. Returns 0, and then
 * agent_close also closes @fd; or -ENOMEM, and then @fd still belongs to the caller. */
int agent_init(struct agent *agent, int fd, unsigned int answer_ms, struct error *error);

/* Connects to run/qemu-server/VMID.qga and synchronises. It tries once, and does not wait for a
 * connection that another program has. Returns 0, another -errno of connecting, or
 * -ENOENT       there is no such socket
 * -ECONNREFUSED nobody listens: QEMU is gone
 * -EBUSY        another program has the connection
 * -ETIMEDOUT    no answer: no agent runs in the guest
 * -EPERM        the socket is not root's */
int agent_open(const struct root *root, unsigned int vmid, struct agent *ret, struct error *error);
void agent_close(struct agent *agent);

/* Does a connection to the socket "run/…" wait, so that another client has it? @sockets is the text
 * of /proc/net/unix, and is taken apart. */
bool agent_is_taken(char *sockets, const char *path);

/* Discards answers that are still under way (guest-sync-delimited). 0, the errors of agent_execute,
 * or -EBUSY (another program has the connection). */
int agent_sync(struct agent *agent, struct error *error);

/* Runs a command of the agent. Takes ownership of @arguments, which may be NULL. Returns 0, with
 * the result in *@ret (free it with json_object_put), or
 * -ENOSYS    the agent does not know the command, or it is disabled there (CommandNotFound)
 * -EREMOTEIO the agent says that it failed (GenericError): its own words are the message
 * -ETIMEDOUT no answer in time: the command may still run in the guest
 * -EBADMSG   the answer is not JSON of the protocol
 * -EFBIG     the answer is larger than AGENT_REPLY_MAX
 * -EPIPE     the connection ended
 * -EINTR     a signal asked us to stop */
int agent_execute(struct agent *agent, const char *command, struct json_object *arguments,
	struct json_object **ret, struct error *error);

/* Parses an answer, for agent_execute. 0, -ENOSYS, -EREMOTEIO, -EBADMSG or -ENOMEM. */
int agent_reply_parse(const char *line, struct json_object **ret, struct error *error);

struct agent_program {
	const char *const *arguments; /* NULL-terminated; [0] is looked up in the guest's PATH */
	unsigned int deadline_ms;
	/* called while the program runs; may be NULL. Any result but 0 ends the waiting. */
	int (*watch)(void *context, struct error *error);
	void *context;
	bool discard_output;
};

struct agent_result {
	int exit_code; /* -1 when a signal ended it */
	int signal;    /* 0: none */
	char *output;  /* malloced, as the guest wrote it, with a NUL added */
	char *errors;
	size_t output_length, errors_length;
};

/* Runs a program in the guest and waits for its end. Returns 0, whatever its exit code is, or the
 * errors of agent_execute; -EREMOTEIO also when there is no such program. -ETIMEDOUT after the
 * deadline: it then still runs in the guest, as the message says. */
int agent_run(struct agent *agent, const struct agent_program *program, struct agent_result *ret,
	struct error *error);
void agent_result_done(struct agent_result *result);

/* Parses what guest-exec-status returned. 0, -EINPROGRESS (it still runs) or -EBADMSG. */
int agent_result_parse(struct json_object *status, struct agent_result *ret, struct error *error);

/* Sleeps. 0, or -EINTR when a signal asked us to stop. */
int agent_sleep(unsigned int milliseconds, struct error *error);
