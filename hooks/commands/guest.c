/* SPDX-License-Identifier: GPL-2.0-or-later */

/* `gpu-ferry guest`: asks the guest for its card and its driver. */

#include "commands.h"

#include "conf/pve/vm_process.h"
#include "hooks/base/output.h"
#include "hooks/base/table.h"
#include "hooks/ferry/vm_plan.h"
#include "hooks/guest/agent.h"
#include "hooks/guest/card.h"
#include "hooks/guest/driver.h"
#include "hooks/guest/view.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <string.h>

struct guest_options {
	bool install_driver;
	bool dry_run;
};

/* The result of asking the agent. Each has a name for scripts. */
enum agent_state {
	AGENT_FAILED,
	AGENT_ANSWERS,
	AGENT_VM_NOT_RUNNING,
	AGENT_OFF,	 /* not in the config */
	AGENT_NO_SOCKET, /* in the config, but not when the VM was started */
	AGENT_BUSY,
	AGENT_SILENT,
	AGENT_NO_COMMAND, /* it answers, but may not run what we need */
};

struct report {
	unsigned int vmid;
	struct vm_plan plan;
	struct guest_cards cards;
	struct agent agent;
	enum agent_state state;
	struct guest_system system;
	struct guest_devices devices;
	struct nvidia_smi nvidia_smi;
	bool looked; /* the devices are known */
};

static void report_done(struct report *report)
{
	nvidia_smi_done(&report->nvidia_smi);
	guest_devices_done(&report->devices);
	agent_close(&report->agent);
	guest_cards_done(&report->cards);
	vm_plan_done(&report->plan);
}

/* ---- connecting */

static int refuse_agent(
	struct report *report, enum agent_state state, int status, struct error *error)
{
	const unsigned int vmid = report->vmid;

	report->state = state;
	switch (state) {
	case AGENT_VM_NOT_RUNNING:
		return error_set(
			error, status, "it is not running: start it first (qm start %u)", vmid);
	case AGENT_OFF:
		return error_set(error, status,
			"its config has no guest agent: qm set %u --agent 1, stop it and start it, "
			"and install qemu-guest-agent in the guest",
			vmid);
	case AGENT_NO_SOCKET:
		return error_set(error, status,
			"it was started before its guest agent was switched on: stop it and start "
			"it (a restart inside the guest is not enough)");
	case AGENT_BUSY:
		return error_set(error, status,
			"another program is using the connection to its guest agent (a backup, qm "
			"guest exec): try again when that is done");
	case AGENT_SILENT:
		return error_set(error, status,
			"its guest agent does not answer: is the guest up, and does "
			"qemu-guest-agent run in it?");
	case AGENT_FAILED:
	case AGENT_ANSWERS:
	case AGENT_NO_COMMAND:
		break;
	}
	return status;
}

static int open_agent(struct context *context, struct report *report, struct error *error)
{
	bool on = vm_config_has_agent(&report->plan.resolved.config);
	int r;

	if (!vm_process_find(&context->kernel.root, report->vmid))
		return refuse_agent(report, AGENT_VM_NOT_RUNNING, -ESRCH, error);
	r = agent_open(&context->kernel.root, report->vmid, &report->agent, error);
	switch (r) {
	case 0:
		report->state = AGENT_ANSWERS;
		return 0;
	case -ENOENT:
		return refuse_agent(report, on ? AGENT_NO_SOCKET : AGENT_OFF, r, error);
	case -ECONNREFUSED:
		return refuse_agent(report, AGENT_VM_NOT_RUNNING, r, error);
	case -EBUSY:
		return refuse_agent(report, AGENT_BUSY, r, error);
	case -ETIMEDOUT:
		return refuse_agent(report, AGENT_SILENT, r, error);
	default:
		return r;
	}
}

static bool has_nvidia(const struct report *report)
{
	for (size_t i = 0; i < report->cards.count; i++) {
		if (guest_card_is_nvidia(&report->cards.items[i]) && report->cards.items[i].seen)
			return true;
	}
	return false;
}

static int refuse_command(struct report *report, int status, struct error *error)
{
	char words[256];

	report->state = AGENT_NO_COMMAND;
	guest_text_copy(error->message, words, sizeof(words));
	return error_set(error, status,
		"%s: allow it in the guest (block-rpcs, allow-rpcs in qemu-ga.conf), or update "
		"qemu-guest-agent there",
		words);
}

