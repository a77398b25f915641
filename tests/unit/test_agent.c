/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hooks/base/context.h"
#include "hooks/guest/agent.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/*
 * The agent's side is a child that answers by a script: each line it gets takes the next entry.
 * "SYNC" in an answer becomes the right answer to guest-sync-delimited.
 */
#define SILENT ""	  /* no answer */
#define SYNC "\xffSYNC\n" /* a right one */
#define CLOSE NULL	  /* the connection ends */
#define HUGE_REPLY "HUGE" /* a line larger than any allowed */

struct peer {
	struct agent agent;
	pid_t child;
	int log; /* what the agent was sent, a line each */
};

static void write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t written = write(fd, text, length);

		if (written <= 0)
			_exit(0);
		text += written;
		length -= (size_t)written;
	}
}

static void write_huge(int fd)
{
	char block[4096];

	memset(block, 'x', sizeof(block));
	for (size_t sent = 0; sent < 2 * AGENT_REPLY_MAX; sent += sizeof(block))
		write_all(fd, block, sizeof(block));
	write_all(fd, "\n", 1);
}

static void answer(int fd, const char *line, const char *reply)
{
	const char *mark = strstr(reply, "SYNC");
	const char *id = strstr(line, "\"id\":");

	if (strncmp(reply, HUGE_REPLY, strlen(HUGE_REPLY)) == 0) {
		write_huge(fd);
		reply += strlen(HUGE_REPLY);
	}
	if (!mark) {
		write_all(fd, reply, strlen(reply));
		return;
	}
	write_all(fd, reply, (size_t)(mark - reply));
	dprintf(fd, "{\"return\": %lld}", id ? strtoll(id + 5, NULL, 10) : 0);
	write_all(fd, mark + 4, strlen(mark + 4));
}

static _Noreturn void play(int fd, int log, const char *const *replies)
{
	FILE *stream = fdopen(fd, "r");
	char line[65536];

	for (; *replies && fgets(line, sizeof(line), stream); replies++) {
		write_all(log, line, strlen(line));
		answer(fd, line, *replies);
	}
	/* the last SILENT is kept silent for good */
	if (*replies == NULL && replies[-1][0] == '\0')
		pause();
	_exit(0);
}

/* Silence is waited for to its end; what is answered comes in time on any machine. */
static unsigned int answer_deadline(const char *const *replies)
{
	while (*replies && **replies)
		replies++;
	return *replies ? 1000 : 60000;
}

static void peer_open(struct peer *peer, const char *const *replies)
{
	int sockets[2], log[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, log), 0);
	peer->child = fork();
	if (peer->child == 0) {
		close(sockets[0]);
		play(sockets[1], log[1], replies);
	}
	close(sockets[1]);
	close(log[1]);
	peer->log = log[0];
	cr_assert_eq(agent_init(&peer->agent, sockets[0], answer_deadline(replies), NULL), 0);
}

static void peer_close(struct peer *peer)
{
	agent_close(&peer->agent);
	kill(peer->child, SIGKILL);
	close(peer->log);
}

static char sent_text[65536];

