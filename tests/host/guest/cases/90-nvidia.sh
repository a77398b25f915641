# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# NVIDIA's stack: test modules with its names, nodes and manners stand in for it.

assert_nvidia_home() {
	assert_driver "$1.0" nvidia
	assert_eq "$(tr -d '\n' <"$pci/$1.0/driver_override")" nvidia "the override that was there before"
	assert_driver "$1.1" snd_hda_intel
	assert_driver "$1.2" xhci_hcd
}

# As the test found it, but for the cards that are the stand-ins'.
assert_nvidia_left() {
	nvidia_gone
	assert_home
}

# From 580.105.08 nvidia_drm lets go of a card that leaves: its modules and the other card stay.
test_nvidia_card_is_unbound_alone_where_the_driver_lets_go() {
	nvidia_come "$card1" "$card2"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	assert_driver "$card2.0" nvidia
	[ -e /dev/nvidia1 ] || fail "the other card's node is gone"
	[ ! -e "/proc/driver/nvidia/gpus/$card1.0" ] || fail "the driver still has the card"
	grep -q '^nvidia_drm ' /proc/modules || fail "nvidia_drm was unloaded"
	stop 104
	assert_nvidia_home "$card1"
	assert_match "$(cat "/proc/driver/nvidia/gpus/$card1.0/information")" 'Device Minor: 	 0'
	assert_nvidia_left
}
