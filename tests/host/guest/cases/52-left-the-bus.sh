# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A card that leaves the bus while it is lent, as one in a Thunderbolt case does.

pull() { # NUMBER…: functions of the first card
	local n
	for n; do
		echo 1 >"$pci/$card1.$n/remove"
	done
}

plug() {
	echo 1 >/sys/bus/pci/rescan
	udevadm settle
	state_wait_settled
}

test_card_leaves_while_lent_by_hand() {
	assert_exit 0 gpu-ferry bind "$short1"
	pull 0 1 2
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_one_line "$out"
	assert_match "$out" "$card1.0 left the bus while it was lent by hand: nothing to return"
	assert_eq "$(loans)" '' "loans after"
	plug
	assert_home
}

test_reconcile_ends_the_loan_by_hand_of_a_card_that_left() {
	assert_exit 0 gpu-ferry bind "$short1"
	pull 0 1 2
	assert_exit 0 gpu-ferry reconcile
	assert_eq "$(loans)" '' "loans after"
	plug
	assert_home
}

test_card_that_came_back_is_at_home_already() {
	assert_exit 0 gpu-ferry bind "$short1"
	pull 0 1 2
	plug
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_match "$out" "$card1.0 is on bochs-drm already"
	assert_eq "$(loans)" '' "loans after"
	assert_home
}

# The kernel waits in `remove` until the VM has closed the card: it goes when the VM ends, and so at the
# same time as the return.
test_card_leaves_a_running_vm() {
	vm_with_card 104 "$short1"
	start 104 --holder
	pull 0 1 2 &
	sleep 1
	[ -e "$pci/$card1.0" ] || fail "it left a VM that had it open"
	stop 104
	wait $!
	[ ! -e "$pci/$card1.0" ] || fail "it did not leave"
	assert_eq "$(loans)" '' "loans after"
	plug
	assert_home
}

test_one_function_leaves_and_the_others_come_home() {
	vm_with_card 104 "$short1"
	start 104 --holder
	pull 1 &
	sleep 1
	stop 104
	wait $!
	assert_driver "$card1.0" bochs-drm
	assert_driver "$card1.2" xhci_hcd
	assert_eq "$(loans)" '' "loans after"
	plug
	assert_home
}

test_start_while_the_card_is_away() {
	vm_with_card 104 "$short1"
	pull 0 1 2
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "hostpci0: .*is not on this host now"
	assert_eq "$(loans)" '' "loans after"
	plug
	assert_home
}
