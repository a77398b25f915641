/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Installs NVIDIA's driver in a guest through its agent. */

#include "driver.h"

#include "conf/pve/vm_process.h"
#include "hooks/base/output.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS 60000u
/* A driver is some 500 MB to download and a module to compile. */
#define STEP_MS (90 * MINUTE_MS)
#define REBOOT_MS (10 * MINUTE_MS)
/* The time that the driver's module may need to load after a start. */
#define DRIVER_MS MINUTE_MS
#define PROGRESS_PAUSE_MS 2000u
#define RETRY_MS 2000u
#define REST_LOOKS_MAX 64

enum step_kind {
	STEP_SCRIPT,
	STEP_REBOOT,
	STEP_NVIDIA_SMI,
};

struct driver_step {
	enum step_kind kind;
	const char *name;
	const char *argument; /* of install-driver.sh */
};

/* The text of install-driver.sh, put here by the assembler. */
extern const char install_driver_script[] __attribute__((visibility("hidden")));
__asm__(".pushsection .rodata\n"
	".globl install_driver_script\n"
	".hidden install_driver_script\n"
	"install_driver_script:\n"
	".incbin \"hooks/guest/install-driver.sh\"\n"
	".byte 0\n"
	".popsection\n");

static const struct driver_step debian_steps[] = {
	{STEP_SCRIPT, "check whether Secure Boot would refuse the driver", "secure-boot"},
	{STEP_SCRIPT, "fetch the package lists (apt-get update)", "update"},
	{STEP_SCRIPT,
		"add Debian's contrib and non-free components, unless nvidia-driver is there "
		"(/etc/apt/sources.list.d/gpu-ferry.list)",
		"components"},
	{STEP_SCRIPT, "install the kernel's headers (apt-get install linux-headers)", "headers"},
	{STEP_SCRIPT, "install the driver (apt-get install nvidia-driver nvidia-smi)", "driver"},
	{STEP_REBOOT, "restart the guest", NULL},
	{STEP_NVIDIA_SMI, "ask nvidia-smi", NULL},
	{0},
};

static const struct driver_step ubuntu_steps[] = {
	{STEP_SCRIPT, "fetch the package lists (apt-get update)", "update"},
	{STEP_SCRIPT, "install ubuntu-drivers (apt-get install ubuntu-drivers-common)",
		"ubuntu-drivers"},
	{STEP_SCRIPT,
		"find the recommended driver (ubuntu-drivers devices), with "
		"ppa:graphics-drivers/ppa where Ubuntu itself has none",
		"find-recommended"},
	{STEP_SCRIPT, "install it (ubuntu-drivers install)", "recommended"},
	{STEP_REBOOT, "restart the guest", NULL},
	{STEP_NVIDIA_SMI, "ask nvidia-smi", NULL},
	{0},
};

struct installation {
	struct context *context;
	unsigned int vmid;
	struct agent *agent;
	const struct guest_system *system;
	unsigned long long shown; /* bytes of the guest's log that were shown */
	unsigned long long next_check;
	char line[512]; /* of the log, still incomplete */
	size_t line_length;
	char last[256]; /* the last line that was not blank */
};

static const struct driver_step *find_steps(const struct guest_system *system)
{
	if (strcmp(system->id, "debian") == 0)
		return debian_steps;
	return strcmp(system->id, "ubuntu") == 0 ? ubuntu_steps : NULL;
}

static unsigned int count_steps(const struct driver_step *steps)
{
	unsigned int count = 0;

	while (steps[count].name)
		count++;
	return count;
}

int guest_driver_check(const struct guest_system *system, struct error *error)
{
	if (find_steps(system))
		return 0;
	if (guest_system_is_windows(system))
		return error_set(error, -EOPNOTSUPP,
			"the guest runs Windows: install the driver there by hand");
	return error_set(error, -EOPNOTSUPP,
		"--install-driver only supports Debian and Ubuntu, and the guest is %s: install "
		"NVIDIA's driver there as its distribution says",
		*system->name ? system->name : "an unknown system");
}

void guest_driver_print(const struct guest_system *system)
{
	const struct driver_step *steps = find_steps(system);

	for (unsigned int i = 0; steps && steps[i].name; i++)
		output_print("  %u. %s\n", i + 1, steps[i].name);
}

