# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# While a Windows guest has the card, NVIDIA's driver stays out of memory, whoever asks for it.

blacklist=/run/modprobe.d/gpu-ferry-104.conf

# nvidia-modprobe may be run by anybody: it loads the driver by name, which no blacklist stops.
assert_nobody_loads_it() {
	nvidia-modprobe -c 0 || true
	nvidia-modprobe -m || true
	nvidia-modprobe -u -c 0 || true
	modprobe "$(cat "$pci/$card1.0/modalias")" || true
	modprobe nvidia-drm || true
	assert_family ''
}

limit_windows_guest_alone=300
test_windows_guest_alone() {
	local n
	# the whole card, or the display would have other ways of reset than before
	for n in 2 1 0; do
		echo 1 >"$pci/$card2.$n/remove"
	done
	rmmod nvidia_drm
	modprobe nvidia-drm fbdev=1
	assert_eq "$(cat /sys/module/nvidia_drm/parameters/fbdev)" Y
	windows_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	assert_family ''
	grep -qx 'blacklist nvidia' $blacklist || fail "nvidia is not blacklisted"
	grep -qx 'blacklist nouveau' $blacklist || fail "nouveau is not blacklisted"
	assert_nobody_loads_it
	stop 104
	assert_card_home "$card1"
	assert_family "$asked_family"
	assert_eq "$(cat /sys/module/nvidia_drm/parameters/fbdev)" Y "a parameter that was given by hand"
	driver_anew
}

# The other card keeps the driver.
limit_windows_guest_beside_a_card_in_use=300
test_windows_guest_beside_a_card_in_use() {
	windows_with_card 104 "$short1"
	start 104 --holder
	assert_match "$(task_log 104)" "nvidia stays loaded, because $card2.0 uses it too: only the card is taken"
	assert_card_lent "$card1"
	assert_card_home "$card2"
	assert_family "$asked_family"
	stop 104
	assert_home
}

# The other card has no driver: it would be taken by the first program that asks for one.
limit_windows_guest_beside_a_card_without_a_driver=300
test_windows_guest_beside_a_card_without_a_driver() {
	echo "$card2.0" >"$pci/$card2.0/driver/unbind"
	windows_with_card 104 "$short1"
	start 104 --holder
	assert_family ''
	assert_nobody_loads_it
	assert_driver "$card2.0" none
	say "a second Windows guest, and the first one stops: its card needs the driver"
	windows_with_card 105 "$short2"
	start 105 --holder
	stop 104
	assert_card_home "$card1"
	assert_family "$asked_family"
	stop 105
	assert_driver "$card2.0" none
	driver_anew
}