/* All that the agent was sent. */
static const char *sent(struct peer *peer)
{
	ssize_t length;

	poll(NULL, 0, 50);
	length = recv(peer->log, sent_text, sizeof(sent_text) - 1, MSG_DONTWAIT);
	sent_text[length > 0 ? length : 0] = '\0';
	return sent_text;
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define PEER(...)                                                                                  \
	cleanup(peer_close) struct peer peer;                                                      \
	struct error error = {0};                                                                  \
	peer_open(&peer, SCRIPT(__VA_ARGS__))

static int execute(struct peer *peer, struct json_object **ret, struct error *error)
{
	return agent_execute(&peer->agent, "guest-info", NULL, ret, error);
}

/* ---- synchronising */

Test(agent, sync_comes_before_the_first_command)
{
	struct json_object *value = NULL;
	PEER(SYNC, "{\"return\": {\"version\": \"7.2\"}}\n");

	cr_assert_eq(execute(&peer, &value, &error), 0, "%s", error.message);
	cr_assert_str_eq(json_object_get_string(json_object_object_get(value, "version")), "7.2");
	json_object_put(value);
	cr_assert_eq(strstr(sent(&peer), "\xff{\"execute\":\"guest-sync-delimited\""), sent_text);
}

Test(agent, sync_passes_over_what_others_left_unread)
{
	PEER("{\"return\": {}}\nnonsense\n{\"error\": {\"class\": \"GenericError\"}}\n"
	     "\xff{\"return\": 1}\n{\"retu\xffSYNC\n");

	cr_assert_eq(agent_sync(&peer.agent, &error), 0, "%s", error.message);
}

Test(agent, sync_bears_a_huge_leftover)
{
	PEER(HUGE_REPLY SYNC);

	cr_assert_eq(agent_sync(&peer.agent, &error), 0, "%s", error.message);
}

Test(agent, sync_does_not_take_another_number)
{
	PEER("\xff{\"return\": -1}\n", SILENT);

	cr_assert_eq(agent_sync(&peer.agent, &error), -ETIMEDOUT);
}

static bool say_busy(const void *context)
{
	return *(const bool *)context;
}

Test(agent, silence_is_busy_where_somebody_else_has_the_socket)
{
	static const bool yes = true, no = false;
	PEER(SILENT);

	peer.agent.is_busy = say_busy;
	peer.agent.context = &yes;
	cr_assert_eq(agent_sync(&peer.agent, &error), -EBUSY);
	peer.agent.context = &no;
	cr_assert_eq(agent_sync(&peer.agent, &error), -ETIMEDOUT);
}

Test(agent, nothing_is_sent_to_an_agent_that_does_not_synchronise)
{
	struct json_object *value = NULL;
	PEER(SILENT, SILENT);

	cr_assert_eq(execute(&peer, &value, &error), -ETIMEDOUT);
	cr_assert_null(strstr(sent(&peer), "guest-info"));
}

/* ---- answers */

Test(agent, unknown_commands_and_failures_are_told_apart)
{
	struct json_object *value = NULL;
	PEER(SYNC,
		"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Command guest-info has "
		"been disabled\"}}\n",
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no luck\"}}\n");

	cr_assert_eq(execute(&peer, &value, &error), -ENOSYS);
	cr_assert_str_eq(error.message,
		"guest-info: the guest agent says: Command guest-info has been disabled");
	cr_assert_eq(execute(&peer, &value, &error), -EREMOTEIO);
	cr_assert_str_eq(error.message, "guest-info: the guest agent says: no luck");
	cr_assert_null(value);
}

/* They are bytes until they leave. */
Test(agent, words_of_the_guest_are_harmless_where_they_are_shown)
{
	struct json_object *value = NULL;
	PEER(SYNC,
		"{\"error\": {\"class\": \"GenericError\", \"desc\": "
		"\"\\u001b]0;x\\u0007\\u009b2J\\n\"}}\n");

	cr_assert_eq(execute(&peer, &value, &error), -EREMOTEIO);
	text_make_line(error.message);
	cr_assert_str_eq(error.message, "guest-info: the guest agent says: ?]0;x???2J?");
}

Test(agent, text_that_is_not_ascii_is_taken)
{
	struct json_object *value = NULL;
	PEER(SYNC, "{\"return\": {\"name\": \"\xed\x95\x9c m\xc3\xbcller\"}} \r\n");

	cr_assert_eq(execute(&peer, &value, &error), 0, "%s", error.message);
	cr_assert_str_eq(json_object_get_string(json_object_object_get(value, "name")),
		"\xed\x95\x9c m\xc3\xbcller");
	json_object_put(value);
}

Test(agent, garbage_is_an_error_and_the_next_command_synchronises)
{
	static const char *const garbage[] = {"nonsense\n", "\n", "[]\n", "{}\n", "{\"return\":}\n",
		"{\"return\": {}} {}\n", "{\"return\": null}\n", "{\"error\": 1}\n",
		"{\"return\": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}\n", "\xff\xfe\n"};

	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		struct json_object *value = NULL;
		PEER(SYNC, garbage[i], SYNC, "{\"return\": {}}\n");

		cr_expect_eq(execute(&peer, &value, &error), -EBADMSG, "%s", garbage[i]);
		cr_expect_eq(
			execute(&peer, &value, &error), 0, "%s: %s", garbage[i], error.message);
		json_object_put(value);
	}
}

Test(agent, a_late_answer_is_not_taken_for_the_next_one)
{
	static const char late[] = "{\"return\": \"late\"}\n" SYNC;
	struct json_object *value = NULL;
	PEER(SYNC, SILENT, late, "{\"return\": \"right\"}\n");

	cr_assert_eq(execute(&peer, &value, &error), -ETIMEDOUT);
	cr_assert_eq(execute(&peer, &value, &error), 0, "%s", error.message);
	cr_assert_str_eq(json_object_get_string(value), "right");
	json_object_put(value);
}

Test(agent, an_answer_cut_off_is_no_answer)
{
	struct json_object *value = NULL;
	PEER(SYNC, "{\"return\": {}}");

	cr_assert_eq(execute(&peer, &value, &error), -EPIPE);
	cr_assert_null(value);
}

