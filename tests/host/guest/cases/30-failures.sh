# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What goes wrong on the way out is undone; what goes wrong on the way home is said, and owed.

start_is_refused() {
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	# The same through Proxmox: its own bind must not get the chance.
	! task start 104 || fail "the VM starts"
	assert_match "$(task_log 104)" 'hookscript error for 104 on pre-start'
	assert_card_home "$card1"
	assert_home
}

test_vfio_pci_missing() {
	vfio_unload
	module_hide vfio-pci
	start_is_refused
	assert_match "$err" 'vfio[-_]pci'
}

test_vfio_pci_forbidden() {
	vfio_unload
	printf 'blacklist vfio-pci\ninstall vfio-pci /bin/false\n' >/etc/modprobe.d/test-vfio.conf
	start_is_refused
	assert_match "$err" vfio
}

# `blacklist` alone: modprobe by name, as Proxmox does it, would load the module all the same. A
# person who wrote the line did not want that: it is an error here, before anything has moved.
test_vfio_pci_blacklisted() {
	vfio_unload
	echo 'blacklist vfio-pci' >/etc/modprobe.d/test-vfio.conf
	start_is_refused
	assert_match "$err" blacklist
}

test_probe_that_fails_on_the_way_out() {
	modprobe probefail
	assert_exit 1 gpu-ferry bind "$short1" --driver probefail
	assert_one_error "$err"
	assert_match "$err" probefail
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
}

test_driver_that_does_not_exist() {
	assert_exit 1 gpu-ferry bind "$short1" --driver no-such-driver
	assert_one_line "$err"
	assert_match "$err" no-such-driver
	assert_card_home "$card1"
}

# probefail is the home driver of the USB function, and works when the card leaves.
lend_with_probefail_at_home() {
	modprobe probefail
	echo 0 >/sys/module/probefail/parameters/fail
	adopt "$card1.2" probefail
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
}

owed_function_comes_home() {
	assert_exit 0 gpu-ferry reconcile
	assert_driver "$card1.2" probefail
	assert_eq "$(tr -d '\n' <"$pci/$card1.2/driver_override")" probefail "the override that was there before"
	assert_eq "$(loans)" '' "loans after"
	host_reset >/dev/null 2>&1 || true
}

test_probe_that_fails_on_the_way_home_is_owed() {
	lend_with_probefail_at_home
	echo 1 >/sys/module/probefail/parameters/fail
	task stop 104
	assert_match "$(task_log 104)" "WARN: hookscript error for 104 on post-stop: .* exit code 1"
	assert_match "$(task_log 104)" "$card1.2"
	say "the others are home"
	assert_driver "$card1.0" bochs-drm
	assert_driver "$card1.1" snd_hda_intel
	assert_eq "$(json status | jq -r '.loans[0].state')" owed
	echo 0 >/sys/module/probefail/parameters/fail
	owed_function_comes_home
}

test_home_driver_gone_is_owed() {
	lend_with_probefail_at_home
	rmmod probefail
	module_hide probefail
	echo 'options probefail fail=0' >/etc/modprobe.d/test-probefail.conf
	task stop 104
	assert_match "$(task_log 104)" "WARN: hookscript error for 104 on post-stop: .* exit code 1"
	assert_match "$(task_log 104)" probefail
	assert_driver "$card1.0" bochs-drm
	modules_restore
	owed_function_comes_home
}

# The kernel refuses the Nth write to a file: everything before it is undone.
fail_half_way() {
	local file=$1 n=$2
	# What the card was before, its numbers aside.
	vm_with_card 104 "$short1"
	modprobe vfio-pci
	assert_exit 1 strace -f --seccomp-bpf -qq -o "$scratch/trace" -P "$file" -e trace=write -e inject=write:error=EIO:when="$n" \
		"$hook" 104 pre-start
	grep -q INJECTED "$scratch/trace" || fail "no write to $file failed: this test tests nothing"
	assert_one_error "$err"
	say "by the hook itself: the watch would do the same 5 s later"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	assert_home
}

# Files that only the way out writes: the undo, in a process of its own, must not fail as well. The
# consumers go first, the GPU last.
limit_failure_half_way_is_undone=240
test_failure_half_way_is_undone() {
	fail_half_way /sys/bus/pci/drivers/snd_hda_intel/unbind 1
	fail_half_way /sys/bus/pci/drivers/xhci_hcd/unbind 1
	fail_half_way /sys/bus/pci/drivers/bochs-drm/unbind 1
}

# Nothing that binds works any more, the undo neither: that is owed, and comes home later.
test_undo_that_fails_too_is_owed() {
	vm_with_card 104 "$short1"
	modprobe vfio-pci
	assert_exit 1 strace -f --seccomp-bpf -qq -o "$scratch/trace" -P /sys/bus/pci/drivers/vfio-pci/bind \
		-P /sys/bus/pci/drivers/snd_hda_intel/bind -e trace=write -e inject=write:error=EIO "$hook" 104 pre-start
	grep -q INJECTED "$scratch/trace" || fail "no write failed: this test tests nothing"
	assert_match "$err" owed
	assert_exit 0 gpu-ferry reconcile
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
}

test_device_that_is_not_there() {
	vm_with_card 104 0a:00
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" '0a:00'
}

# A function without a driver had none: that is its home.
test_function_without_driver_comes_home_without() {
	echo "$card1.1" >"$pci/$card1.1/driver/unbind"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_driver "$card1.0" bochs-drm
	assert_driver "$card1.1" none
	assert_driver "$card1.2" xhci_hcd
	host_reset >/dev/null 2>&1 || true
}

# A static set-up, as guides on the web have it: the card is vfio-pci's before we come, and stays so.
test_card_on_vfio_pci_from_boot_stays_there() {
	local n
	modprobe vfio-pci
	for n in 0 1 2; do
		adopt "$card1.$n" vfio-pci
	done
	vm_with_card 104 "$short1"
	start 104 --holder
	stop 104
	assert_card_lent "$card1"
	host_reset >/dev/null 2>&1 || true
}
