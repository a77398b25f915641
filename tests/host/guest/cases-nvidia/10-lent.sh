# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The card leaves NVIDIA's driver for a VM, and comes home.

limit_lent_and_back=300
test_lent_and_back() {
	assert_family "$home_family"
	assert_card_home "$card1"
	assert_eq "$(readlink -f /etc/modprobe.d/nvidia.conf)" /etc/nvidia/current/nvidia-modprobe.conf "Debian's install lines"
	vm_with_card 104 "$short1"
	start 104
	assert_card_lent "$card1"
	assert_card_home "$card2"
	[ ! -e "/proc/driver/nvidia/gpus/$card1.0" ] || fail "the driver still has the card"
	assert_eq "$(minor_of "$card2")" 1 "the other card's number"
	assert_family "$asked_family"
	stop 104
	assert_card_home "$card1"
	assert_eq "$(minor_of "$card1")" 0 "the card's number"
	assert_home
}

# nvidia_drm with modeset=1 keeps a card of these versions: it is unloaded, unless the other card uses it.
limit_modeset_is_unloaded_and_comes_back_with_its_parameters=300
test_modeset_is_unloaded_and_comes_back_with_its_parameters() {
	echo 'options nvidia-drm modeset=1' >/etc/modprobe.d/test-modeset.conf
	rmmod nvidia_drm
	modprobe nvidia-drm
	assert_eq "$(cat /sys/module/nvidia_drm/parameters/modeset)" Y
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$card1.0 cannot leave nvidia \(version [0-9.]+\): .* because $card2.0 uses nvidia too"
	assert_card_home "$card1"
	echo "$card2.0" >"$pci/$card2.0/driver/unbind"
	modprobe nvidia-uvm
	start 104 --holder
	assert_card_lent "$card1"
	assert_family 'nvidia '
	stop 104
	assert_card_home "$card1"
	assert_family "$asked_family"
	assert_eq "$(cat /sys/module/nvidia_drm/parameters/modeset)" Y "modeset after the return"
	driver_anew
}

# nvidia_drm, loaded anew during the loan, makes no node for a card that comes later.
limit_card_without_its_drm_node_is_told=300
test_card_without_its_drm_node_is_told() {
	local node
	vm_with_card 104 "$short1"
	node=$(cd "$pci/$card1.0/drm" && echo card*)
	start 104 --holder
	assert_card_lent "$card1"
	rmmod nvidia_drm
	modprobe nvidia-drm
	task stop 104 || fail "VM 104 does not stop"
	assert_card_home "$card1"
	[ ! -e "$pci/$card1.0/drm" ] || fail "it has a node of DRM"
	assert_match "$(task_log 104)" "$card1.0 had /dev/dri/$node before, .*run .rmmod nvidia_drm; modprobe nvidia_drm."
	say "what the message says"
	rmmod nvidia_drm
	modprobe nvidia_drm
	[ -e "$pci/$card1.0/drm" ] || fail "it has no node of DRM after that"
	driver_anew
}

# modeset=1 by hand: no file of modprobe.d has it.
limit_parameters_given_by_hand_come_back=300
test_parameters_given_by_hand_come_back() {
	rmmod nvidia_drm
	modprobe nvidia-drm modeset=1
	assert_eq "$(cat /sys/module/nvidia_drm/parameters/modeset)" Y
	echo "$card2.0" >"$pci/$card2.0/driver/unbind"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	assert_family 'nvidia '
	stop 104
	assert_card_home "$card1"
	assert_family "$asked_family"
	assert_eq "$(cat /sys/module/nvidia_drm/parameters/modeset)" Y "modeset after the return"
	! task_log 104 | grep 'modeset=Y before' || fail "modeset was given again, and is told as lost"
	driver_anew
}