/* ---- what a step prints */

static void show_line(struct installation *work)
{
	const struct context *context = work->context;

	work->line[work->line_length] = '\0';
	work->line_length = 0;
	if (!*text_trim(work->line))
		return;
	guest_text_copy(work->line, work->last, sizeof(work->last));
	if (context->output == OUTPUT_TEXT && context->log_level >= LOG_INFO)
		output_print("  | %s\n", work->line);
}

static void show_output(struct installation *work, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\n' || text[i] == '\r' ||
			work->line_length == sizeof(work->line) - 1)
			show_line(work);
		if (text[i] != '\n' && text[i] != '\r')
			work->line[work->line_length++] = text[i] ? text[i] : '?';
	}
	fflush(stdout);
}

/* Reads what the log got since the last look, at most 64 KiB at a time. */
static int read_log(struct installation *work, size_t *ret_length, struct error *error)
{
	static const char script[] = "tail -c \"+$1\" " GUEST_DRIVER_LOG " | head -c 65536";
	char from[24];
	const char *const arguments[] = {"/bin/sh", "-c", script, "sh", from, NULL};
	const struct agent_program program = {.arguments = arguments, .deadline_ms = MINUTE_MS};
	cleanup(agent_result_done) struct agent_result result = {0};
	int r;

	snprintf(from, sizeof(from), "%llu", work->shown + 1);
	r = agent_run(work->agent, &program, &result, error);
	if (r < 0)
		return r;
	work->shown += result.output_length;
	show_output(work, result.output, result.output_length);
	*ret_length = result.output_length;
	return 0;
}

static int show_progress(void *context, struct error *error)
{
	struct installation *work = context;
	unsigned long long now = clock_milliseconds();
	size_t length;
	int r;

	if (now < work->next_check)
		return 0;
	r = read_log(work, &length, error);
	work->next_check = clock_milliseconds() + PROGRESS_PAUSE_MS;
	/* no answer in time: show it later */
	return r == -ETIMEDOUT ? 0 : r;
}

static int show_rest(struct installation *work, struct error *error)
{
	size_t length = 1;
	int r = 0;

	/* a limit, because a guest may always claim that there is more */
	for (int i = 0; r == 0 && length && i < REST_LOOKS_MAX; i++)
		r = read_log(work, &length, error);
	if (work->line_length)
		show_line(work);
	return r;
}

/* ---- the steps */

static int run_script(
	struct installation *work, const struct driver_step *step, struct error *error)
{
	const char *const arguments[] = {
		"/bin/sh", "-c", install_driver_script, "install-driver.sh", step->argument, NULL};
	const struct agent_program program = {
		.arguments = arguments,
		.deadline_ms = STEP_MS,
		.watch = show_progress,
		.context = work,
		.discard_output = true,
	};
	cleanup(agent_result_done) struct agent_result result = {0};
	int r = agent_run(work->agent, &program, &result, error);

	if (r == -EINTR)
		return error_set(error, r,
			"interrupted: the installation continues in the guest, see " GUEST_DRIVER_LOG);
	if (r == 0)
		r = show_rest(work, error);
	if (r < 0 || result.exit_code == 0)
		return r;
	return error_set(error, -EREMOTEIO,
		"it ended with %d in the guest: %s (all of it is in " GUEST_DRIVER_LOG " there)",
		result.exit_code, work->last);
}

/* The boot id is different after every start (random(4)). */
static int read_boot_id(struct agent *agent, char *ret, size_t size, struct error *error)
{
	static const char *const arguments[] = {"cat", "/proc/sys/kernel/random/boot_id", NULL};
	const struct agent_program program = {.arguments = arguments, .deadline_ms = MINUTE_MS};
	cleanup(agent_result_done) struct agent_result result = {0};
	int r = agent_run(agent, &program, &result, error);

	if (r < 0)
		return r;
	guest_text_copy(result.output, ret, size);
	return *ret ? 0 : error_set(error, -EBADMSG, "the guest has no boot_id");
}