Test(agent, an_answer_without_end_is_given_up)
{
	struct json_object *value = NULL;
	PEER(SYNC, HUGE_REPLY, SYNC, "{\"return\": {}}\n");

	cr_assert_eq(execute(&peer, &value, &error), -EFBIG);
	cr_assert_null(value);
	cr_assert_eq(execute(&peer, &value, &error), 0, "%s", error.message);
	json_object_put(value);
}

Test(agent, a_request_to_stop_is_heard)
{
	PEER(SILENT);

	stop_requested = 1;
	cr_assert_eq(agent_sync(&peer.agent, &error), -EINTR);
}

/* ---- programs */

static int run(
	struct peer *peer, unsigned int deadline_ms, struct agent_result *ret, struct error *error)
{
	static const char *const arguments[] = {"nvidia-smi", "-L", NULL};
	const struct agent_program program = {.arguments = arguments, .deadline_ms = deadline_ms};

	return agent_run(&peer->agent, &program, ret, error);
}

Test(agent, run_gives_back_exit_code_and_both_outputs)
{
	static const char ended[] = "{\"return\": {\"exited\": true, \"exitcode\": 9, "
				    "\"out-data\": \"YQBi\", \"err-data\": \"Yg==\"}}\n";
	cleanup(agent_result_done) struct agent_result result = {0};
	const char *text;
	PEER(SYNC, "{\"return\": {\"pid\": 7}}\n", "{\"return\": {\"exited\": false}}\n", ended);

	cr_assert_eq(run(&peer, 5000, &result, &error), 0, "%s", error.message);
	cr_expect_eq(result.exit_code, 9);
	cr_expect_eq(result.signal, 0);
	cr_expect_eq(result.output_length, 3);
	cr_expect_eq(memcmp(result.output, "a\0b", 4), 0);
	cr_expect_eq(result.errors_length, 1);
	cr_expect_str_eq(result.errors, "b");
	text = sent(&peer);
	cr_expect(strstr(text, "\"path\":\"nvidia-smi\",\"arg\":[\"-L\"],\"capture-output\":true"),
		"%s", text);
	cr_expect(strstr(text, "\"pid\":7"), "%s", text);
}

Test(agent, run_tells_a_signal_from_an_exit)
{
	cleanup(agent_result_done) struct agent_result result = {0};
	PEER(SYNC, "{\"return\": {\"pid\": 7}}\n",
		"{\"return\": {\"exited\": true, \"signal\": 11}}\n");

	cr_assert_eq(run(&peer, 5000, &result, &error), 0, "%s", error.message);
	cr_expect_eq(result.exit_code, -1);
	cr_expect_eq(result.signal, 11);
	cr_expect_str_eq(result.output, "");
}

Test(agent, run_says_that_a_program_past_its_deadline_still_runs)
{
	struct agent_result result = {0};
	PEER(SYNC, "{\"return\": {\"pid\": 4711}}\n", "{\"return\": {\"exited\": false}}\n");

	cr_assert_eq(run(&peer, 0, &result, &error), -ETIMEDOUT);
	cr_assert_str_eq(error.message,
		"nvidia-smi has not ended within 0 s; it still runs in the "
		"guest, as process 4711");
}

/* A guest that compiles a driver is slow. */
Test(agent, run_bears_a_look_that_is_not_answered)
{
	cleanup(agent_result_done) struct agent_result result = {0};
	PEER(SYNC, "{\"return\": {\"pid\": 7}}\n", SILENT, SYNC,
		"{\"return\": {\"exited\": true, \"exitcode\": 3}}\n");

	cr_assert_eq(run(&peer, 5000, &result, &error), 0, "%s", error.message);
	cr_expect_eq(result.exit_code, 3);
}

Test(agent, run_says_that_an_unanswered_program_may_run)
{
	struct agent_result result = {0};
	PEER(SYNC, SILENT);

	cr_assert_eq(run(&peer, 5000, &result, &error), -ETIMEDOUT);
	cr_assert(strstr(error.message, "nvidia-smi may still be running in the guest"), "%s",
		error.message);
}

Test(agent, run_refuses_answers_that_make_no_sense)
{
	static const char *const bad[] = {"{\"return\": {}}\n", "{\"return\": {\"exited\": 1}}\n",
		"{\"return\": {\"exited\": true, \"out-data\": \"a\"}}\n",
		"{\"return\": {\"exited\": true, \"out-data\": \"!!!!\"}}\n",
		"{\"return\": {\"exited\": true, \"out-data\": \"Yg==Yg==\"}}\n",
		"{\"return\": {\"exited\": true, \"err-data\": \"====\"}}\n"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct agent_result result = {0};
		PEER(SYNC, "{\"return\": {\"pid\": 7}}\n", bad[i]);

		cr_expect_eq(run(&peer, 5000, &result, &error), -EBADMSG, "%s", bad[i]);
	}
}
