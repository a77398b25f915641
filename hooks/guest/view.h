/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "agent.h"
#include "kmod-helper/device/pci.h"
#include <stdint.h>

/* What a guest tells about itself through its agent: its system, its PCI bus, what nvidia-smi says.
 * All texts come from the guest; they are cut to size. */

struct guest_system {
	char agent_version[32]; /* "" when the agent does not tell it, as in the others */
	char id[32];		/* os-release's ID: "debian", "ubuntu"; "mswindows" */
	char name[96];		/* "Debian GNU/Linux 12 (bookworm)" */
	char kernel[96];	/* "6.1.0-28-amd64" */
};

/* A function on the guest's bus. */
struct guest_device {
	char address[PCI_ADDRESS_SIZE]; /* "" on Windows */
	uint16_t vendor_id, device_id;
	char driver[PCI_DRIVER_SIZE]; /* "" none; on Windows the device's name */
	char driver_version[32];      /* Windows only */
};

struct guest_devices {
	struct guest_device *items;
	size_t count;
};

enum nvidia_smi_state {
	NVIDIA_SMI_NOT_ASKED,
	NVIDIA_SMI_ANSWERS,
	NVIDIA_SMI_MISSING,   /* the agent cannot start it */
	NVIDIA_SMI_FAILED,    /* it ended with an exit code, or by a signal */
	NVIDIA_SMI_TIMED_OUT, /* it may still run in the guest */
};

struct nvidia_smi {
	enum nvidia_smi_state state;
	int exit_code; /* -1: ended by a signal, or never */
	char driver_version[32];
	char message[256]; /* what it, or the agent, said instead */
	struct names gpus;
};

/* Reads what the agent tells about the system. 0 also when the agent does not know the command;
 * else the errors of agent_execute. */
int guest_system_read(struct agent *agent, struct guest_system *ret, struct error *error);
bool guest_system_is_windows(const struct guest_system *system);

/* Reads the guest's PCI bus: on Windows with guest-get-devices, which leaves out devices without a
 * driver; otherwise from the guest's sysfs, with guest-exec. 0, or the errors of agent_execute and
 * agent_run. */
int guest_devices_read(struct agent *agent, const struct guest_system *system,
	struct guest_devices *ret, struct error *error);
void guest_devices_done(struct guest_devices *devices);

/* Parses lines such as "0000:01:00.0 0x10de 0x2704 nvidia"; without a driver the last word is
 * missing. Other lines are skipped. 0 or -ENOMEM. @text is changed. */
int guest_devices_parse_lines(char *text, struct guest_devices *ret, struct error *error);
/* Parses what guest-get-devices returned. 0, -EBADMSG or -ENOMEM. */
int guest_devices_parse_windows(
	struct json_object *list, struct guest_devices *ret, struct error *error);

/* Runs nvidia-smi in the guest. Returns 0, whatever the result in @ret is, or the errors of
 * agent_execute when there is no guest-exec. */
int nvidia_smi_ask(struct agent *agent, const struct guest_system *system, struct nvidia_smi *ret,
	struct error *error);
void nvidia_smi_done(struct nvidia_smi *nvidia_smi);
const char *nvidia_smi_state_name(enum nvidia_smi_state state);

/* Parses its answer, which has one line for each GPU: "NVIDIA GeForce RTX 4080, 550.78". 0,
 * -EBADMSG when it names no GPU, or -ENOMEM. @text is changed. */
int nvidia_smi_parse(char *text, struct nvidia_smi *ret);

/* Copies the first line of @text that is not blank, made harmless and cut to @size. */
void guest_text_copy(const char *text, char *ret, size_t size);
