# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Who uses the card through the nodes that all cards share, is named before anything is changed.

assert_refused() {
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$1"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
}

limit_users_are_named=300
test_users_are_named() {
	local node pid
	nvidia-modprobe -c 0 -c 255
	nvidia-modprobe -u -c 0
	nvidia-modprobe -m
	vm_with_card 104 "$short1"
	for node in nvidiactl nvidia-uvm nvidia-modeset; do
		say "$node, by a descriptor"
		hold "/dev/$node"
		assert_refused "in use by sleep \(PID $holder, $node\)"
		release
	done
	say "nvidia-uvm, by a mapping alone"
	uvm-mapping >"$scratch/mapped" &
	pid=$!
	echo $pid >>/run/tests.holders
	until grep -q mapped "$scratch/mapped"; do
		kill -0 $pid || fail "it cannot be mapped"
		sleep 0.1
	done
	assert_eq "$(find "/proc/$pid/fd" -lname '/dev/nvidia*')" '' "its descriptors of the driver"
	assert_refused "in use by uvm-mapping \(PID $pid, nvidia-uvm\)"
	release
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
	driver_anew
}

# A descriptor that is on its way through a socket is in no process: only the module counts it, for whatever card.
limit_user_that_no_process_lists_is_told=300
test_user_that_no_process_lists_is_told() {
	echo "$card2.0" >"$pci/$card2.0/driver/unbind"
	nvidia-modprobe -c 0 -c 255
	fd-in-flight /dev/nvidiactl >"$scratch/sent" &
	echo $! >>/run/tests.holders
	until grep -q sent "$scratch/sent"; do sleep 0.1; done
	vm_with_card 104 "$short1"
	assert_refused 'in use by the kernel \(a user of the module nvidia that no process lists\)'
	release
	assert_exit 0 gpu-ferry plan 104
	driver_anew
}
