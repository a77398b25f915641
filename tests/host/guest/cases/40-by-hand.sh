# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# bind, unbind, list, status, plan: a person does what the hook does.

listed() {
	json list --all | jq -c --arg address "$1" '.[] | select(.address == $address)'
}

test_list_before_during_after() {
	assert_eq "$(listed "$card1.0" | jq -r '[.driver, .home_driver, .vendor_id, .device_id, .class, (.lent_to | tostring)] | join(" ")')" \
		'bochs-drm bochs-drm 1234 1111 0380 null'
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_eq "$(listed "$card1.0" | jq -c '[.driver, .home_driver, .lent_to]')" \
		'["vfio-pci","bochs-drm",{"kind":"vm","vmid":104}]'
	stop 104
	assert_eq "$(listed "$card1.0" | jq -c '[.driver, .home_driver, .lent_to]')" '["bochs-drm","bochs-drm",null]'
	assert_exit 0 gpu-ferry list
	assert_match "$out" bochs-drm
}

test_bind_and_unbind() {
	assert_exit 0 gpu-ferry bind "$short1"
	assert_card_lent "$card1"
	assert_card_home "$card2"
	assert_eq "$(json status | jq -c '.loans | map([.owner, .state, (.functions | length)])')" \
		'[[{"kind":"hand","vmid":null},"lent",3]]'
	assert_eq "$(json status | jq -r '.loans[0].functions | sort_by(.address) | map(.home_driver) | join(" ")')" \
		'bochs-drm snd_hda_intel xhci_hcd'
	assert_match "$(json status | jq -r '.loans[0].since')" '^20[0-9-]+T[0-9:.]+(Z|\+00:00)$'
	assert_exit 0 gpu-ferry status
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
}

test_bind_twice_is_no_harm() {
	assert_exit 0 gpu-ferry bind "$card1"
	gpu-ferry bind "$card1" || true
	assert_card_lent "$card1"
	assert_exit 0 gpu-ferry unbind "$card1.0"
	assert_card_home "$card1"
}

test_dry_run_changes_nothing() {
	assert_exit 0 gpu-ferry bind --dry-run "$short1"
	assert_card_home "$card1"
	assert_eq "$(loans)" ''
}

test_plan_tells_and_changes_nothing() {
	vm_with_card 104 "$short1"
	assert_exit 0 gpu-ferry plan 104
	assert_card_home "$card1"
	assert_exit 0 gpu-ferry plan 104 --output-format json
	assert_eq "$(jq -c '[.vmid, .ostype, .devices[0].hostpci, .devices[0].addresses]' <<<"$out")" \
		"[104,\"l26\",0,[\"$card1.0\",\"$card1.1\",\"$card1.2\"]]"
	assert_eq "$(jq -c '.blockers' <<<"$out")" '[]'
	assert_eq "$(jq -r '.functions | map(.target) | unique | join(" ")' <<<"$out")" vfio-pci
	assert_match "$(jq -r '.steps | length' <<<"$out")" '^[1-9]'
	assert_eq "$(loans)" ''
}

# The steps of the plan are the steps of the run: the same functions end where it said.
test_plan_of_a_lent_card_names_the_blocker() {
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short1"
	start 104 --holder
	assert_exit 1 gpu-ferry plan 105 --output-format json
	assert_match "$(jq -r '.blockers[0].code' <<<"$out")" '^(reserved|held)$'
	stop 104
}

# It cannot be opened twice: the start says who has it, before QEMU fails.
test_card_lent_by_hand_and_in_use_is_refused() {
	vm_with_card 104 "$short1"
	assert_exit 0 gpu-ferry bind "$short1"
	hold "/dev/vfio/$(basename "$(readlink "$pci/$card1.0/iommu_group")")"
	assert_exit 1 gpu-ferry plan 104
	assert_match "$out" "$card1.0 is lent by hand and in use by sleep \(PID $holder"
	assert_exit 1 "$hook" 104 pre-start
	release
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_home
}

# The hand lent it first, so the hand has it again when the VM is done.
test_vm_borrows_card_lent_by_hand() {
	assert_exit 0 gpu-ferry bind "$short1"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_card_lent "$card1"
	assert_eq "$(json status | jq -c '.loans | map(.owner)')" '[{"kind":"hand","vmid":null}]'
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_card_home "$card1"
}

test_unbind_of_a_running_vms_card_is_refused() {
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_exit 1 gpu-ferry unbind "$short1"
	assert_one_line "$err"
	assert_match "$err" 104
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}

test_nothing_to_unbind() {
	gpu-ferry unbind "$short1" || true
	assert_card_home "$card1"
}

test_wrong_use() {
	assert_exit 2 gpu-ferry
	assert_exit 2 gpu-ferry bind
	assert_exit 2 gpu-ferry plan
	assert_exit 2 gpu-ferry plan abc
	assert_exit 2 gpu-ferry nonsense
	assert_exit 2 gpu-ferry list --no-such-option
	assert_exit 0 gpu-ferry --help
	assert_exit 0 gpu-ferry --version
}
