/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Speaks with the QEMU guest agent of a VM. */

#include "agent.h"

#include "hooks/base/context.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The time that Proxmox waits for a guest-sync (PVE/QMPClient.pm). */
#define ANSWER_MS 5000u
/* Deeper than any answer of the agent. */
#define JSON_DEPTH 16
#define SOCKETS_MAX ((size_t)4 * 1024 * 1024)
/* The byte that marks the answer of guest-sync-delimited and resets the agent's reader. UTF-8 never
 * has it. */
#define DELIMITER 0xff
/* The pause between two checks whether a program has ended. */
#define FIRST_PAUSE_MS 20u
#define LAST_PAUSE_MS 1000u

/* ---- the connection */

static int interrupted(struct error *error)
{
	return error_set(error, -EINTR, "interrupted");
}

/* 0 when the socket is ready for @events, -ETIMEDOUT, or -EINTR when we are to stop. */
static int wait_ready(
	const struct agent *agent, short events, unsigned long long deadline, struct error *error)
{
	struct pollfd poll_fd = {.fd = agent->fd, .events = events};

	for (;;) {
		unsigned long long now = clock_milliseconds();
		int r;

		if (stop_requested)
			return interrupted(error);
		if (now >= deadline)
			return error_set(
				error, -ETIMEDOUT, "no answer within %u ms", agent->answer_ms);
		r = poll(&poll_fd, 1, deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now));
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return error_set_errno(error, -errno, "wait for the guest agent");
	}
}

