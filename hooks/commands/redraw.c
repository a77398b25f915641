/* SPDX-License-Identifier: GPL-2.0-or-later */

/* --watch: prints something again when loans, drivers or holders change. */

#include "redraw.h"

#include "hooks/base/output.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/loan.h"
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>

/* Nothing tells that a process has opened a device: look after pauses, longer and longer ones while
 * nothing happens, because each look goes through all of /proc. */
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 8000

#define BURST_MS 100 /* events rarely come alone */

#define KERNEL_EVENTS 1 /* the group of the kernel's own uevents */

/* Drivers that are bound and unbound, devices that come and go. -1: it cannot be had. */
static int open_events(const struct context *context)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_EVENTS};
	auto_close int fd = -1;

	if (context->kernel.root.live)
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return TAKE_FD(fd);
}

/* Warnings belong to what is drawn: elsewhere the next picture would wipe them away. */
static void write_warning(void *data, const struct log_entry *entry)
{
	const struct context *context = data;

	if (entry->priority <= context->log_level)
		output_print("gpu-ferry: %s\n", entry->text);
}

/* What is drawn now, as text; NULL without memory. */
static char *draw_text(struct context *context,
	int (*draw)(struct context *context, const void *data, struct error *error),
	const void *data)
{
	struct error failure = {0};
	char *text = NULL;
	size_t size;
	FILE *real = stdout, *memory = open_memstream(&text, &size);

	if (!memory)
		return NULL;
	stdout = memory;
	if (draw(context, data, &failure) < 0)
		output_print("gpu-ferry: %s\n", failure.message);
	stdout = real;
	fclose(memory);
	return text;
}

/* The pause after the next look. */
static int wait_for_change(struct pollfd polled[static 2], int pause_ms)
{
	if (poll(polled, 2, pause_ms) == 0)
		return pause_ms < PAUSE_MAX_MS ? pause_ms * 2 : pause_ms;
	poll(NULL, 0, BURST_MS);
	return pause_ms;
}

int redraw(struct context *context,
	int (*draw)(struct context *context, const void *data, struct error *error),
	const void *data, struct error *error)
{
	auto_close int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	auto_close int events = open_events(context);
	auto_free char *shown = NULL;
	int pause_ms = PAUSE_MIN_MS, r = 0;

	context_catch_signals();
	context->log.write = write_warning;
	while (r == 0 && !stop_requested) {
		struct pollfd polled[] = {
			{.fd = notify, .events = POLLIN}, {.fd = events, .events = POLLIN}};
		char *text;

		/* the folder comes with the first loan; where it cannot be watched, we look */
		loans_notify(&context->kernel.root, notify);
		text = draw_text(context, draw, data);
		if (!text)
			return error_set_errno(error, -ENOMEM, "draw again");
		if (!shown || strcmp(text, shown) != 0) {
			fputs(isatty(STDOUT_FILENO) ? "\033[2J\033[H" : shown ? "\n" : "", stdout);
			fputs(text, stdout);
			r = output_flush(error);
			pause_ms = PAUSE_MIN_MS;
		}
		free(shown);
		shown = text;
		if (r == 0 && !stop_requested)
			pause_ms = wait_for_change(polled, pause_ms);
		file_drain(notify);
		file_drain(events);
	}
	return r;
}
