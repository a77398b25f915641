/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "kmod-helper/device/pci.h"
#include "kmod-helper/kernel/kernel.h"
#include <signal.h>

/*
 * A kernel behind struct kernel_ops for the unit tests: PCI functions, drivers and modules with the
 * rules of drivers/base and drivers/pci (facts of Documentation/ABI/testing/sysfs-bus-pci). It
 * lives in shared memory, because the executor's child acts on it and the test looks at it.
 */

#define FAKE_FUNCTIONS 24
#define FAKE_DRIVERS 16
#define FAKE_MODULES 16
#define FAKE_IDS 8
#define FAKE_FILES 32
#define FAKE_WRITES_SIZE 16384

struct fake_id {
	unsigned int vendor, device; /* 0: any */
	unsigned int class_code;     /* upper two bytes; 0: any */
};

struct fake_function {
	char address[PCI_ADDRESS_SIZE];
	unsigned int vendor, device, subsystem_vendor, subsystem_device;
	unsigned int class_code; /* as pci_function's: 0x0300 */
	long group;
	bool bridge;
	char parent[PCI_ADDRESS_SIZE]; /* its physical function; "": it is no virtual one */
	char driver[PCI_DRIVER_SIZE];
	char override[PCI_DRIVER_SIZE];
	char power_state[16];
	bool boot_vga;
	char numvfs[8]; /* sriov_numvfs; "": not there */
	bool dead;	/* config space reads ff */
	bool hides_ids; /* in its configuration space, as a virtual function */
	/* power/control, power/runtime_status, d3cold_allowed, reset_method; where @power is unset
	 * the function has none of these files */
	bool power;
	char control[8];
	char runtime_status[16];
	char d3cold_allowed[4];
	char reset_method[32];
	char reset_offers[32]; /* what may be written there, and what "default" means */
	bool locked;	       /* a remove() sleeps with the device's lock */
};

struct fake_driver {
	char name[PCI_DRIVER_SIZE];
	char module[PCI_DRIVER_SIZE]; /* "": built in */
	bool registered;
	struct fake_id ids[FAKE_IDS]; /* those it was built with */
	size_t id_count;
	struct fake_id new_ids[FAKE_IDS];
	size_t new_id_count;
	unsigned int probes;	     /* how often it was asked to take a function */
	int probe_error;	     /* negative errno: every probe fails with it */
	const char *refused;	     /* NULL, or the only function whose probe fails so */
	unsigned int remove_ms;	     /* remove() takes that long */
	volatile bool remove_sleeps; /* remove() does not come back while this is set */
};

enum fake_module_state {
	FAKE_LOADABLE,
	FAKE_BLOCKED, /* by modprobe.d */
	FAKE_LOADED,
};

struct fake_module {
	char name[PCI_DRIVER_SIZE];
	enum fake_module_state state;
	const char *users;   /* "nvidia_drm nvidia_uvm": the modules that need it */
	const char *version; /* what its folder says; NULL: nothing */
	const char *modeset; /* its parameter, as modprobe.d gives it; NULL: it has none */
	char given[8];	     /* what it was given by hand instead; "": nothing */
	bool busy;	     /* somebody uses it */
};

/* What happens at the operation number @at, counted from 1; 0: never. */
enum fake_event_kind {
	FAKE_FAIL,	 /* it fails with @status, and changes nothing */
	FAKE_KILL,	 /* the process @pid is killed, then the operation goes on */
	FAKE_KILL_SELF,	 /* the process that asked for it is killed before it takes effect */
	FAKE_KILL_AFTER, /* the same, after it took effect */
	FAKE_STOP,	 /* @stop is set, then the operation goes on */
	FAKE_DISK_FULL,	 /* the process @pid can write no file any more */
	FAKE_REMOVE,	 /* the card @slot leaves the bus, then the operation goes on */
};

struct fake_event {
	enum fake_event_kind kind;
	unsigned int at;
	int status;
	pid_t pid;
	const char *slot; /* "0000:01:00" */
};

/* A file or a link besides those of the PCI functions and drivers. What is written to a file, it
 * says from then on; the platform bus's bind and unbind do what they do in the kernel. */
struct fake_file {
	char path[112];
	char text[512]; /* of a link: the last component of its target */
	bool link;
	bool gone; /* for now: a bind brings it back */
};

struct fake {
	struct fake_file files[FAKE_FILES];
	size_t file_count;
	struct fake_function functions[FAKE_FUNCTIONS];
	size_t function_count;
	struct fake_driver drivers[FAKE_DRIVERS]; /* probed in this order, as registered */
	size_t driver_count;
	struct fake_module modules[FAKE_MODULES];
	size_t module_count;
	long vfio_owned_group;	/* somebody has it open through VFIO; -1: none */
	char vfio_options[128]; /* what modprobe.d and the command line give vfio-pci */
	bool no_modalias;	/* as in a tree that was captured without it */
	bool linux_6_1;		/* driver_override of a locked device hangs the reader, too */
	unsigned int operations;
	struct fake_event event;
	volatile sig_atomic_t stop;
	char writes[FAKE_WRITES_SIZE]; /* "PATH = VALUE\n" of every write and load that took effect
					*/
	size_t write_length;
};

struct fake *fake_new(void);
void fake_free(struct fake *fake);
struct kernel fake_kernel(struct fake *fake);

/* A host with two identical cards of three functions (display nouveau, audio snd_hda_intel, USB
 * xhci_hcd) at 01:00 (group 15, with its root port) and 02:00 (group 16), a NIC (e1000e) at 03:00.0
 * in group 17; vfio-pci is a module that is not loaded yet. */
void fake_fill(struct fake *fake);

void fake_add_file(struct fake *fake, const char *path, const char *text);
void fake_add_link(struct fake *fake, const char *path, const char *target);
/* NULL when there is none. */
struct fake_file *fake_file(struct fake *fake, const char *path);

/* The files of power and reset, as a device has them that its driver lets sleep: "auto", "active",
 * "1", "flr bus". */
void fake_add_power(struct fake *fake, const char *address);

struct fake_function *fake_function(struct fake *fake, const char *address);
struct fake_driver *fake_driver(struct fake *fake, const char *name);
struct fake_module *fake_module(struct fake *fake, const char *name);
struct fake_function *fake_add_function(struct fake *fake, const char *address,
	unsigned int class_code, long group, const char *driver);
struct fake_driver *fake_add_driver(struct fake *fake, const char *name, const char *module);

/* All functions of a card leave the bus: `echo 1 > remove`. A function comes to the bus, and the
 * kernel gives it to a driver; @as may be one that was there before, its driver and override do not
 * count. */
void fake_remove_card(struct fake *fake, const char *slot);
struct fake_function *fake_plug(
	struct fake *fake, const struct fake_function *as, const char *address);

/* Binding as it is now, to be compared: every function's driver and override, every dynamic id. The
 * text is malloced. */
char *fake_describe(const struct fake *fake);

/* The writes so far; starts anew, the count of operations too, and forgets the event. */
void fake_restart(struct fake *fake);
