# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Cards on vfio-pci that no loan has: they go to the drivers that the kernel chooses.

test_unbind_of_a_card_that_was_bound_as_proxmox_does() {
	local n
	modprobe vfio-pci
	for n in 0 1 2; do
		echo "$card1.$n" >"$pci/$card1.$n/driver/unbind"
		cat "$pci/$card1.$n/vendor" "$pci/$card1.$n/device" | tr '\n' ' ' >/sys/bus/pci/drivers/vfio-pci/new_id
	done
	assert_card_lent "$card1"
	assert_exit 0 gpu-ferry status
	assert_match "$out" "$card1 is on vfio-pci, not lent"
	assert_exit 0 gpu-ferry unbind --dry-run "$short1"
	assert_match "$out" "$card1.0: from vfio-pci back to bochs-drm"
	assert_card_lent "$card1"
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_eq "$(loans)" '' "loans after"
	assert_home
}

test_unbind_after_the_loan_was_deleted() {
	assert_exit 0 gpu-ferry bind "$short1"
	rm -rf /run/gpu-ferry/loans
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_eq "$(loans)" '' "loans after"
	assert_home
}

test_unbind_of_a_card_that_a_vm_uses_without_a_loan_is_refused() {
	vm_with_card 104 "$short1"
	start 104 --holder
	rm -rf /run/gpu-ferry/loans
	assert_exit 1 gpu-ferry unbind "$short1"
	assert_one_line "$err"
	assert_match "$err" "104"
	assert_card_lent "$card1"
	stop 104
	assert_home
}

test_post_stop_after_the_loan_was_deleted() {
	vm_with_card 104 "$short1"
	start 104 --holder
	rm -rf /run/gpu-ferry
	stop 104
	assert_match "$(task_log 104)" "there is no loan any more"
	assert_eq "$(loans)" '' "loans after"
	assert_home
}
