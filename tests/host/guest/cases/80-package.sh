# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Removing the package while guests still name its hookscript. Last, for it takes away what the other
# tests are about, and puts it back.

snippet=/var/lib/vz/snippets/gpu-ferry

limit_removal_is_refused_while_a_card_is_lent=120
test_removal_is_refused_while_a_card_is_lent() {
	vm_with_card 104 "$short1"
	start 104 --holder
	! dpkg -r gpu-ferry >"$scratch/dpkg" 2>&1 || fail "removed, and VM 104 has the card"
	assert_match "$(cat "$scratch/dpkg")" 'VM 104'
	assert_eq "$(readlink "$snippet")" /usr/libexec/gpu-ferry/hookscript
	stop 104
	assert_card_home "$card1"
}

limit_removal_leaves_a_stub_that_lets_guests_start=120
test_removal_leaves_a_stub_that_lets_guests_start() {
	vm_with_card 104 "$short1"
	dpkg -r gpu-ferry || fail "not removed"
	[ -f "$snippet" ] && [ ! -L "$snippet" ] && [ -x "$snippet" ] || fail "no stub"
	assert_match "$("$snippet" 104 pre-start 2>&1)" 'removed'
	"$snippet" 104 pre-start 2>/dev/null || fail "the stub keeps VM 104 from starting"
	dpkg -i /tests/gpu-ferry.deb || fail "not installed over the stub"
	assert_eq "$(readlink "$snippet")" /usr/libexec/gpu-ferry/hookscript

	say "without a guest that names it there is no stub, and purge leaves nothing"
	rm -f /etc/pve/qemu-server/*.conf
	dpkg -P gpu-ferry || fail "not purged"
	[ ! -e "$snippet" ] && [ ! -e /etc/gpu-ferry ] && [ ! -e /var/lib/gpu-ferry ] || fail "purge left something"
	dpkg -i /tests/gpu-ferry.deb || fail "not installed again"
	systemctl is-active -q gpu-ferry-watch.path || fail "the watch's path unit is not active"
}

limit_setup_can_be_undone_after_a_purge=120
test_setup_can_be_undone_after_a_purge() {
	# the image has no /boot: without this the maker of the processor would decide
	printf '\nCONFIG_INTEL_IOMMU_DEFAULT_ON=y\n' >"/boot/config-$(uname -r)"
	local physical rules=/etc/udev/rules.d/90-gpu-ferry-vfs.rules
	physical=$(basename "$(dirname "$(compgen -G "$pci/*/sriov_totalvfs")")")
	assert_exit 0 gpu-ferry setup --vfs "$physical=1" --apply
	grep -q "$physical" $rules || fail "no rule was written"
	assert_exit 0 gpu-ferry setup --apply
	assert_match "$out" 'Nothing to do'
	assert_exit 0 dpkg -P gpu-ferry
	assert_match "$err" 'kept the originals'
	dpkg -i /tests/gpu-ferry.deb || fail "not installed again"
	assert_exit 0 gpu-ferry undo --apply
	[ ! -e $rules ] && [ ! -e /var/lib/gpu-ferry ] || fail "not undone"
	rm "/boot/config-$(uname -r)"
}
