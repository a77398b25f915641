/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry report`: one archive for a fault report, without what is private. */

#include "commands.h"

#include "hooks/base/output.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/process.h"
#include "report_files.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <time.h>

#define PROGRAM_DEADLINE_MS 30000
#define TEXT_MAX (256u << 10)
#define ARCHIVE "report.tar.gz" /* in the folder that only we can enter */

/* ---- what programs say */

/* Adds what a program prints; where the program is missing or fails, what it said about that. */
static int add_output(
	struct report *report, const char *name, const char *const *arguments, struct error *error)
{
	auto_free char *text = calloc(1, TEXT_MAX);
	const struct process_options options = {.output = PROCESS_TEXT,
		.deadline_ms = PROGRAM_DEADLINE_MS,
		.text = text,
		.size = TEXT_MAX};
	struct error why;
	int r = text ? process_run(arguments, &options, &why) : -ENOMEM;

	if (!text)
		return error_set_errno(error, r, "run %s", arguments[0]);
	return report_add_text(report, name, r < 0 ? why.message : text, error);
}

/* Only of the host that runs: another tree has neither. */
static int add_outputs(struct report *report, struct error *error)
{
	static const char *const journal[] = {"/usr/bin/journalctl", "--identifier=gpu-ferry",
		"--lines=500", "--output=short-iso", "--no-hostname", "--no-pager", "--quiet",
		NULL};
	static const char *const versions[] = {"/usr/bin/pveversion", "--verbose", NULL};
	int r = report_add_text(report, "version", "gpu-ferry " VERSION "\n", error);

	if (r < 0 || !report->context->kernel.root.live)
		return r;
	r = add_output(report, "pveversion", versions, error);
	return r < 0 ? r : add_output(report, "journal", journal, error);
}

/* ---- what is in it */

static const struct part {
	const char *start; /* of the files' paths; "": of the others */
	const char *text;
} parts[] = {
	{"sys/", "sysfs: PCI functions and their drivers, groups and users; modules, firmware"},
	{"proc/", "the kernel's command line, processor, default routes, mounted devices; QEMUs"},
	{"etc/pve/", "Proxmox VE's configs: only the settings that gpu-ferry reads"},
	{"run/gpu-ferry/", "what is lent, and the loans' locks"},
	{"", "boot loader, modprobe.d, the kernels' modules, gpu-ferry's settings, version, journal"},
};

#define PART_COUNT (sizeof(parts) / sizeof(parts[0]))

static void tell_contents(const struct report *report)
{
	size_t counts[PART_COUNT] = {0};

	for (size_t i = 0; i < report->files.count; i++) {
		size_t part = 0;

		while (strncmp(report->files.names[i], parts[part].start,
			       strlen(parts[part].start)) != 0)
			part++;
		counts[part]++;
	}
	puts("The report has:");
	for (size_t i = 0; i < PART_COUNT; i++)
		output_print("%6zu files: %s\n", counts[i], parts[i].text);
	puts("Left out: host names and names of VMs and containers, descriptions, serial numbers,\n"
	     "addresses of networks, UUIDs, keys and passwords, and all that gpu-ferry does not read.");
	if (report->no_cluster)
		puts("/etc/pve does not answer: nothing of it is in the report.");
	for (size_t i = 0; i < report->unread.count; i++)
		output_print("cannot be read: /%s\n", report->unread.names[i]);
}

static void tell_files(const struct context *context, const struct report *report)
{
	for (size_t i = 0; context->log_level >= LOG_DEBUG && i < report->files.count; i++)
		output_print("  /%s\n", report->files.names[i]);
}

/* ---- the archive */

static int pack(const struct report *report, struct error *error)
{
	char path[PATH_MAX], errors[1024];
	const char *const arguments[] = {"/usr/bin/tar", "--create", "--gzip", "--file", path,
		"--directory", report->stage, "--owner=0", "--group=0", "--numeric-owner",
		REPORT_FOLDER, NULL};
	const struct process_options options = {.output = PROCESS_TEXT,
		.deadline_ms = PROGRAM_DEADLINE_MS,
		.text = errors,
		.size = sizeof(errors)};
	int r;

	snprintf(path, sizeof(path), "%s/" ARCHIVE, report->stage);
	r = process_run(arguments, &options, error);
	return r > 0 ? error_set(error, -EIO, "tar failed: %s", errors) : r;
}

/* Copies the archive to the new file, which is removed again when that fails. */
static int write_archive(const struct report *report, const char *file, struct error *error)
{
	char path[PATH_MAX];
	auto_close int from = -1, to = -1;
	ssize_t sent;

	snprintf(path, sizeof(path), "%s/" ARCHIVE, report->stage);
	from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return error_set_errno(error, -errno, "read %s", path);
	to = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 && errno == EEXIST)
		return error_set(error, -EEXIST,
			"%s is there already, and report overwrites nothing: give it another name",
			file);
	if (to < 0)
		return error_set_errno(error, -errno, "make %s", file);
	do
		sent = sendfile(to, from, NULL, INT_MAX);
	while (sent > 0);
	if (sent == 0 && fsync(to) == 0)
		return 0;
	error_set_errno(error, -errno, "write %s", file);
	unlink(file);
	return error->status;
}

static int print_json(const struct context *context, const struct report *report, const char *file,
	struct error *error)
{
	struct json_object *object = json_object_new_object();

	json_add_text(object, "file", file);
	json_add_strings(object, "files", &report->files);
	json_add_strings(object, "unread", &report->unread);
	return output_json(context, object, error);
}

static void name_file(char *ret, size_t size)
{
	time_t now = time(NULL);
	struct tm parts_of_now;

	strftime(
		ret, size, REPORT_FOLDER "-%Y%m%d-%H%M%S.tar.gz", localtime_r(&now, &parts_of_now));
}

static int run_report(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	cleanup(report_done) struct report report = {.tree = ROOT_NONE};
	const char *file = arguments[0];
	bool is_text = context->output == OUTPUT_TEXT;
	char name[64];
	int r;

	(void)data;
	if (file && arguments[1])
		return error_set(error, USAGE, "report takes one FILE");
	name_file(name, sizeof(name));
	file = file ? file : name;
	context_catch_signals();
	r = report_collect(context, &report, error);
	if (r == 0)
		r = add_outputs(&report, error);
	if (r < 0)
		return r;
	if (is_text) {
		tell_contents(&report);
		tell_files(context, &report);
		fflush(stdout);
	}
	r = pack(&report, error);
	if (r == 0)
		r = write_archive(&report, file, error);
	if (r < 0)
		return r;
	if (!is_text)
		return print_json(context, &report, file, error);
	output_print("Written: %s\n", file);
	puts("Look into it before you send it. Unpacked, it is a host to look at: gpu-ferry doctor\n"
	     "--root " REPORT_FOLDER);
	return 0;
}

const struct command command_report = {
	.name = "report",
	.arguments = "[FILE]",
	.example = "gpu-ferry report",
	.run = run_report,
};
