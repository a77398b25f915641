/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads a guest's system, its PCI bus and its driver through its agent. */

#include "view.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include <errno.h>
#include <string.h>

/* Generous, for a busy guest or a driver that is loading: only a person waits for it. */
#define PROGRAM_MS 30000u
/* More than any machine has: a limit, so that a guest cannot fill our memory. */
#define DEVICES_MAX 4096u
#define GPUS_MAX 64u

/* Uses only shell built-ins and readlink, because pciutils is often missing. */
static const char list_devices[] = "for d in /sys/bus/pci/devices/*; do\n"
				   "[ -e \"$d/vendor\" ] || continue\n"
				   "read -r vendor <\"$d/vendor\"; read -r device <\"$d/device\"\n"
				   "driver=$(readlink \"$d/driver\") || driver=\n"
				   "echo \"${d##*/} $vendor $device ${driver##*/}\"\n"
				   "done";

void guest_text_copy(const char *text, char *ret, size_t size)
{
	size_t length;

	text += strspn(text, " \t\r\n");
	length = strcspn(text, "\r\n");
	snprintf(ret, size, "%.*s", length < size ? (int)length : (int)size - 1, text);
}

static void copy_text(struct json_object *object, const char *key, char *ret, size_t size)
{
	struct json_object *value;

	if (json_object_object_get_ex(object, key, &value) &&
		json_object_is_type(value, json_type_string))
		guest_text_copy(json_object_get_string(value), ret, size);
}

/* ---- the system */

/* An agent that does not know the command, or refuses it, is not an error: *@ret is left alone. */
static int ask(
	struct agent *agent, const char *command, struct json_object **ret, struct error *error)
{
	int r = agent_execute(agent, command, NULL, ret, error);

	return r == -ENOSYS || r == -EREMOTEIO ? 0 : r;
}

int guest_system_read(struct agent *agent, struct guest_system *ret, struct error *error)
{
	struct guest_system guest = {0};
	struct json_object *info = NULL, *system = NULL;
	int r = ask(agent, "guest-info", &info, error);

	if (r == 0)
		r = ask(agent, "guest-get-osinfo", &system, error);
	if (r == 0) {
		copy_text(info, "version", guest.agent_version, sizeof(guest.agent_version));
		copy_text(system, "id", guest.id, sizeof(guest.id));
		copy_text(system, "pretty-name", guest.name, sizeof(guest.name));
		copy_text(system, "kernel-release", guest.kernel, sizeof(guest.kernel));
		*ret = guest;
	}
	json_object_put(info);
	json_object_put(system);
	return r;
}

bool guest_system_is_windows(const struct guest_system *system)
{
	return strcmp(system->id, "mswindows") == 0;
}

/* ---- its PCI bus */

static int add_device(struct guest_devices *devices, const struct guest_device *device)
{
	struct guest_device *place;

	if (devices->count == DEVICES_MAX)
		return 0;
	place = LIST_ADD(devices->items, devices->count);
	if (!place)
		return -ENOMEM;
	*place = *device;
	return 0;
}

static int parse_id(const char *text, uint16_t *ret)
{
	unsigned long long value;

	if (!text || strncmp(text, "0x", 2) != 0 ||
		parse_unsigned(text + 2, 16, UINT16_MAX, &value) < 0)
		return -EINVAL;
	*ret = (uint16_t)value;
	return 0;
}

static int parse_device(char *line, struct guest_device *ret)
{
	char *save = NULL;
	const char *address = strtok_r(line, " ", &save);
	const char *vendor = strtok_r(NULL, " ", &save);
	const char *device = strtok_r(NULL, " ", &save);
	const char *driver = strtok_r(NULL, "", &save);

	if (!address || parse_id(vendor, &ret->vendor_id) < 0 ||
		parse_id(device, &ret->device_id) < 0 ||
		pci_device_parse(address, ret->address, sizeof(ret->address)) < 0)
		return -EINVAL;
	guest_text_copy(driver ? driver : "", ret->driver, sizeof(ret->driver));
	return 0;
}

int guest_devices_parse_lines(char *text, struct guest_devices *ret, struct error *error)
{
	struct guest_devices devices = {0};
	char *save = NULL;
	int r = 0;

	for (char *line = strtok_r(text, "\r\n", &save); r == 0 && line;
		line = strtok_r(NULL, "\r\n", &save)) {
		struct guest_device device = {0};

		if (parse_device(line, &device) == 0)
			r = add_device(&devices, &device);
	}
	if (r < 0) {
		guest_devices_done(&devices);
		return error_set_errno(error, r, "read the guest's devices");
	}
	*ret = devices;
	return 0;
}

static int parse_windows_device(struct json_object *item, struct guest_device *ret)
{
	struct json_object *id, *vendor, *device;

	if (!json_object_object_get_ex(item, "id", &id) ||
		!json_object_object_get_ex(id, "vendor-id", &vendor) ||
		!json_object_object_get_ex(id, "device-id", &device))
		return -EINVAL;
	ret->vendor_id = (uint16_t)json_object_get_int(vendor);
	ret->device_id = (uint16_t)json_object_get_int(device);
	copy_text(item, "driver-name", ret->driver, sizeof(ret->driver));
	copy_text(item, "driver-version", ret->driver_version, sizeof(ret->driver_version));
	return 0;
}

