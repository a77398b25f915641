/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads files below /etc/pve with a time limit, because pmxcfs may not answer. */

#include "cluster.h"

#include "kmod-helper/base/cleanup.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STACK_BYTES (256 * 1024)

/*
 * One reading by a thread. A thread that waits for pmxcfs cannot be stopped, but it ends with the
 * process. Past the deadline it is left alone with this memory, which is then never freed: nothing
 * that the caller owns is in it.
 */
struct reading {
	struct cluster_request request;
	int status;
	char *text;
	size_t length;
	struct error error;
	_Alignas(max_align_t) char context[]; /* a copy of the request's */
};

static void *read_in_thread(void *data)
{
	cleanup(root_close) struct root root = ROOT_NONE;
	struct reading *reading = data;

	reading->status = root_open("/", &root, &reading->error);
	if (reading->status == 0)
		reading->status = reading->request.read(&root, reading->request.context,
			&reading->text, &reading->length, &reading->error);
	return NULL;
}

/* Signals are for the thread that waits: it may have been told to stop. */
static int start_thread(struct reading *reading, pthread_t *ret)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int r = pthread_attr_init(&attributes);

	if (r != 0)
		return -r;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (r == 0)
		r = pthread_create(ret, &attributes, read_in_thread, reading);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -r;
}

static int await_thread(pthread_t thread, unsigned int deadline_ms)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += deadline_ms / 1000;
	end.tv_nsec += (long)(deadline_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	return -pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &end);
}

static struct reading *reading_new(const struct cluster_request *request)
{
	struct reading *reading = calloc(1, sizeof(*reading) + request->context_size);

	if (!reading)
		return NULL;
	reading->request = *request;
	if (request->context_size)
		memcpy(reading->context, request->context, request->context_size);
	reading->request.context = reading->context;
	return reading;
}

static int read_with_deadline(const struct cluster_request *request, char **ret_text,
	size_t *ret_length, struct error *error)
{
	unsigned int deadline = request->deadline_ms ? request->deadline_ms : CLUSTER_DEADLINE_MS;
	auto_free struct reading *reading = reading_new(request);
	pthread_t thread = 0;
	int r = reading ? start_thread(reading, &thread) : -ENOMEM;

	if (r < 0)
		return error_set_errno(error, r, "start the thread that reads /etc/pve");
	if (await_thread(thread, deadline) == -ETIMEDOUT) {
		pthread_detach(thread);
		(void)TAKE_PTR(reading);
		return error_set(error, -ETIMEDOUT,
			"/etc/pve does not answer within %u s (is pve-cluster running? "
			"`systemctl status pve-cluster`)",
			(deadline + 999) / 1000);
	}
	if (reading->status < 0)
		return error_set(error, reading->status, "%s", reading->error.message);
	*ret_text = reading->text;
	*ret_length = reading->length;
	return 0;
}

int cluster_read(const struct root *root, const struct cluster_request *request, char **ret_text,
	size_t *ret_length, struct error *error)
{
	if (root->live)
		return read_with_deadline(request, ret_text, ret_length, error);
	return request->read(root, request->context, ret_text, ret_length, error);
}
