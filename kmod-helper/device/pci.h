/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/kernel/kernel.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PCI functions and IOMMU groups as sysfs shows them (Documentation/ABI/testing/sysfs-bus-pci). */

#define PCI_ADDRESS_SIZE 20 /* "ffffffff:00:00.0" and its NUL, with room */
#define PCI_DRIVER_SIZE 64
#define PCI_PATH_SIZE 192
#define PCI_NO_GROUP (-1L)

#define PCI_VENDOR_NVIDIA 0x10de

#define PCI_CLASS_DISPLAY 0x03 /* the base class, upper byte of a class code */
#define PCI_CLASS_STORAGE 0x01
#define PCI_CLASS_NETWORK 0x02
#define PCI_CLASS_BRIDGE 0x06
#define PCI_POWER_STATE_SIZE 16
#define PCI_IDENTITY_SIZE 20 /* "10de:2704 1458:3702" and its NUL */

struct pci_function {
	char address[PCI_ADDRESS_SIZE]; /* "0000:01:00.0" */
	uint16_t vendor_id, device_id;
	uint16_t subsystem_vendor_id, subsystem_device_id;
	uint16_t class_code; /* base class and subclass: 0x0300 */
	long iommu_group;    /* PCI_NO_GROUP: none, the IOMMU is off or does not cover it */
	char driver[PCI_DRIVER_SIZE];  /* "" when none is bound */
	bool boot_display;	       /* the firmware drew its screen there */
	bool bridge;		       /* has a bus behind it: never lent */
	char parent[PCI_ADDRESS_SIZE]; /* of a virtual function: its physical one; "": it is none */
};

struct pci_functions {
	struct pci_function *items; /* sorted by address */
	size_t count;
};

/* Every function of the host, sorted by address. A host without PCI has none. 0 or -errno. Reads
 * nothing that hangs while a driver is stuck in remove(), and does not wake a sleeping card. */
int pci_scan(const struct kernel *kernel, struct pci_functions *ret, struct error *error);
void pci_functions_done(struct pci_functions *functions);

/* NULL when @address is not among them. */
const struct pci_function *pci_find(const struct pci_functions *functions, const char *address);

/* Parses what a person types: [DDDD:]BB:DD[.F], in upper or lower case. Writes "0000:2b:00" or
 * "0000:2b:00.0" to @ret; -EINVAL for any other text. */
int pci_device_parse(const char *text, char *ret, size_t size);

/* True when @device is @address or the card (the slot) that @address is on. */
bool pci_device_has(const char *device, const char *address);
bool pci_same_card(const char *left, const char *right);

bool pci_is_display(const struct pci_function *function);

/* The number of virtual functions that @function has now. */
size_t pci_count_virtual(
	const struct pci_functions *functions, const struct pci_function *function);

/* The path below the root of an attribute of a function; of the function's folder when @attribute
 * is NULL. */
void pci_path(const char *address, const char *attribute, char *buffer, size_t size);

/* False when no device is at this address: it was removed from the bus. True also when that cannot
 * be known. */
bool pci_is_on_bus(const struct kernel *kernel, const char *address);

/* What the device is, at whatever address: vendor and device, then those of the subsystem, as
 * "10de:2704 1458:3702"; "" when one of them cannot be read. */
void pci_read_identity(
	const struct kernel *kernel, const char *address, char ret[static PCI_IDENTITY_SIZE]);

/* The driver bound now; "" when none. 0 or -errno. */
int pci_read_driver(const struct kernel *kernel, const char *address, char *ret, size_t size);

/* "D0" … "D3cold"; "" when unknown. Wakes nothing. */
void pci_read_power_state(
	const struct kernel *kernel, const char *address, char ret[static PCI_POWER_STATE_SIZE]);

/* The IOMMU group's number, or PCI_NO_GROUP. */
long pci_read_group(const struct kernel *kernel, const char *address);

/* Reads driver_override; "" when unset ("(null)" in sysfs) or when the file is missing. On Linux
 * 6.1 this may hang while the function's driver is stuck: look at the loans first. 0 or -errno. */
int pci_read_override(const struct kernel *kernel, const char *address, char *ret, size_t size);

/* True when config space reads as all ones: the device is gone. False when it sleeps in D3cold (it
 * is not woken), and when it cannot be known. */
bool pci_is_dead(const struct kernel *kernel, const char *address);

/* The module of a driver; "" for a built-in one. 0 or -errno (-ENOENT: no such driver is loaded).
 */
int pci_driver_module(const struct kernel *kernel, const char *driver, char *ret, size_t size);
bool pci_driver_exists(const struct kernel *kernel, const char *driver);

/* The modules that udev would load for the function, by modules.alias; none when that cannot be
 * known. 0 or the errors of module_lookup(). */
int pci_alias_modules(
	const struct kernel *kernel, const char *address, struct names *ret, struct error *error);

/* The driver that the host would bind to the function by itself: that of the first module that udev
 * would load for it and that is loaded; "" when none is, because it is blacklisted. 0 or -errno. */
int pci_find_own_driver(const struct kernel *kernel, const char *address, char *ret, size_t size);

/* True for vfio-pci and its variants (mlx5_vfio_pci, nvgrace-gpu-vfio-pci, …). */
bool pci_driver_is_vfio(const char *driver);