int guest_devices_parse_windows(
	struct json_object *list, struct guest_devices *ret, struct error *error)
{
	struct guest_devices devices = {0};
	int r = 0;

	if (!json_object_is_type(list, json_type_array))
		return error_set(error, -EBADMSG, "guest-get-devices: the answer is not a list");
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		struct guest_device device = {0};

		if (parse_windows_device(json_object_array_get_idx(list, i), &device) == 0)
			r = add_device(&devices, &device);
	}
	if (r < 0) {
		guest_devices_done(&devices);
		return error_set_errno(error, r, "read the guest's devices");
	}
	*ret = devices;
	return 0;
}

static int read_windows(struct agent *agent, struct guest_devices *ret, struct error *error)
{
	struct json_object *list = NULL;
	int r = agent_execute(agent, "guest-get-devices", NULL, &list, error);

	if (r == 0)
		r = guest_devices_parse_windows(list, ret, error);
	json_object_put(list);
	return r;
}

static int read_linux(struct agent *agent, struct guest_devices *ret, struct error *error)
{
	static const char *const arguments[] = {"/bin/sh", "-c", list_devices, NULL};
	const struct agent_program program = {.arguments = arguments, .deadline_ms = PROGRAM_MS};
	cleanup(agent_result_done) struct agent_result result = {0};
	int r = agent_run(agent, &program, &result, error);

	if (r < 0)
		return r;
	if (result.exit_code != 0)
		return error_set(error, -EREMOTEIO,
			"list the guest's PCI bus: the shell there ended with %d",
			result.exit_code);
	return guest_devices_parse_lines(result.output, ret, error);
}

int guest_devices_read(struct agent *agent, const struct guest_system *system,
	struct guest_devices *ret, struct error *error)
{
	return guest_system_is_windows(system) ? read_windows(agent, ret, error)
					       : read_linux(agent, ret, error);
}

void guest_devices_done(struct guest_devices *devices)
{
	free(devices->items);
	*devices = (struct guest_devices){0};
}

/* ---- nvidia-smi */

int nvidia_smi_parse(char *text, struct nvidia_smi *ret)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\r\n", &save); line && ret->gpus.count < GPUS_MAX;
		line = strtok_r(NULL, "\r\n", &save)) {
		/* the version is the last column: a name may hold commas */
		char *comma = strrchr(line, ',');
		char name[128];

		if (!comma)
			continue;
		*comma = '\0';
		guest_text_copy(line, name, sizeof(name));
		guest_text_copy(comma + 1, ret->driver_version, sizeof(ret->driver_version));
		if (names_add(&ret->gpus, name) < 0)
			return -ENOMEM;
	}
	return ret->gpus.count ? 0 : -EBADMSG;
}

/* Judges nvidia-smi after it has ended. It prints its complaints to stdout. */
static int check_answer(struct agent_result *result, struct nvidia_smi *ret)
{
	char first[sizeof(ret->message)];
	int r = 0;

	guest_text_copy(result->output, first, sizeof(first));
	if (!*first)
		guest_text_copy(result->errors, first, sizeof(first));
	ret->exit_code = result->exit_code;
	ret->state = NVIDIA_SMI_FAILED;
	if (result->exit_code == 0)
		r = nvidia_smi_parse(result->output, ret);
	if (result->exit_code == 0 && r == 0)
		ret->state = NVIDIA_SMI_ANSWERS;
	else if (result->signal)
		snprintf(ret->message, sizeof(ret->message), "ended by signal %d", result->signal);
	else
		memcpy(ret->message, first, sizeof(first));
	return r == -ENOMEM ? r : 0;
}

int nvidia_smi_ask(struct agent *agent, const struct guest_system *system, struct nvidia_smi *ret,
	struct error *error)
{
	const char *const arguments[] = {guest_system_is_windows(system)
			? "C:\\Windows\\System32\\nvidia-smi.exe"
			: "nvidia-smi",
		"--query-gpu=name,driver_version", "--format=csv,noheader", NULL};
	const struct agent_program program = {.arguments = arguments, .deadline_ms = PROGRAM_MS};
	cleanup(agent_result_done) struct agent_result result = {0};
	struct nvidia_smi answer = {.exit_code = -1};
	int r = agent_run(agent, &program, &result, error);

	if (r == 0)
		r = check_answer(&result, &answer);
	else if (r == -EREMOTEIO || r == -ETIMEDOUT) {
		answer.state = r == -ETIMEDOUT ? NVIDIA_SMI_TIMED_OUT : NVIDIA_SMI_MISSING;
		guest_text_copy(
			error ? error->message : "", answer.message, sizeof(answer.message));
		r = 0;
	}
	if (r < 0) {
		nvidia_smi_done(&answer);
		return r == -ENOMEM ? error_set_errno(error, r, "ask nvidia-smi") : r;
	}
	*ret = answer;
	return 0;
}

void nvidia_smi_done(struct nvidia_smi *nvidia_smi)
{
	names_done(&nvidia_smi->gpus);
}

const char *nvidia_smi_state_name(enum nvidia_smi_state state)
{
	static const char *const names[] = {
		[NVIDIA_SMI_NOT_ASKED] = "not asked",
		[NVIDIA_SMI_ANSWERS] = "answers",
		[NVIDIA_SMI_MISSING] = "missing",
		[NVIDIA_SMI_FAILED] = "failed",
		[NVIDIA_SMI_TIMED_OUT] = "timed out",
	};

	return names[state];
}
