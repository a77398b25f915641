/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A kernel whose every answer is a piece of a fuzzer's input. */

#include "answers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void answers_init(struct answers *answers, const uint8_t *bytes, size_t length)
{
	char *text = calloc(1, length + 1);

	if (!text)
		abort();
	memcpy(text, bytes, length);
	*answers = (struct answers){.text = text, .rest = text, .end = text + length};
}

void answers_done(struct answers *answers)
{
	free(answers->text);
}

const char *answers_next(struct answers *answers)
{
	const char *piece = answers->rest;

	if (piece >= answers->end)
		return NULL;
	answers->rest += strlen(piece) + 1;
	return *piece ? piece : NULL;
}

/* As file_read_attribute(). */
static ssize_t answer_read(void *context, const char *path, char *buffer, size_t size)
{
	const char *text = answers_next(context);
	size_t length;

	(void)path;
	if (!text)
		return -ENOENT;
	length = strlen(text);
	length -= length && text[length - 1] == '\n';
	snprintf(buffer, size, "%.*s", (int)length, text);
	return length < size ? (ssize_t)length : -EFBIG;
}

static int answer_target(void *context, const char *path, char *buffer, size_t size)
{
	const char *text = answers_next(context);

	(void)path;
	if (!text)
		return -ENOENT;
	if (strlen(text) >= size)
		return -ENAMETOOLONG;
	strcpy(buffer, text);
	return 0;
}

static int answer_link(void *context, const char *path, char *buffer, size_t size)
{
	const char *text = answers_next(context);
	const char *slash = text ? strrchr(text, '/') : NULL;

	(void)path;
	if (!text)
		return -ENOENT;
	text = slash ? slash + 1 : text;
	if (strlen(text) >= size)
		return -ENAMETOOLONG;
	strcpy(buffer, text);
	return 0;
}

/* As a folder has them: no longer than NAME_MAX, and none that is empty. */
static int answer_list(void *context, const char *path, struct names *ret)
{
	const char *text = answers_next(context);
	struct names names = {0};

	(void)path;
	if (!text)
		return -ENOENT;
	while (*text) {
		char name[256];
		size_t length = strcspn(text, "/");

		snprintf(name, sizeof(name), "%.*s", (int)length, text);
		if (*name && names_add(&names, name) < 0)
			abort();
		text += length + (text[length] == '/');
	}
	*ret = names;
	return 0;
}

static int answer_number(void *context, const char *path, dev_t *ret)
{
	const char *text = answers_next(context);

	(void)path;
	if (!text)
		return -ENOENT;
	*ret = strtoull(text, NULL, 16);
	return 0;
}

static int answer_status(void *context)
{
	return answers_next(context) ? 0 : -ENOENT;
}

static int answer_write(void *context, const char *path, const char *value)
{
	(void)path, (void)value;
	return answer_status(context);
}

static int answer_reload(
	void *context, const char *name, const char *parameters, struct error *error)
{
	(void)name, (void)parameters, (void)error;
	return answer_status(context);
}

static int answer_module(void *context, const char *name, struct error *error)
{
	return answer_status(context) < 0 ? error_set_errno(error, -ENOENT, "%s", name) : 0;
}

static int answer_lookup(void *context, const char *alias, struct names *ret, struct error *error)
{
	(void)error;
	return answer_list(context, alias, ret);
}

static int answer_options(void *context, const char *name, char *buffer, size_t size)
{
	ssize_t length = answer_read(context, name, buffer, size);

	return length < 0 ? (int)length : 0;
}

static int answer_run(void *context, const char *const *arguments, struct error *error)
{
	return answer_module(context, arguments[0], error);
}

static int answer_claimed(void *context, const char *path, dev_t device)
{
	(void)path, (void)device;
	return answers_next(context) ? 1 : 0;
}

/* Each byte of the piece is a process that uses one of the devices; two alike are one process. */
static int answer_in_use(void *context, const dev_t *wanted, size_t count, device_visitor visitor,
	void *data, struct open_devices_extent *ret)
{
	const char *text = answers_next(context);
	int r = 0;

	*ret = (struct open_devices_extent){.is_partial = !text, .pid = 7};
	for (; r == 0 && text && *text; text++)
		r = visitor(data, (pid_t)(unsigned char)*text / 8 + 1,
			wanted[(unsigned char)*text % count]);
	return r;
}

static void answer_wait(void *context, const char *path, unsigned int milliseconds)
{
	(void)context, (void)path, (void)milliseconds;
}

struct kernel answers_kernel(struct answers *answers)
{
	static const struct kernel_ops ops = {
		.read = answer_read,
		.write = answer_write,
		.link = answer_link,
		.target = answer_target,
		.list = answer_list,
		.folders = answer_list,
		.device_number = answer_number,
		.module_load = answer_module,
		.module_check = answer_module,
		.module_reload = answer_reload,
		.module_lookup = answer_lookup,
		.module_unload = answer_module,
		.module_options = answer_options,
		.run = answer_run,
		.block_is_claimed = answer_claimed,
		.devices_in_use = answer_in_use,
		.wait_close = answer_wait,
	};

	return (struct kernel){.ops = &ops, .context = answers, .root = ROOT_NONE};
}
