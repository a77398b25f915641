/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/cluster.h"
#include "kmod-helper/base/cleanup.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int answers(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	(void)error;
	cr_assert_geq(root->fd, 0);
	*ret_text = strdup(context);
	*ret_length = strlen(context);
	return 0;
}

static int fails(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	(void)root;
	(void)context;
	(void)ret_text;
	(void)ret_length;
	return error_set(error, -EISNAM, "104 is a container");
}

static int sleeps(const struct root *root, void *context, char **ret_text, size_t *ret_length,
	struct error *error)
{
	(void)root;
	(void)context;
	(void)ret_text;
	(void)ret_length;
	(void)error;
	sleep(3600);
	return -EIO;
}

static int read_live(struct cluster_request *request, char **ret_text, struct error *error)
{
	cleanup(root_close) struct root root = ROOT_NONE;
	size_t length;

	cr_assert_eq(root_open("/", &root, NULL), 0);
	return cluster_read(&root, request, ret_text, &length, error);
}

Test(conf_cluster, text_comes_back_from_the_thread)
{
	char text[] = "hostpci0: 01:00\n";
	struct cluster_request request = {
		.read = answers, .context = text, .context_size = sizeof(text)};
	auto_free char *found = NULL;
	struct error error = {0};

	cr_assert_eq(read_live(&request, &found, &error), 0, "%s", error.message);
	cr_expect_str_eq(found, text);
}

Test(conf_cluster, error_comes_back_with_its_message)
{
	struct cluster_request request = {.read = fails};
	auto_free char *found = NULL;
	struct error error = {0};

	cr_expect_eq(read_live(&request, &found, &error), -EISNAM);
	cr_expect_str_eq(error.message, "104 is a container");
	cr_expect_null(found);
}

Test(conf_cluster, file_system_that_does_not_answer_is_given_up, .timeout = 5)
{
	struct cluster_request request = {.read = sleeps, .deadline_ms = 100};
	auto_free char *found = NULL;
	struct error error = {0};

	cr_expect_eq(read_live(&request, &found, &error), -ETIMEDOUT);
	cr_expect(strstr(error.message, "pve-cluster"), "%s", error.message);
}