static int send_text(
	struct agent *agent, const char *text, unsigned long long deadline, struct error *error)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t sent = send(agent->fd, text, left, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r = 0;

		if (sent > 0) {
			text += sent;
			left -= (size_t)sent;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return error_set(error, -EPIPE, "the agent closed the connection");
		} else if (errno == EAGAIN) {
			r = wait_ready(agent, POLLOUT, deadline, error);
		} else if (errno != EINTR) {
			return error_set_errno(error, -errno, "send to the guest agent");
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive(struct agent *agent, unsigned long long deadline, struct error *error)
{
	ssize_t got;
	int r = wait_ready(agent, POLLIN, deadline, error);

	if (r < 0)
		return r;
	got = recv(agent->fd, agent->buffer + agent->used, AGENT_REPLY_MAX - agent->used,
		MSG_DONTWAIT);
	if (got > 0)
		agent->used += (size_t)got;
	else if (got == 0 || errno == ECONNRESET)
		return error_set(error, -EPIPE, "the agent closed the connection");
	else if (errno != EAGAIN && errno != EINTR)
		return error_set_errno(error, -errno, "read from the guest agent");
	return 0;
}

/* Reads a line from the guest, without its newline. -EFBIG: it is too long, and what was read of it
 * is dropped. */
static int read_line(
	struct agent *agent, unsigned long long deadline, char **ret, struct error *error)
{
	for (;;) {
		char *end = memchr(agent->buffer, '\n', agent->used);
		int r;

		if (end) {
			size_t length = (size_t)(end - agent->buffer);

			*ret = strndup(agent->buffer, length);
			agent->used -= length + 1;
			memmove(agent->buffer, end + 1, agent->used);
			return *ret ? 0 : error_set_errno(error, -ENOMEM, "read the answer");
		}
		if (agent->used == AGENT_REPLY_MAX) {
			agent->used = 0;
			return error_set(error, -EFBIG, "the answer is larger than %u bytes",
				AGENT_REPLY_MAX);
		}
		r = receive(agent, deadline, error);
		if (r < 0)
			return r;
	}
}

int agent_init(struct agent *agent, int fd, unsigned int answer_ms, struct error *error)
{
	char *buffer = malloc(AGENT_REPLY_MAX);

	if (!buffer)
		return error_set_errno(error, -ENOMEM, "talk to the guest agent");
	*agent = (struct agent){.fd = fd, .answer_ms = answer_ms, .buffer = buffer};
	return 0;
}

void agent_close(struct agent *agent)
{
	/* an agent that was never opened is all zeros */
	if (!agent->buffer)
		return;
	close(agent->fd);
	free(agent->buffer);
	*agent = (struct agent){.fd = -1};
}

/* ---- commands */

/* Not JSON_TOKENER_STRICT: json-c 0.18 (Debian 13) then refuses each text that is not ASCII. */
static struct json_object *parse_json(const char *text)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
	size_t length = strlen(text);
	struct json_object *object = NULL;

	if (!tokener || length > AGENT_REPLY_MAX)
		goto out;
	object = json_tokener_parse_ex(tokener, text, (int)length);
	text += json_tokener_get_parse_end(tokener);
	if (json_tokener_get_error(tokener) != json_tokener_success ||
		text[strspn(text, " \t\r\n")] || !json_object_is_type(object, json_type_object)) {
		json_object_put(object);
		object = NULL;
	}
out:
	if (tokener)
		json_tokener_free(tokener);
	return object;
}

static const char *text_of(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
		!json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}

static int reply_error(struct json_object *failure, struct error *error)
{
	bool unknown = strcmp(text_of(failure, "class"), "CommandNotFound") == 0;
	const char *words = text_of(failure, "desc");

	return error_set(error, unknown ? -ENOSYS : -EREMOTEIO, "the guest agent says: %.200s",
		*words ? words : "an error without a description");
}

int agent_reply_parse(const char *line, struct json_object **ret, struct error *error)
{
	struct json_object *reply = parse_json(line), *value;
	int r = 0;

	if (json_object_object_get_ex(reply, "error", &value) &&
		json_object_is_type(value, json_type_object))
		r = reply_error(value, error);
	else if (json_object_object_get_ex(reply, "return", &value) && value)
		*ret = json_object_get(value);
	else
		r = error_set(error, -EBADMSG,
			"the answer does not follow the guest agent's "
			"protocol");
	json_object_put(reply);
	return r;
}

static int send_command(struct agent *agent, const char *prefix, const char *command,
	struct json_object *arguments, unsigned long long deadline, struct error *error)
{
	struct json_object *call = json_object_new_object();
	auto_free char *text = NULL;
	int r;

	json_object_object_add(call, "execute", json_object_new_string(command));
	if (arguments)
		json_object_object_add(call, "arguments", arguments);
	r = asprintf(&text, "%s%s\n", prefix,
		json_object_to_json_string_ext(
			call, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(call);
	if (r < 0)
		return error_set_errno(error, -ENOMEM, "send to the guest agent");
	return send_text(agent, text, deadline, error);
}

/* True when the line is the answer to our synchronisation. What is before the delimiter was left by
 * others. */
static bool is_sync_answer(const char *line, int64_t id)
{
	const char *mark = strrchr(line, DELIMITER);
	struct json_object *value = NULL;
	bool same;

	if (!mark || agent_reply_parse(mark + 1, &value, NULL) < 0)
		return false;
	same = json_object_is_type(value, json_type_int) && json_object_get_int64(value) == id;
	json_object_put(value);
	return same;
}

/* The agent takes any integer, but integers in JavaScript have only 53 bits. */
static int make_id(int64_t *ret, struct error *error)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return error_set_errno(error, -errno, "get a random number");
	*ret = random;
	return 0;
}

static int await_sync(
	struct agent *agent, int64_t id, unsigned long long deadline, struct error *error)
{
	for (;;) {
		auto_free char *line = NULL;
		int r = read_line(agent, deadline, &line, error);

		/* skip a line that is too long: others may have left anything unread */
		if (r < 0 && r != -EFBIG)
			return r;
		if (r == 0 && line && is_sync_answer(line, id))
			return 0;
	}
}

int agent_sync(struct agent *agent, struct error *error)
{
	static const char delimiter[] = {(char)DELIMITER, '\0'};
	unsigned long long deadline = clock_milliseconds() + agent->answer_ms;
	struct json_object *arguments;
	int64_t id = 0;
	int r = make_id(&id, error);

	if (r < 0)
		return r;
	arguments = json_object_new_object();
	json_object_object_add(arguments, "id", json_object_new_int64(id));
	r = send_command(agent, delimiter, "guest-sync-delimited", arguments, deadline, error);
	if (r == 0)
		r = await_sync(agent, id, deadline, error);
	if (r == -ETIMEDOUT && agent->is_busy && agent->is_busy(agent->context))
		return error_set(error, -EBUSY, "another program is using the agent's connection");
	if (r < 0)
		return r;
	agent->in_step = true;
	return 0;
}

int agent_execute(struct agent *agent, const char *command, struct json_object *arguments,
	struct json_object **ret, struct error *error)
{
	auto_free char *line = NULL;
	unsigned long long deadline;
	int r = agent->in_step ? 0 : agent_sync(agent, error);

	if (r < 0) {
		json_object_put(arguments);
		return error_wrap(error, r, "%s", command);
	}
	/* until the whole answer is here */
	agent->in_step = false;
	deadline = clock_milliseconds() + agent->answer_ms;
	r = send_command(agent, "", command, arguments, deadline, error);
	if (r == 0)
		r = read_line(agent, deadline, &line, error);
	if (r == 0 && line) {
		r = agent_reply_parse(line, ret, error);
		agent->in_step = r != -EBADMSG;
	}
	return r < 0 ? error_wrap(error, r, "%s", command) : 0;
}

/* ---- programs in the guest */

int agent_sleep(unsigned int milliseconds, struct error *error)
{
	unsigned long long end = clock_milliseconds() + milliseconds;

	for (;;) {
		unsigned long long now = clock_milliseconds();

		if (stop_requested)
			return interrupted(error);
		if (now >= end)
			return 0;
		poll(NULL, 0, (int)(end - now));
	}
}

static struct json_object *exec_arguments(const struct agent_program *program)
{
	struct json_object *arguments = json_object_new_object();
	struct json_object *rest = json_object_new_array();

	json_object_object_add(arguments, "path", json_object_new_string(program->arguments[0]));
	for (size_t i = 1; program->arguments[i]; i++)
		json_object_array_add(rest, json_object_new_string(program->arguments[i]));
	json_object_object_add(arguments, "arg", rest);
	json_object_object_add(
		arguments, "capture-output", json_object_new_boolean(!program->discard_output));
	return arguments;
}

/* A program that is not there cannot become -ENOENT: the agent only gives GLib's words for it. */
static int start_program(
	struct agent *agent, const struct agent_program *program, int64_t *ret, struct error *error)
{
	struct json_object *value = NULL, *pid;
	int r = agent_execute(agent, "guest-exec", exec_arguments(program), &value, error);

	if (r == -ETIMEDOUT)
		return error_wrap(
			error, r, "%s may still be running in the guest", program->arguments[0]);
	if (r < 0)
		return r;
	if (json_object_object_get_ex(value, "pid", &pid) &&
		json_object_is_type(pid, json_type_int))
		*ret = json_object_get_int64(pid);
	else
		r = error_set(error, -EBADMSG, "guest-exec: the answer contains no process number");
	json_object_put(value);
	return r;
}

/* Four digits of base64 (RFC 4648) to three bytes; "=" stands for a zero. */
static int decode_block(const char *block, char *ret)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned int bits = 0;

	for (int i = 0; i < 4; i++) {
		const char *digit = strchr(digits, block[i] == '=' ? 'A' : block[i]);

		if (!block[i] || !digit || (i < 2 && block[i] == '='))
			return -EBADMSG;
		bits = bits << 6 | (unsigned int)(digit - digits);
	}
	for (int i = 0; i < 3; i++)
		ret[i] = (char)(bits >> (16 - 8 * i));
	return 0;
}

static int decode(struct json_object *status, const char *key, char **ret, size_t *ret_length)
{
	const char *text = text_of(status, key);
	size_t length = strlen(text) / 4 * 3;
	auto_free char *decoded = calloc(length + 1, 1);
	int r = strlen(text) % 4 ? -EBADMSG : 0;

	if (!decoded)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < length / 3; i++) {
		/* padding is allowed only at the end */
		if (i > 0 && text[4 * i - 1] == '=')
			r = -EBADMSG;
		else
			r = decode_block(text + 4 * i, decoded + 3 * i);
	}
	if (r < 0)
		return r;
	for (const char *end = text + strlen(text); length && end[-1] == '='; end--)
		length--;
	decoded[length] = '\0';
	*ret = TAKE_PTR(decoded);
	*ret_length = length;
	return 0;
}

