# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# doctor on a real kernel: what it sees is so, and what it advises mends it.

# What doctor finds now, each check as "ID LEVEL MESSAGE", for assert_check.
look() { # [VMID]
	found=$(json doctor "$@" | jq -r '.checks[] | [.id, .level, .message] | join(" ")')
}

assert_check() { # PATTERN
	grep -qE "^$1" <<<"$found" || fail "no check '$1' in: $found"
}

# What mends the first check with that id that has something.
fix_of() { # ID
	json doctor | jq -r --arg id "$1" '[.checks[] | select(.id == $id and .fix)][0].fix'
}

test_doctor_of_a_host_that_is_ready() {
	assert_exit 0 gpu-ferry doctor
	assert_match "$out" '^= GPU-FERRY ='
	assert_match "$out" 'FAILURES: 0'
	look
	assert_check 'iommu pass the IOMMU is on: [0-9]+ groups'
	assert_check 'vfio_module pass'
	assert_check 'snippet pass'
	assert_check 'static_ids pass'
	assert_check "card_driver pass $card1.0: .*: bochs-drm"
	assert_check "card_group pass $card1.0: group"
	assert_check "card_bars info $card1.0: BAR 0 [0-9]+ MiB"
	assert_check "card_power pass $card1.0: in power state D0"
}

test_doctor_of_a_vm_and_its_card() {
	vm_with_card 104 "$short1"
	look 104
	assert_check 'vm_hookscript pass'
	assert_check 'vm_snippet pass'
	assert_check "vm_hostpci pass hostpci0 is there: $card1.0 $card1.1 $card1.2"
	start 104 --holder
	look 104
	assert_check "card_driver pass $card1.0: .* is lent .VM 104.; its home driver is bochs-drm"
	assert_check 'vm_hostpci pass'
	stop 104
	look
	assert_check "card_driver pass $card1.0: .*: bochs-drm"
}

test_doctor_works_for_any_user() {
	local user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	vm_with_card 104 "$short1"
	chmod 750 /etc/pve/nodes
	assert_exit 0 "${user[@]}" gpu-ferry doctor 104
	chmod 755 /etc/pve/nodes
	assert_match "$out" 'PASS: the IOMMU is on'
	assert_match "$out" 'SKIP: [^
]*run doctor as root'
}

test_what_doctor_advises_mends_it() {
	echo vfio-pci >"$pci/$card2.1/driver_override"
	printf '%s\n' '# a guide said so' 'blacklist vfio-pci' >/etc/modprobe.d/test-doctor.conf
	assert_exit 1 gpu-ferry doctor
	look
	assert_check "driver_override warn $card2.1"
	assert_check 'vfio_blocked fail /etc/modprobe.d/test-doctor.conf:2'
	bash -c "$(fix_of driver_override)"
	bash -c "$(fix_of vfio_blocked | sed 's/ && .*//')" # its first half: no new initramfs, no reboot
	assert_eq "$(cat /etc/modprobe.d/test-doctor.conf)" '# a guide said so'
	assert_exit 0 gpu-ferry doctor
	look
	assert_check "driver_override pass $card2.0"
}