/* An agent that obeys does not answer, so no answer is a success. */
static int ask_for_reboot(struct agent *agent, struct error *error)
{
	struct json_object *arguments = json_object_new_object(), *value = NULL;
	int r;

	json_object_object_add(arguments, "mode", json_object_new_string("reboot"));
	r = agent_execute(agent, "guest-shutdown", arguments, &value, error);
	json_object_put(value);
	return r == -ETIMEDOUT || r == -EPIPE ? 0 : r;
}

static bool has_rebooted(struct installation *work, const char *before, struct error *error)
{
	char now[64];

	agent_close(work->agent);
	return agent_open(&work->context->kernel.root, work->vmid, work->agent, error) == 0 &&
		read_boot_id(work->agent, now, sizeof(now), error) == 0 && strcmp(now, before) != 0;
}

static int reboot(struct installation *work, struct error *error)
{
	struct context *context = work->context;
	unsigned long long deadline = clock_milliseconds() + REBOOT_MS;
	char before[64];
	int r = read_boot_id(work->agent, before, sizeof(before), error);

	if (r == 0)
		r = ask_for_reboot(work->agent, error);
	while (r == 0 && !has_rebooted(work, before, error)) {
		if (!vm_process_find(&context->kernel.root, work->vmid))
			return error_set(error, -ESRCH,
				"the VM stopped instead: start it (qm start %u), and ask again",
				work->vmid);
		if (clock_milliseconds() >= deadline)
			return error_set(error, -ETIMEDOUT,
				"the guest is not back after %u minutes: look at its console",
				REBOOT_MS / MINUTE_MS);
		r = agent_sleep(RETRY_MS, error);
	}
	return r;
}

static int await_driver(struct installation *work, struct error *error)
{
	unsigned long long deadline = clock_milliseconds() + DRIVER_MS;

	for (;;) {
		cleanup(nvidia_smi_done) struct nvidia_smi answer = {0};
		int r = nvidia_smi_ask(work->agent, work->system, &answer, error);

		if (r < 0 || answer.state == NVIDIA_SMI_ANSWERS)
			return r;
		if (clock_milliseconds() >= deadline)
			return error_set(error, -EREMOTEIO, "nvidia-smi %s: %s",
				nvidia_smi_state_name(answer.state), answer.message);
		r = agent_sleep(RETRY_MS, error);
		if (r < 0)
			return r;
	}
}

static int take_step(struct installation *work, const struct driver_step *step, struct error *error)
{
	switch (step->kind) {
	case STEP_SCRIPT:
		return run_script(work, step, error);
	case STEP_REBOOT:
		return reboot(work, error);
	case STEP_NVIDIA_SMI:
		return await_driver(work, error);
	}
	return 0;
}

/* Empties the log, so that old output is not shown as this run's. */
static int clear_log(struct agent *agent, struct error *error)
{
	static const char *const arguments[] = {
		"/bin/sh", "-c", "umask 077; : >" GUEST_DRIVER_LOG, NULL};
	const struct agent_program program = {.arguments = arguments, .deadline_ms = MINUTE_MS};
	cleanup(agent_result_done) struct agent_result result = {0};
	int r = agent_run(agent, &program, &result, error);

	if (r == 0 && result.exit_code != 0)
		return error_set(error, -EREMOTEIO,
			"write the guest's " GUEST_DRIVER_LOG ": %.200s", result.errors);
	return r;
}

int guest_driver_install(struct context *context, unsigned int vmid, struct agent *agent,
	const struct guest_system *system, struct error *error)
{
	const struct driver_step *steps = find_steps(system);
	struct installation work = {
		.context = context,
		.vmid = vmid,
		.agent = agent,
		.system = system,
	};
	int r;

	if (!steps)
		return guest_driver_check(system, error);
	r = clear_log(agent, error);
	for (unsigned int i = 0; r == 0 && steps[i].name; i++) {
		log_write(&context->log, LOG_INFO, "step %u of %u: %s", i + 1, count_steps(steps),
			steps[i].name);
		*work.last = '\0';
		r = take_step(&work, &steps[i], error);
		if (r < 0)
			return error_wrap(error, r, "step %u of %u (%s)", i + 1, count_steps(steps),
				steps[i].name);
	}
	return r;
}