static int integer_of(struct json_object *object, const char *key, int fallback)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
		!json_object_is_type(value, json_type_int))
		return fallback;
	return json_object_get_int(value);
}

int agent_result_parse(struct json_object *status, struct agent_result *ret, struct error *error)
{
	struct agent_result result = {0};
	struct json_object *exited;
	int r;

	if (!json_object_object_get_ex(status, "exited", &exited) ||
		!json_object_is_type(exited, json_type_boolean))
		return error_set(error, -EBADMSG,
			"guest-exec-status: the answer does not say whether it "
			"has ended");
	if (!json_object_get_boolean(exited))
		return -EINPROGRESS;
	result.exit_code = integer_of(status, "exitcode", -1);
	result.signal = integer_of(status, "signal", 0);
	r = decode(status, "out-data", &result.output, &result.output_length);
	if (r == 0)
		r = decode(status, "err-data", &result.errors, &result.errors_length);
	if (r < 0) {
		agent_result_done(&result);
		return error_set(error, r, "guest-exec-status: the output is not base64");
	}
	*ret = result;
	return 0;
}

void agent_result_done(struct agent_result *result)
{
	free(result->output);
	free(result->errors);
	*result = (struct agent_result){0};
}

/* The agent gives a status "exited" only once, so it must be read as a whole here. */
static int read_status(
	struct agent *agent, int64_t pid, struct agent_result *ret, struct error *error)
{
	struct json_object *arguments = json_object_new_object(), *value = NULL;
	int r;

	json_object_object_add(arguments, "pid", json_object_new_int64(pid));
	r = agent_execute(agent, "guest-exec-status", arguments, &value, error);
	if (r == 0)
		r = agent_result_parse(value, ret, error);
	json_object_put(value);
	return r;
}