static int look(struct report *report, struct error *error)
{
	int r = guest_system_read(&report->agent, &report->system, error);

	nvidia_smi_done(&report->nvidia_smi);
	guest_devices_done(&report->devices);
	report->looked = false;
	if (r == 0)
		r = guest_devices_read(&report->agent, &report->system, &report->devices, error);
	if (r == 0) {
		report->looked = true;
		guest_cards_match(&report->cards, &report->devices);
	}
	if (r == 0 && has_nvidia(report))
		r = nvidia_smi_ask(&report->agent, &report->system, &report->nvidia_smi, error);
	if (r == -ENOSYS)
		return refuse_command(report, r, error);
	if (r < 0)
		report->state = AGENT_FAILED;
	return r;
}

/* ---- judging */

static int check_nvidia(
	const struct report *report, const struct guest_card *card, struct error *error)
{
	const struct nvidia_smi *answer = &report->nvidia_smi;

	if (answer->state == NVIDIA_SMI_ANSWERS)
		return 0;
	if (answer->state == NVIDIA_SMI_TIMED_OUT)
		return error_set(error, -EIO, "nvidia-smi does not finish: %s", answer->message);
	if (answer->state == NVIDIA_SMI_FAILED && answer->exit_code < 0)
		return error_set(error, -EIO, "nvidia-smi was %s", answer->message);
	if (answer->state == NVIDIA_SMI_FAILED)
		return error_set(error, -EIO, "nvidia-smi ended with %d: %s", answer->exit_code,
			answer->message);
	return error_set(error, -EIO,
		"%s has no NVIDIA driver in the guest, but %s (gpu-ferry guest %u "
		"--install-driver)",
		card->address, *card->seen->driver ? card->seen->driver : "none", report->vmid);
}

/* Windows lists only devices that have a driver, and a card's USB function may have none. */
static int error_of_missing(
	const struct report *report, const struct guest_card *card, struct error *error)
{
	bool windows = guest_system_is_windows(&report->system);

	if (windows && !card->display)
		return 0;
	return error_set(error, -ENODEV,
		"%s (%04x:%04x) is not %s: was the VM started with it? (gpu-ferry status %u)",
		card->address, card->vendor_id, card->device_id,
		windows ? "among the guest's devices that have a driver" : "on the guest's PCI bus",
		report->vmid);
}

/* The first thing that is wrong with a card. */
static int check_cards(const struct report *report, struct error *error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < report->cards.count; i++) {
		const struct guest_card *card = &report->cards.items[i];

		if (!card->seen)
			r = error_of_missing(report, card, error);
		else if (guest_card_is_nvidia(card))
			r = check_nvidia(report, card, error);
		else if (card->display && !*card->seen->driver)
			r = error_set(error, -EIO, "%s has no driver in the guest", card->address);
	}
	return r;
}

static const char *state_name(enum agent_state state)
{
	static const char *const names[] = {
		[AGENT_FAILED] = "failed",
		[AGENT_ANSWERS] = "answers",
		[AGENT_VM_NOT_RUNNING] = "vm not running",
		[AGENT_OFF] = "off",
		[AGENT_NO_SOCKET] = "no socket",
		[AGENT_BUSY] = "busy",
		[AGENT_SILENT] = "silent",
		[AGENT_NO_COMMAND] = "no command",
	};

	return names[state];
}

static void add_id(struct json_object *object, const char *key, uint16_t id)
{
	char text[8];

	snprintf(text, sizeof(text), "%04x", id);
	json_add_text(object, key, text);
}

static struct json_object *format_card(const struct report *report, const struct guest_card *card)
{
	const struct guest_device *seen = card->seen;
	struct json_object *object = json_object_new_object();

	json_add_text(object, "address", card->address);
	add_id(object, "vendor_id", card->vendor_id);
	add_id(object, "device_id", card->device_id);
	json_object_object_add(
		object, "present", report->looked ? json_object_new_boolean(seen != NULL) : NULL);
	json_add_text_or_null(object, "guest_address", seen ? seen->address : NULL);
	json_add_text_or_null(object, "driver", seen ? seen->driver : NULL);
	json_add_text_or_null(object, "driver_version", seen ? seen->driver_version : NULL);
	return object;
}

static struct json_object *format_nvidia_smi(const struct nvidia_smi *answer)
{
	struct json_object *object = json_object_new_object();
	struct json_object *gpus = json_object_new_array();

