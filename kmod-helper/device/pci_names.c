/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Looks up the names of vendors and devices with libpci. */

#include "pci_names.h"

#include "kmod-helper/base/library.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pci/pci.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_PATH "usr/share/misc/pci.ids"

/* libpci's functions, by their names without "pci_". */
static struct {
	typeof(&pci_alloc) alloc;
	typeof(&pci_cleanup) cleanup;
	typeof(&pci_load_name_list) load_name_list;
	typeof(&pci_lookup_name) lookup_name;
	typeof(&pci_set_name_list_path) set_name_list_path;
} pci;

static const struct library_symbol symbols[] = {
	LIBRARY_SYMBOL(pci_alloc, pci.alloc),
	LIBRARY_SYMBOL(pci_cleanup, pci.cleanup),
	LIBRARY_SYMBOL(pci_load_name_list, pci.load_name_list),
	LIBRARY_SYMBOL(pci_lookup_name, pci.lookup_name),
	LIBRARY_SYMBOL(pci_set_name_list_path, pci.set_name_list_path),
};

static const struct library libpci = {
	.file = "libpci.so.3",
	.package = "libpci3",
	.symbols = symbols,
	.symbol_count = sizeof(symbols) / sizeof(symbols[0]),
};

struct device_names {
	struct pci_access *access; /* NULL without libpci */
};

/* libpci ends the program when it cannot read a line of pci.ids. Its error callback must not return
 * and gets no context, so the only way out is a jump back to where the file was asked for. */
static _Thread_local jmp_buf load_failed;

__attribute__((noreturn, format(printf, 1, 2))) static void error_jump(char *message, ...)
{
	(void)message;
	longjmp(load_failed, 1);
}

__attribute__((format(printf, 1, 2))) static void warning_ignore(char *message, ...)
{
	(void)message;
}

/* Names read before a bad line stay known; libpci does not read the file again. */
static void load_names(struct pci_access *access)
{
	if (setjmp(load_failed) == 0)
		pci.load_name_list(access);
}

/* libpci wants a path: the descriptor's, so that no link of the tree leads out of it. */
static void load_names_of(const struct root *root, struct pci_access *access)
{
	int fd = root->live ? -1 : file_open(root, NAMES_PATH, O_RDONLY | O_NONBLOCK);
	char path[32];
	struct stat status;

	if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		pci.set_name_list_path(access, path, 0);
	}
	load_names(access);
	if (fd >= 0)
		close(fd);
}

int device_names_open(const struct root *root, struct device_names **ret, struct error *error)
{
	struct device_names *names = calloc(1, sizeof(*names));

	if (!names)
		return error_set_errno(error, -ENOMEM, "read the names of PCI devices");
	*ret = names;
	if (library_load(&libpci, NULL) < 0)
		return 0;
	/* no pci_init: it looks for a way to reach the devices, and ends the program if there is
	 * none */
	names->access = pci.alloc();
	names->access->error = error_jump;
	names->access->warning = warning_ignore;
	names->access->debug = warning_ignore;
	/* no cache in a home folder: it is only for names that are looked up over the network */
	names->access->id_lookup_mode = 0;
	load_names_of(root, names->access);
	return 0;
}

void device_names_close(struct device_names *names)
{
	if (!names)
		return;
	if (names->access)
		pci.cleanup(names->access);
	free(names);
}

static int size_limited(size_t size)
{
	return size > INT_MAX ? INT_MAX : (int)size;
}

/* libpci returns the buffer, or a complaint that the buffer is too small; then the buffer holds a
 * cut name. */
void device_name(struct device_names *names, uint16_t vendor_id, uint16_t device_id, char *buffer,
	size_t size)
{
	if (!names->access) {
		snprintf(buffer, size, "Device %04x:%04x", vendor_id, device_id);
		return;
	}
	pci.lookup_name(names->access, buffer, size_limited(size),
		PCI_LOOKUP_VENDOR | PCI_LOOKUP_DEVICE | PCI_LOOKUP_NO_HWDB, vendor_id, device_id);
}

/* pci.ids has it in brackets behind the chip: "AD103 [GeForce RTX 4080]". */
void device_name_short(struct device_names *names, uint16_t vendor_id, uint16_t device_id,
	char *buffer, size_t size)
{
	char full[256];
	char *bracket;
	size_t length;

	device_name(names, vendor_id, device_id, full, sizeof(full));
	length = strlen(full);
	bracket = strrchr(full, '[');
	if (bracket && full[length - 1] == ']') {
		full[length - 1] = '\0';
		snprintf(buffer, size, "%s", bracket + 1);
	} else {
		snprintf(buffer, size, "%s", full);
	}
}