static unsigned int next_pause(unsigned int pause)
{
	return pause * 2 < LAST_PAUSE_MS ? pause * 2 : LAST_PAUSE_MS;
}

int agent_run(struct agent *agent, const struct agent_program *program, struct agent_result *ret,
	struct error *error)
{
	unsigned long long deadline = clock_milliseconds() + program->deadline_ms;
	unsigned int pause = FIRST_PAUSE_MS;
	int64_t pid = 0;
	int r = start_program(agent, program, &pid, error);

	if (r < 0)
		return r;
	for (;;) {
		r = read_status(agent, pid, ret, error);
		/* a guest that compiles may answer late: that does not mean that the program has
		 * ended */
		if (r != -EINPROGRESS && r != -ETIMEDOUT)
			return r;
		if (clock_milliseconds() >= deadline)
			return error_set(error, -ETIMEDOUT,
				"%s has not ended within %u s; it still runs in the guest, as "
				"process %" PRId64,
				program->arguments[0], program->deadline_ms / 1000, pid);
		r = program->watch ? program->watch(program->context, error) : 0;
		if (r == 0)
			r = agent_sleep(pause, error);
		if (r < 0)
			return r;
		pause = next_pause(pause);
	}
}

/* ---- the VM's socket */

struct socket_place {
	const struct root *root;
	char path[64]; /* below the root */
};

/* True for a connection to @path that waits. In proc_net_unix(5) the sixth column is the state of a
 * socket, and the last one its name. A connection that has not been accepted has the listener's
 * name and the state 02, connecting; QEMU accepts one connection and leaves the others waiting. */
static bool is_waiting(const char *line, const char *path)
{
	const char *name = strchr(line, '/');

	for (int i = 0; i < 5; i++) {
		line += strcspn(line, " ");
		line += strspn(line, " ");
	}
	if (!name || strncmp(line, "02 ", 3) != 0)
		return false;
	/* Proxmox writes /var/run for /run */
	if (strncmp(name, "/var/", 5) == 0)
		name += 4;
	return strcmp(name + 1, path) == 0;
}

bool agent_is_taken(char *sockets, const char *path)
{
	char *save = NULL;

	for (char *line = strtok_r(sockets, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		if (is_waiting(line, path))
			return true;
	}
	return false;
}

static bool is_taken(const void *context)
{
	static const struct file_read_options options = {.max = SOCKETS_MAX};
	const struct socket_place *place = context;
	auto_free char *text = NULL;

	return file_read(place->root, "proc/net/unix", &options, &text, NULL, NULL) == 0 &&
		agent_is_taken(text, place->path);
}

/* Connects through a descriptor, because the path below a root may be too long for a socket
 * address. */
static int connect_through(int socket_fd, int fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", socket_fd);
	while (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno != EINTR)
			/* the queue of the listener is full */
			return errno == EAGAIN ? -EBUSY : -errno;
	}
	return 0;
}

static int connect_socket(const struct socket_place *place, int *ret, struct error *error)
{
	auto_close int socket_fd = file_open(place->root, place->path, O_PATH | O_NOFOLLOW);
	auto_close int fd = -1;
	struct stat status;
	int r;

	if (socket_fd < 0)
		return error_set_errno(error, socket_fd, "connect to /%s", place->path);
	if (fstat(socket_fd, &status) < 0)
		return error_set_errno(error, -errno, "connect to /%s", place->path);
	if (!S_ISSOCK(status.st_mode) || status.st_uid != place->root->owner)
		return error_set(error, -EPERM,
			"connect to /%s: it is not a socket that belongs to root", place->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set_errno(error, -errno, "make a socket");
	r = connect_through(socket_fd, fd);
	if (r == -EBUSY)
		return error_set(error, r, "another program is using the agent's connection");
	if (r < 0)
		return error_set_errno(error, r, "connect to /%s", place->path);
	*ret = TAKE_FD(fd);
	return 0;
}

int agent_open(const struct root *root, unsigned int vmid, struct agent *ret, struct error *error)
{
	struct socket_place place = {.root = root};
	auto_close int fd = -1;
	int r;

	snprintf(place.path, sizeof(place.path), "run/qemu-server/%u.qga", vmid);
	r = connect_socket(&place, &fd, error);
	if (r == 0)
		r = agent_init(ret, fd, ANSWER_MS, error);
	if (r < 0)
		return r;
	fd = -1;
	ret->is_busy = is_taken;
	ret->context = &place;
	r = agent_sync(ret, error);
	/* from now on the connection is ours */
	ret->is_busy = NULL;
	ret->context = NULL;
	if (r < 0)
		agent_close(ret);
	return r;
}
