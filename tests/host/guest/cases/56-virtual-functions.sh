# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# SR-IOV: the test host's second NVMe device makes real virtual functions.

physical=$(basename "$(dirname "$(compgen -G "$pci/*/sriov_totalvfs")")")
virtual=${physical%.*}.1

count_vfs() {
	compgen -G "$pci/$physical/virtfn*" | wc -l
}

# The emulated ones are no disks: nvme lets go of each again.
make_vfs() { # NUMBER
	local n
	echo 0 >"$pci/$physical/sriov_numvfs"
	echo "$1" >"$pci/$physical/sriov_numvfs"
	udevadm settle
	for n in {1..100}; do
		[ "$1" != 0 ] && [ "$(driver_of "$virtual")" != none ] || break
		sleep 0.1
	done
}

test_virtual_function_is_lent_like_any_other() {
	make_vfs 2
	vm_with_card 104 "$virtual"
	assert_exit 0 gpu-ferry plan 104
	start 104
	assert_driver "$virtual" vfio-pci
	stop 104
	assert_driver "$virtual" none
	assert_eq "$(loans)" '' "loans after"
	assert_eq "$(count_vfs)" 2
	make_vfs 0
}

test_physical_function_stays_while_a_virtual_one_is_lent() {
	make_vfs 2
	assert_exit 0 gpu-ferry bind "$virtual"
	vm_with_card 104 "$physical"
	assert_exit 1 gpu-ferry plan 104
	assert_match "$out" "$physical cannot leave its driver, which would remove its virtual functions: $virtual .by hand."
	assert_exit 1 "$hook" 104 pre-start
	assert_driver "$physical" nvme
	assert_driver "$virtual" vfio-pci
	assert_eq "$(count_vfs)" 2
	assert_exit 0 gpu-ferry unbind "$virtual"
	assert_eq "$(count_vfs)" 2
	make_vfs 0
}

# The rule of setup makes them: with the driver, and so again after a loan of the whole function.
test_setup_makes_virtual_functions() {
	make_vfs 0
	assert_exit 1 gpu-ferry setup --vfs "$physical=4"
	assert_match "$err" "$physical can have 3 virtual functions, not 4"
	assert_exit 0 gpu-ferry setup --vfs "$physical=3" --apply
	udevadm control --reload
	udevadm trigger --action=add "$pci/$physical"
	udevadm settle
	assert_eq "$(count_vfs)" 3
	vm_with_card 104 "$physical"
	start 104
	assert_driver "$physical" vfio-pci
	assert_match "$(task_log 104)" "3 virtual functions that nobody uses"
	stop 104
	udevadm settle
	assert_driver "$physical" nvme
	assert_eq "$(count_vfs)" 3
	assert_exit 0 gpu-ferry undo --apply
	[ ! -e /etc/udev/rules.d/90-gpu-ferry-vfs.rules ] || fail "the rule is there after undo"
	udevadm control --reload
	make_vfs 0
}
