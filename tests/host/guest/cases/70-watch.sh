# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The watch: nobody calls post-stop, and the card comes home all the same.

# Waits for the watch to bring the card $1 home.
await_home() {
	local n
	for n in {1..60}; do
		[ -n "$(loans)" ] || break
		sleep 0.5
	done
	assert_eq "$(loans)" '' "loans, 30 s after the VM is gone"
	assert_card_home "$1"
}

limit_watch_returns_after_a_failed_start=90
test_watch_returns_after_a_failed_start() {
	vm_with_card 104 "$short1"
	! task start 104 --fail-start || fail "VM 104 starts"
	assert_card_lent "$card1"
	await_home "$card1"
}

limit_watch_returns_when_post_stop_is_missing=120
test_watch_returns_when_post_stop_is_missing() {
	vm_with_card 104 "$short1"
	start 104 --holder
	task stop 104 --no-post-stop || true
	await_home "$card1"
}

# Longer than the 5 s that post-stop is left: what protects the card is Proxmox's lock.
limit_watch_leaves_a_slow_start_alone=120
test_watch_leaves_a_slow_start_alone() {
	vm_with_card 104 "$short1"
	start 104 --holder --delay 12
	assert_card_lent "$card1"
	sleep 7
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}

test_watch_ends_with_the_last_loan() {
	local n
	for n in {1..40}; do
		systemctl is-active -q gpu-ferry-watch.service || return 0
		sleep 0.5
	done
	fail "the watch still runs, and nothing is lent"
}

# VM 105 wants the card that VM 104, gone without a post-stop, still owes: it does not go home first.
limit_card_of_a_gone_vm_goes_straight_over=120
test_card_of_a_gone_vm_goes_straight_over() {
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short1"
	start 104 --holder
	task kill 104 --no-post-stop || true
	start 105 --holder
	assert_match "$(task_log 105)" 'come straight from VM 104'
	! task_log 105 | grep 'bind 0000' || fail "the card moved on the way"
	assert_card_lent "$card1"
	assert_exit 0 "$hook" 104 post-stop
	assert_card_lent "$card1"
	stop 105
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
}
