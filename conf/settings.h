/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads /etc/gpu-ferry/gpu-ferry.conf. The shipped file, conf/gpu-ferry.conf, explains each
 * setting. */

#include "kmod-helper/base/error.h"
#include "kmod-helper/base/file.h"
#include <stdbool.h>

#define SETTINGS_PATH "etc/gpu-ferry/gpu-ferry.conf"

enum boot_display_policy {
	BOOT_DISPLAY_ALLOW,
	BOOT_DISPLAY_REFUSE,
};

enum backup_policy {
	BACKUP_ALLOW,
	BACKUP_REFUSE,
};

/* What happens to the host's display driver while a Windows guest has the card. */
enum windows_blacklist {
	WINDOWS_BLACKLIST_WHILE_RUNNING,
	WINDOWS_BLACKLIST_PERMANENT,
	WINDOWS_BLACKLIST_OFF,
};

/* A file in a function's sysfs folder, and the value that it gets while the function is lent. */
struct device_setting {
	char address[20];      /* with its domain, "0000:2b:00.0" */
	const char *attribute; /* "power/control", "d3cold_allowed", "reset_method" */
	char value[128];       /* as the kernel takes it: "on", "0", "flr bus", "" */
};

struct device_settings {
	struct device_setting *items;
	size_t count;
};

/* Whether NVIDIA's driver is closed to new users of a card while the card is taken. */
enum nvidia_drain {
	NVIDIA_DRAIN_ON,
	NVIDIA_DRAIN_OFF,
};

/* What a VM's start does about holders of the card. */
enum busy_policy {
	BUSY_FAIL,
	BUSY_WAIT,
	BUSY_STOP,
};

/* What happens to a container that starts while a VM has a card whose nodes it is given. */
enum container_start_policy {
	CONTAINER_START_REFUSE,
	CONTAINER_START_WAIT,
	CONTAINER_START_LATER,
};

/* Who is told when a card is owed, overdue or does not answer. */
enum notify_policy {
	NOTIFY_OFF,
	NOTIFY_ROOT,
};

/* What may be stopped to make room on a card. */
enum room_kind {
	ROOM_UNIT,	     /* a service of the host */
	ROOM_CONTAINER_UNIT, /* a service in a container: the container goes on */
	ROOM_CONTAINER,
	ROOM_VM,
	ROOM_PROGRAM, /* it is asked to make room */
};

struct room_entry {
	enum room_kind kind;
	unsigned int guest; /* the container's or VM's number; ROOM_CONTAINER, 0: any */
	char name[256];	    /* of the service (systemd's UNIT_NAME_MAX) or the program */
};

struct room_entries {
	struct room_entry *items;
	size_t count;
};

struct settings {
	unsigned int write_deadline_seconds;
	unsigned int slow_write_deadline_seconds; /* 0: as the quirks say */
	unsigned int return_wait_seconds;
	enum boot_display_policy boot_display;
	enum backup_policy backup_of_stopped_vm;
	enum windows_blacklist windows_blacklist;
	enum nvidia_drain nvidia_drain;
	struct names allow; /* addresses with their domain, "0000:2b:00.0" */
	struct device_settings devices;
	enum container_start_policy container_start;
	enum notify_policy notify;
	enum busy_policy busy;
	unsigned int busy_wait_seconds;
	/* In the order in which they are stopped: `make_room` without the VM itself, then the units
	 * of `stop_units`, and with BUSY_STOP the `containers`. */
	struct room_entries make_room;
	struct room_entries stop_units, containers; /* as read */
};

/*
 * Reads the settings for VM @vmid (0: for no particular VM). A value in `vms` overrides one at the
 * top, and that overrides the default. The whole file is checked, whatever @vmid is. A missing file
 * means the defaults. Free with settings_done. @ret is untouched on failure:
 *
 * -EINVAL  wrong syntax, unknown setting, wrong type or value, a VM twice, @include (FILE:LINE: …)
 * -EPERM   the file is not root's or is writable by others
 * -EISDIR, -ENXIO, -EFBIG, -EILSEQ as file_read; -ENOMEM; another -errno of the reading.
 */
int settings_read(
	const struct root *root, unsigned int vmid, struct settings *ret, struct error *error);

/* The same for a text in memory; messages call it @name. */
int settings_parse(const char *text, const char *name, unsigned int vmid, struct settings *ret,
	struct error *error);
void settings_done(struct settings *settings);
