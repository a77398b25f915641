# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What is otherwise on the host with NVIDIA's own driver. Its cards are made up (tests/host/modules/fakegpu.c): the
# driver takes them, but its /dev/nvidiaN cannot be opened, for there is no chip that would start. Home is the
# driver with nvidia_modeset and nvidia_drm, as Debian's package loads them at boot.

# one of them may be off the bus
card1=0000:01:00 card2=0000:02:00
short1=${card1#0000:} short2=${card2#0000:}

home_family='nvidia nvidia_drm nvidia_modeset '
# A start asks nvidia-smi, which loads one more; it gives no answer of a card that is made up.
asked_family="${home_family}nvidia_uvm "

family_loaded() {
	sed -n 's/^\(nvidia[a-z_]*\) .*/\1/p' /proc/modules | sort | tr '\n' ' '
}

assert_family() {
	assert_eq "$(family_loaded)" "$1" "what is loaded of the driver"
}

# The real one: no override was there before.
assert_card_home() {
	assert_driver "$1.0" nvidia
	assert_eq "$(tr -d '\n' <"$pci/$1.0/driver_override" | sed 's/(null)//')" '' "the override"
	assert_driver "$1.1" snd_hda_intel
	assert_driver "$1.2" xhci_hcd
}

minor_of() {
	sed -n 's/^Device Minor:[ \t]*//p' "/proc/driver/nvidia/gpus/$1.0/information"
}

# 0: the driver's probe fails from now on.
chip() {
	echo "$1" >/sys/module/fakegpu/parameters/chip
}

windows_with_card() {
	vm_with_card "$1" "$2"
	sed -i 's/ostype: l26/ostype: win11/' "/etc/pve/qemu-server/$1.conf"
}

driver_is_home() {
	local card
	[ "$(family_loaded)" = "$home_family" ] || return
	for card in "$card1" "$card2"; do
		[ "$(driver_of "$card.0")" = nvidia ] && [ -e "$pci/$card.0/drm" ] || return
	done
}

# All of the driver is loaded anew, with what modprobe.d says now, and has its cards. A card that comes after
# nvidia_drm would have no DRM node.
driver_anew() {
	local address
	rm -f /etc/modprobe.d/test-*
	chip 1
	[ -e "$pci/$card2.0" ] || echo 1 >/sys/bus/pci/rescan
	rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia 2>/dev/null || true
	modprobe nvidia
	for address in "$card1.0" "$card2.0"; do
		[ "$(driver_of "$address")" != none ] || echo "$address" >/sys/bus/pci/drivers_probe
	done
	modprobe nvidia-drm
	udevadm settle
}

# Called after each test, and to reset the host; ../lib.sh has its own for the stand-ins.
nvidia_gone() {
	rm -f /run/modprobe.d/*
	driver_is_home || driver_anew
}
