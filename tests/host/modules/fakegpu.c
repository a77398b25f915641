// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes NVIDIA GPUs (an RTX 4080, chip AD103) of the bochs-displays behind root ports, as far as
 * the probe of NVIDIA's own driver looks: ids, an interrupt pin, and two registers that name the
 * chip.
 *
 * The registers are in the display's memory, BAR 0: it keeps them while the card is lent. The ids
 * are answered by the bus's access to configuration space, for function 0 of each; so all functions
 * are found anew. Parameter: chip   0: the registers are empty, and the driver's probe fails; may
 * be changed at any time
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>

#define CARD_COUNT 4
#define REGISTERS_SIZE 0x1000
#define BOOT_0 0x0
#define BOOT_42 0xa00

static const struct {
	int where;
	u32 value, mask;
} words[] = {
	{PCI_VENDOR_ID, 0x270410de, ~0u},
	{PCI_CLASS_REVISION, 0x030000a1, ~0u},
	{PCI_SUBSYSTEM_VENDOR_ID, 0x88dc1043, ~0u},
	/* the interrupt pin; the line is the kernel's */
	{PCI_INTERRUPT_LINE, 0x00000100, 0x0000ff00},
};

static struct pci_bus *buses[CARD_COUNT];
static unsigned int bus_count;
static struct pci_ops *hardware;
static bool chip = true;

static int read_config(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	int result = hardware->read(bus, devfn, where, size, value);
	unsigned int shift = 8 * (where & 3), i;

	for (i = 0; devfn == 0 && i < ARRAY_SIZE(words); i++) {
		u32 mask = words[i].mask >> shift;

		if (words[i].where != (where & ~3))
			continue;
		if (size < 4)
			mask &= (1u << 8 * size) - 1;
		*value = (*value & ~mask) | ((words[i].value >> shift) & mask);
	}
	return result;
}

static int write_config(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	return hardware->write(bus, devfn, where, size, value);
}

static struct pci_ops made_up = {.read = read_config, .write = write_config};

static void write_registers(struct pci_bus *bus)
{
	struct pci_dev *device = pci_get_slot(bus, 0);
	void __iomem *registers;
	u16 command;

	if (!device)
		return;
	pci_read_config_word(device, PCI_COMMAND, &command);
	pci_write_config_word(device, PCI_COMMAND, command | PCI_COMMAND_MEMORY);
	registers = pci_iomap(device, 0, REGISTERS_SIZE);
	if (registers) {
		writel(chip ? 0x193000a1 : 0, registers + BOOT_0);
		writel(chip ? 0x193a1000 : 0, registers + BOOT_42);
		pci_iounmap(device, registers);
	}
	pci_write_config_word(device, PCI_COMMAND, command);
	pci_dev_put(device);
}

static int set_chip(const char *text, const struct kernel_param *parameter)
{
	int error = param_set_bool(text, parameter);
	unsigned int i;

	for (i = 0; !error && i < bus_count; i++)
		write_registers(buses[i]);
	return error;
}

static const struct kernel_param_ops chip_ops = {.set = set_chip, .get = param_get_bool};
module_param_cb(chip, &chip_ops, &chip, 0644);

/* All functions: removing the first alone would change what ways of reset the others have. */
static void find_anew(struct pci_bus *bus)
{
	struct pci_dev *device, *next;

	pci_lock_rescan_remove();
	list_for_each_entry_safe_reverse(device, next, &bus->devices, bus_list)
		pci_stop_and_remove_bus_device(device);
	pci_rescan_bus(bus);
	pci_unlock_rescan_remove();
}

static int __init fakegpu_init(void)
{
	struct pci_dev *device = NULL;
	unsigned int i;

	while ((device = pci_get_device(0x1234, 0x1111, device))) {
		if (!pci_is_root_bus(device->bus) && bus_count < CARD_COUNT)
			buses[bus_count++] = device->bus;
	}
	for (i = 0; i < bus_count; i++) {
		write_registers(buses[i]);
		hardware = buses[i]->ops;
		pci_bus_set_ops(buses[i], &made_up);
		find_anew(buses[i]);
	}
	return bus_count ? 0 : -ENODEV;
}

/* No exit: the cards stay. */
module_init(fakegpu_init);
MODULE_DESCRIPTION("gpu-ferry test: a display that NVIDIA's driver takes for a GPU");
MODULE_LICENSE("GPL");
