/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads which VM has reserved a PCI device. */

#include "reservation.h"

#include "conf/text.h"
#include "hostpci.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "vm_process.h"
#include <errno.h>
#include <limits.h>
#include <string.h>

#define PATH "run/qemu-server/pci-id-reservations"
#define MAX_BYTES (1024 * 1024)

void reservations_done(struct reservations *reservations)
{
	free(reservations->items);
	free(reservations->text);
	*reservations = (struct reservations){0};
}

static const struct reservation *find(const struct reservations *reservations, const char *address)
{
	for (size_t i = reservations->count; i-- > 0;) {
		if (strcmp(reservations->items[i].address, address) == 0)
			return &reservations->items[i];
	}
	return NULL;
}

static const char *skip_digits(const char *text)
{
	size_t length = strspn(text, TEXT_DIGITS);

	return length ? text + length : NULL;
}

/* "0000:2b:00.0 104 pid:4711", one white character between the fields. */
static bool is_reservation(const char *line)
{
	const char *end = hostpci_id_end(line);

	if (end)
		end = text_is_white(*end) ? skip_digits(end + 1) : NULL;
	if (!end || !text_is_white(*end))
		return false;
	end++;
	if (strncmp(end, "time:", 5) == 0)
		end = skip_digits(end + 5);
	else
		end = strncmp(end, "pid:", 4) == 0 ? skip_digits(end + 4) : NULL;
	return end && *end == '\0';
}

/* The three fields of a line that is_reservation. -EINVAL: a number is beyond what it can mean. */
static int line_fields(char *line, struct reservation *ret)
{
	char *vmid = line + strcspn(line, TEXT_WHITE) + 1;
	char *kind = vmid + strcspn(vmid, TEXT_WHITE) + 1;
	char *number = strchr(kind, ':') + 1;
	bool by_pid = kind[0] == 'p';
	unsigned long long value, owner;

	vmid[-1] = '\0';
	kind[-1] = '\0';
	if (parse_unsigned(vmid, 10, UINT_MAX, &owner) < 0 ||
		parse_unsigned(number, 10, by_pid ? INT_MAX : LLONG_MAX, &value) < 0)
		return -EINVAL;
	ret->vmid = (unsigned int)owner;
	ret->pid = by_pid ? (pid_t)value : 0;
	ret->until = by_pid ? 0 : (long long)value;
	return 0;
}

int reservations_parse(
	const char *text, size_t length, struct reservations *ret, struct error *error)
{
	cleanup(reservations_done) struct reservations reservations = {
		.text = strndup(text, length)};
	char *rest = reservations.text;
	char *line;

	if (!rest)
		return error_set_errno(error, -ENOMEM, "read /" PATH);
	while ((line = strsep(&rest, "\n"))) {
		struct reservation reservation = {.address = line};
		struct reservation *place;

		if (!is_reservation(line) || line_fields(line, &reservation) < 0)
			continue;
		place = LIST_ADD(reservations.items, reservations.count);
		if (!place)
			return error_set_errno(error, -ENOMEM, "read /" PATH);
		*place = reservation;
	}
	*ret = reservations;
	reservations = (struct reservations){0};
	return 0;
}

int reservations_read(const struct root *root, struct reservations *ret, struct error *error)
{
	struct file_read_options options = {.max = MAX_BYTES};
	auto_free char *text = NULL;
	size_t length = 0;
	int r = file_read(root, PATH, &options, &text, &length, error);

	if (r == -ENOENT)
		return reservations_parse("", 0, ret, error);
	return r < 0 ? r : reservations_parse(text, length, ret, error);
}

unsigned int reservation_owner(const struct reservations *reservations, const struct root *root,
	const char *address, unsigned int vmid, time_t now, bool *ret_running)
{
	const struct reservation *reservation = find(reservations, address);
	bool running;

	if (!reservation || reservation->vmid == vmid)
		return 0;
	running = reservation->pid > 0 &&
		vm_process_of_pidfile(root, reservation->vmid) == reservation->pid;
	if (!running && reservation->until <= (long long)now)
		return 0;
	if (ret_running)
		*ret_running = running;
	return reservation->vmid;
}

int reservation_check(const struct reservations *reservations, const struct root *root,
	const char *address, unsigned int vmid, time_t now, struct error *error)
{
	bool running = false;
	unsigned int owner = reservation_owner(reservations, root, address, vmid, now, &running);

	if (!owner)
		return 0;
	if (running)
		return error_set(error, -EBUSY, "PCI device '%s' already in use by VMID '%u'",
			address, owner);
	return error_set(error, -EBUSY,
		"PCI device '%s' is currently reserved for use by VMID '%u'", address, owner);
}
