# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Resource mappings: which card a VM gets is Proxmox's choice, made after pre-start.

vm_with_mapping() {
	vm_config "$1" <<-END
		machine: q35
		hostpci0: mapping=$2,pcie=1,vendor-id=0x10de,device-id=0x2704
	END
}

# The VM that a card is lent to, from `gpu-ferry list`.
lent_to() {
	json list --all |
		jq -r --arg address "$1.0" '.[] | select(.address == $address) | .lent_to.vmid'
}

# A reservation file says which card QEMU got.
proxmox_gave() {
	grep -q "^$2.0 $1 pid:" /run/qemu-server/pci-id-reservations
}

test_mapping_with_one_alternative() {
	mapping gpu "$card2"
	vm_with_mapping 104 gpu
	start 104 --holder
	assert_card_lent "$card2"
	assert_card_home "$card1"
	stop 104
	assert_card_home "$card2"
}

test_two_vms_share_two_alternatives() {
	mapping gpu "$card1" "$card2"
	vm_with_mapping 104 gpu
	vm_with_mapping 105 gpu
	start 104 --holder
	assert_card_lent "$card1"
	assert_card_home "$card2"
	start 105 --holder
	assert_card_lent "$card2"
	assert_eq "$(lent_to "$card1")" 104
	assert_eq "$(lent_to "$card2")" 105
	stop 104
	assert_card_home "$card1"
	assert_card_lent "$card2"
	stop 105
	assert_card_home "$card2"
}

test_third_vm_finds_both_alternatives_taken() {
	mapping gpu "$card1" "$card2"
	vm_with_mapping 104 gpu
	vm_with_mapping 105 gpu
	vm_with_mapping 106 gpu
	start 104 --holder
	start 105 --holder
	assert_exit 255 pve-vm start 106 --holder
	assert_match "$out" 'hookscript error for 106 on pre-start'
	assert_card_lent "$card1"
	assert_card_lent "$card2"
	stop 105
	stop 104
}

# Both have chosen card1 when neither has it yet: one of them has to choose again.
test_two_vms_of_a_mapping_start_at_once() {
	local lock group pids=() vmid
	mapping gpu "$card1" "$card2"
	vm_with_mapping 104 gpu
	vm_with_mapping 105 gpu
	mkdir -p /run/gpu-ferry/locks
	group=$(basename "$(readlink "$pci/$card1.0/iommu_group")")
	exec {lock}>/run/gpu-ferry/locks/group-"$group"
	flock $lock
	for vmid in 104 105; do
		pve-vm start $vmid --holder >"$scratch/start.$vmid" 2>&1 {lock}>&- &
		pids+=($!)
	done
	until [ "$(find /proc/[0-9]*/fd -lname "*/locks/group-$group" 2>/dev/null | wc -l)" -ge 3 ]; do sleep 0.05; done
	flock -u $lock
	exec {lock}>&-
	wait "${pids[0]}" || fail "VM 104 does not start: $(cat "$scratch/start.104")"
	wait "${pids[1]}" || fail "VM 105 does not start: $(cat "$scratch/start.105")"
	assert_card_lent "$card1"
	assert_card_lent "$card2"
	assert_eq "$(printf '%s\n' "$(lent_to "$card1")" "$(lent_to "$card2")" | sort | tr '\n' ' ')" '104 105 '
	stop 104
	stop 105
	assert_card_home "$card1"
	assert_card_home "$card2"
}

# While 104 is slow (its disks), 105 starts: the hook has lent card1 to 104 and card2 to 105, but
# Proxmox gives card1 to 105, whose turn comes first, and card2 to 104.
test_starting_vms_swap_their_cards() {
	mapping gpu "$card1" "$card2"
	vm_with_mapping 104 gpu
	vm_with_mapping 105 gpu
	pve-vm start 104 --holder --until "$scratch/go" >"$scratch/slow" 2>&1 &
	local slow=$!
	await_loan 104 lent
	task start 105 --holder || fail "VM 105 does not start"
	touch "$scratch/go"
	wait $slow || fail "VM 104 does not start: $(cat "$scratch/slow")"
	cat "$scratch/slow"
	! grep -h new_id "$scratch/slow" "$scratch/task.105" || fail "Proxmox had to bind"
	if ! proxmox_gave 105 "$card1" || ! proxmox_gave 104 "$card2"; then
		fail "the VMs did not swap: this test tests nothing"
	fi
	assert_eq "$(lent_to "$card1")" 105
	assert_eq "$(lent_to "$card2")" 104

	stop 105
	assert_card_home "$card1"
	assert_card_lent "$card2"
	stop 104
	assert_card_home "$card2"
}

test_unknown_mapping_is_refused() {
	mapping gpu "$card1"
	vm_with_mapping 104 other
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_card_home "$card1"
}

test_both_cards_for_one_vm() {
	vm_config 104 <<-END
		machine: q35
		hostpci0: $short1,pcie=1
		hostpci1: $short2,pcie=1
	END
	start 104 --holder
	assert_card_lent "$card1"
	assert_card_lent "$card2"
	stop 104
	assert_card_home "$card1"
	assert_card_home "$card2"
}

test_card_of_a_running_vm_is_refused_to_another() {
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short1"
	start 104 --holder
	assert_exit 1 "$hook" 105 pre-start
	assert_one_line "$err"
	assert_match "$err" 104
	assert_card_lent "$card1"
	assert_eq "$(lent_to "$card1")" 104
	stop 104
	assert_card_home "$card1"
}
