# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The main job: out at pre-start, in a real QEMU, home at post-stop.

guest_sees() {
	local n
	# QEMU shows what is behind a port once the guest's firmware has numbered the buses.
	for n in {1..40}; do
		pve-vm monitor "$1" 'info pci' >"$scratch/pci"
		! grep -q "$2" "$scratch/pci" || return 0
		sleep 0.5
	done
	cat "$scratch/pci"
	fail "the guest of VM $1 does not see $2"
}

test_round_trip() {
	assert_card_home "$card1"
	assert_eq "$(nodes_of "$card1" | wc -l)" 4 "nodes of the card before"
	nodes_of "$card1" >"$scratch/before"
	vm_with_card 104 "$short1"

	start 104
	assert_card_lent "$card1"
	assert_eq "$(nodes_of "$card1")" '' "nodes of the card during"
	while read -r node; do
		[ ! -e "$node" ] || [[ $node != /dev/* ]] || fail "$node is still there"
	done <"$scratch/before"
	assert_eq "$(loans | wc -l)" 1 "loans during"
	guest_sees 104 10de:2704
	guest_sees 104 "$(sed -n 's/^0x//p' "$pci/$card1.1/vendor"):$(sed -n 's/^0x//p' "$pci/$card1.1/device")"
	guest_sees 104 "$(sed -n 's/^0x//p' "$pci/$card1.2/vendor"):$(sed -n 's/^0x//p' "$pci/$card1.2/device")"

	stop 104
	assert_card_home "$card1"
	assert_eq "$(ls -d /dev/dri/card* | wc -l)" 2 "nodes in /dev/dri when post-stop returns"
	assert_eq "$(loans)" '' "loans after"
	assert_home
	# each has the lowest number that is free, which after boot need not be the one that it had
	assert_eq "$(nodes_of "$card1" | sed 's/[0-9]*$//')" "$(sed 's/[0-9]*$//' "$scratch/before")" \
		"nodes of the card after"
}

# The lighter holder for all but the first: what repeats is the host's side.
limit_ten_round_trips_leave_no_trace=400
test_ten_round_trips_leave_no_trace() {
	local n holder=''
	vm_with_card 104 "$short1"
	for n in {1..10}; do
		# shellcheck disable=SC2086 # no word when empty
		start 104 $holder
		assert_card_lent "$card1"
		stop 104
		assert_card_home "$card1"
		holder=--holder
	done
	assert_home

	say "an id left in new_id would send the unbound twin to vfio-pci"
	echo "$card2.0" >"$pci/$card2.0/driver/unbind"
	assert_driver "$card2.0" none
	echo "$card2.0" >/sys/bus/pci/drivers_probe
	assert_driver "$card2.0" bochs-drm
}

test_twin_and_nic_untouched() {
	udevadm monitor --kernel --subsystem-match=pci --subsystem-match=drm --subsystem-match=sound \
		--subsystem-match=usb --subsystem-match=net >"$scratch/events" &
	local monitor=$!
	sleep 1
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_home "$card2"
	assert_driver "$nic" e1000e
	stop 104
	sleep 1
	kill $monitor
	grep -q "$card1" "$scratch/events" || fail "no event for the card itself: this test sees nothing"
	! grep -E "$card2|$nic" "$scratch/events" || fail "the kernel reports changes of the others"
}

test_killed_qemu_gives_card_back() {
	vm_with_card 104 "$short1"
	start 104
	task kill 104
	! task_log 104 | grep WARN || fail "post-stop failed"
	assert_card_home "$card1"
}

test_power_off_in_the_guest_gives_card_back() {
	vm_with_card 104 "$short1"
	start 104 --holder
	task poweroff 104
	! task_log 104 | grep WARN || fail "post-stop failed"
	assert_card_home "$card1"
}

test_reboot_by_proxmox() {
	vm_with_card 104 "$short1"
	start 104 --holder
	task reboot 104 --holder
	! task_log 104 | grep -E 'WARN|new_id' || fail "reboot with complaints"
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}

test_function_named_alone_takes_its_group() {
	vm_config 104 <<-END
		machine: q35
		hostpci0: $short1.0,pcie=1
	END
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}

test_failed_start_is_put_right_by_reconcile() {
	vm_with_card 104 "$short1"
	assert_exit 255 pve-vm start 104 --fail-start
	# Nobody calls post-stop. The watch may be faster than this command.
	assert_exit 0 gpu-ferry reconcile
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
}

test_missing_post_stop_is_put_right_by_reconcile() {
	vm_with_card 104 "$short1"
	start 104 --holder
	task stop 104 --no-post-stop
	assert_exit 0 gpu-ferry reconcile
	assert_card_home "$card1"
}

# The guest must not lose its card to somebody's idea of order.
test_reconcile_leaves_a_running_vm_alone() {
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_exit 0 gpu-ferry reconcile
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}