	json_add_text(object, "state", nvidia_smi_state_name(answer->state));
	json_add_text_or_null(object, "driver_version", answer->driver_version);
	json_object_object_add(object, "exit_code",
		answer->state == NVIDIA_SMI_FAILED || answer->state == NVIDIA_SMI_ANSWERS
			? json_object_new_int(answer->exit_code)
			: NULL);
	json_add_text_or_null(object, "message", answer->message);
	for (size_t i = 0; i < answer->gpus.count; i++)
		json_object_array_add(gpus, json_object_new_string(answer->gpus.names[i]));
	json_object_object_add(object, "gpus", gpus);
	return object;
}

static int print_json(
	const struct context *context, const struct report *report, struct error *error)
{
	struct json_object *object = json_object_new_object();
	struct json_object *agent = json_object_new_object();
	struct json_object *system = json_object_new_object();
	struct json_object *devices = json_object_new_array();

	json_add_number(object, "vmid", report->vmid);
	json_add_text(agent, "state", state_name(report->state));
	json_add_text_or_null(agent, "version", report->system.agent_version);
	json_object_object_add(object, "agent", agent);
	json_add_text_or_null(system, "id", report->system.id);
	json_add_text_or_null(system, "name", report->system.name);
	json_add_text_or_null(system, "kernel", report->system.kernel);
	json_object_object_add(object, "system", system);
	for (size_t i = 0; i < report->cards.count; i++)
		json_object_array_add(devices, format_card(report, &report->cards.items[i]));
	json_object_object_add(object, "devices", devices);
	json_object_object_add(object, "nvidia_smi", format_nvidia_smi(&report->nvidia_smi));
	return output_json(context, object, error);
}

static const char *or_dash(const char *text)
{
	return *text ? text : "-";
}

/* Windows gives no addresses, and does not list devices without a driver. */
static const char *place_of(const struct report *report, const struct guest_device *seen)
{
	if (seen)
		return *seen->address ? seen->address : "there";
	return guest_system_is_windows(&report->system) ? "not listed" : "missing";
}

static int add_cards(struct table *table, const struct report *report)
{
	static const struct table_column columns[] = {
		{.head = "ADDRESS"}, {.head = "IDS"}, {.head = "IN THE GUEST"}, {.head = "DRIVER"}};
	int r = table_init(table, columns, sizeof(columns) / sizeof(columns[0]));

	for (size_t i = 0; r == 0 && i < report->cards.count; i++) {
		const struct guest_card *card = &report->cards.items[i];
		const struct guest_device *seen = card->seen;

		if (table_add(table, "%s", card->address) < 0 ||
			table_add(table, "%04x:%04x", card->vendor_id, card->device_id) < 0 ||
			table_add(table, "%s", place_of(report, seen)) < 0 ||
			table_add(table, "%s%s%s", seen ? or_dash(seen->driver) : "-",
				seen && *seen->driver_version ? " " : "",
				seen ? seen->driver_version : "") < 0)
			r = -ENOMEM;
	}
	return r;
}

static void print_nvidia_smi(const struct nvidia_smi *answer)
{
	if (answer->state == NVIDIA_SMI_NOT_ASKED)
		return;
	output_print("nvidia-smi %s", nvidia_smi_state_name(answer->state));
	if (answer->state == NVIDIA_SMI_ANSWERS)
		output_print(": driver %s", answer->driver_version);
	for (size_t i = 0; i < answer->gpus.count; i++)
		output_print(", %s", answer->gpus.names[i]);
	if (*answer->message)
		output_print(": %s", answer->message);
	putchar('\n');
}

static int print_text(
	const struct report *report, const struct context *context, struct error *error)
{
	cleanup(table_done) struct table table = {0};
	const struct guest_system *system = &report->system;
	int r;

	output_print("VM %u: %s", report->vmid, *system->name ? system->name : "an unknown system");
	if (*system->kernel)
		output_print(", kernel %s", system->kernel);
	output_print(", guest agent %s\n", or_dash(system->agent_version));
	if (!report->looked)
		return 0;
	if (add_cards(&table, report) < 0)
		return error_set_errno(error, -ENOMEM, "format the output");
	r = table_print(&table, context, error);
	print_nvidia_smi(&report->nvidia_smi);
	return r;
}

/* ---- the driver */

static void explain_windows(void)
{
	puts("In the guest, as an administrator:\n"
	     "  1. Download the driver for the card from https://www.nvidia.com/en-us/drivers/ "
	     "and install it.\n"
	     "  2. Restart Windows, then ask again here.\n"
	     "If a driver is broken: start Windows in safe mode, remove it with DDU\n"
	     "(https://www.wagnardsoft.com/display-driver-uninstaller-DDU-), restart, and "
	     "install it again.");
}

