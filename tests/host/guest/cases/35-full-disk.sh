# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A /run that is full or read-only takes no new loan, and gives back every card.

# /run/gpu-ferry as a file system of its own: nothing else is full then. Without the watch, which
# would do some seconds later what the hook is to do.
small_run() {
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	mkdir -p /run/gpu-ferry
	mount -t tmpfs -o size=128k,nr_inodes=64,mode=755 tmpfs /run/gpu-ferry
}

# Not a byte more, and not a file.
fill_up() {
	! cat /dev/zero >/run/gpu-ferry/filler 2>/dev/null || fail "it does not fill up"
	local n
	for n in {1..64}; do
		: 2>/dev/null >"/run/gpu-ferry/filler-$n" || return 0
	done
	fail "it takes any number of files"
}

leave_small_run() {
	umount /run/gpu-ferry
	systemctl start gpu-ferry-watch.path
	assert_home
}

said_once() {
	assert_eq "$(grep -c 'the devices are returned all the same' <<<"$1")" 1 "warnings in '$1'"
}

test_disk_that_fills_up_half_way_out() {
	vm_with_card 104 "$short1"
	modprobe vfio-pci
	assert_exit 1 strace -f --seccomp-bpf -qq -o "$scratch/trace" -P /run/gpu-ferry/loans -e trace=openat \
		-e inject=openat:error=ENOSPC:when=6+ "$hook" 104 pre-start
	grep -q INJECTED "$scratch/trace" || fail "no file was refused: this test tests nothing"
	assert_match "$err" 'record the loan: write /run/gpu-ferry/loans/vm-104.json: No space left on device'
	said_once "$err"
	say "by the hook itself: the watch would do the same 5 s later"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	assert_home
}

test_full_disk_gives_back_what_it_has_and_takes_nothing() {
	small_run
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short2"
	start 104 --holder
	assert_card_lent "$card1"
	fill_up
	assert_exit 1 "$hook" 105 pre-start
	assert_match "$err" 'No space left on device'
	assert_card_home "$card2"
	stop 104
	said_once "$(task_log 104)"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	leave_small_run
}

# Nobody calls post-stop. The lock of the VM is not there either, and none can be made.
test_full_disk_is_no_reason_not_to_reconcile() {
	small_run
	vm_with_card 104 "$short1"
	assert_exit 0 "$hook" 104 pre-start
	assert_card_lent "$card1"
	rm /run/gpu-ferry/locks/vm-104
	fill_up
	assert_exit 0 gpu-ferry reconcile
	said_once "$err"
	assert_match "$err" 'open the lock /run/gpu-ferry/locks/vm-104: No space left on device; .* without it'
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	leave_small_run
}

test_read_only_run_gives_the_card_back_and_keeps_the_record() {
	small_run
	vm_with_card 104 "$short1"
	start 104 --holder
	mount -o remount,ro /run/gpu-ferry
	task stop 104
	assert_match "$(task_log 104)" 'WARN: hookscript error for 104 on post-stop: .* exit code 1'
	assert_match "$(task_log 104)" 'all devices of the loan are home, but its record stays: .*vm-104.json: Read-only'
	said_once "$(task_log 104)"
	assert_card_home "$card1"
	say "once more: nothing is left to do but to remove the record"
	assert_exit 1 gpu-ferry reconcile
	assert_match "$err" 'its record stays'
	assert_card_home "$card1"
	mount -o remount,rw /run/gpu-ferry
	assert_exit 0 gpu-ferry reconcile
	assert_eq "$(loans)" '' "loans after"
	leave_small_run
}