static int install_driver(struct context *context, const struct guest_options *options,
	struct report *report, struct error *error)
{
	int r;

	if (!has_nvidia(report))
		return error_set(error, -ENODEV,
			"--install-driver is for NVIDIA cards, and no such card of the VM is on "
			"the guest's PCI bus");
	if (report->nvidia_smi.state == NVIDIA_SMI_ANSWERS) {
		log_write(&context->log, LOG_INFO,
			"nvidia-smi answers, with driver %s: there is nothing to install",
			report->nvidia_smi.driver_version);
		return 0;
	}
	r = guest_driver_check(&report->system, error);
	if (r < 0 && guest_system_is_windows(&report->system) && context->output == OUTPUT_TEXT)
		explain_windows();
	if (r < 0)
		return r;
	if (options->dry_run) {
		if (context->output == OUTPUT_TEXT)
			guest_driver_print(&report->system);
		return 0;
	}
	r = guest_driver_install(context, report->vmid, &report->agent, &report->system, error);
	return r < 0 ? r : look(report, error);
}

static int prepare(struct context *context, struct report *report, struct error *error)
{
	int r = vm_plan_resolve(context, report->vmid, NULL, &report->plan, error);

	if (r == 0)
		r = guest_cards_find(&report->plan, report->vmid, &report->cards, error);
	if (r == 0 && !report->cards.count)
		r = error_set(error, -ENODEV, "no device of the host is passed to it (hostpci)");
	return r;
}

/* A dry run of --install-driver is not judged: what it would fix is not a failure. */
static int ask_guest(struct context *context, const struct guest_options *options,
	struct report *report, struct error *error)
{
	int r = open_agent(context, report, error);

	if (r == 0)
		r = look(report, error);
	if (r == 0 && options->install_driver)
		r = install_driver(context, options, report, error);
	if (r == 0 && !(options->install_driver && options->dry_run))
		r = check_cards(report, error);
	return r;
}

static int check_rights(
	const struct context *context, const struct guest_options *options, struct error *error)
{
	if (!options->install_driver || options->dry_run)
		return 0;
	if (!context->kernel.root.live)
		return error_set(error, -EROFS,
			"--install-driver changes the guest: under --root it only works with "
			"--dry-run");
	return 0;
}

static int run_guest(
	struct context *context, const void *data, char **arguments, struct error *error)
{
	const struct guest_options *options = data;
	cleanup(report_done) struct report report = {0};
	struct error output = {0};
	int r, shown = 0;

	if (!arguments[0] || arguments[1])
		return error_set(error, USAGE, "guest takes one VMID");
	if (parse_vmid(arguments[0], &report.vmid) < 0)
		return error_set(
			error, USAGE, "'%s' is not a VMID (100 to 999999999)", arguments[0]);
	if (options->dry_run && !options->install_driver)
		return error_set(error, USAGE, "guest takes --dry-run only with --install-driver");
	if (options->install_driver && context->output != OUTPUT_TEXT)
		context->log_level = LOG_WARNING;
	context_catch_signals();
	r = check_rights(context, options, error);
	if (r == 0)
		r = prepare(context, &report, error);
	if (r == 0) {
		r = ask_guest(context, options, &report, error);
		if (context->output != OUTPUT_TEXT)
			shown = print_json(context, &report, &output);
		else if (report.state == AGENT_ANSWERS)
			shown = print_text(&report, context, &output);
		fflush(stdout);
	}
	if (r == 0 && shown < 0)
		*error = output;
	r = r < 0 ? r : shown;
	return r < 0 ? error_wrap(error, r, "guest of VM %u", report.vmid) : 0;
}

#define AT(field) offsetof(struct guest_options, field)

static const struct command_option options_of_guest[] = {
	{"install-driver", 0, NULL,
		"install NVIDIA's driver in the guest (Debian, Ubuntu), and restart it",
		AT(install_driver)},
	{"dry-run", 0, NULL, "with --install-driver: show the steps, and change nothing",
		AT(dry_run)},
	{0},
};

const struct command command_guest = {
	.name = "guest",
	.arguments = "VMID",
	.options = options_of_guest,
	.options_size = sizeof(struct guest_options),
	.example = "gpu-ferry guest 104 --install-driver --dry-run",
	.run = run_guest,
};
