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

# Longer than the 5 s that post-stop is left, as with slow storage. What protects the card is Proxmox's
# lock: from the watch, from another VM's hooks, from reconcile, and from a bind by hand.
limit_slow_start_keeps_its_card=180
test_slow_start_keeps_its_card() {
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short2"
	pve-vm start 104 --holder --until "$scratch/go" >"$scratch/slow" 2>&1 &
	local slow=$! since
	await_loan 104 lent
	since=$(json status 104 | jq -r '.loans[0].since')
	start 105 --holder
	assert_exit 0 gpu-ferry reconcile
	stop 105
	assert_exit 1 gpu-ferry bind "$short1"
	assert_match "$err" 'VM 104'
	assert_exit 1 gpu-ferry unbind "$short1"
	assert_match "$err" 'VM 104'
	sleep 7
	assert_card_lent "$card1"
	touch "$scratch/go"
	wait $slow || fail "VM 104 does not start: $(cat "$scratch/slow")"
	! grep 'new_id' "$scratch/slow" || fail "Proxmox had to bind"
	assert_card_lent "$card1"
	assert_eq "$(json status 104 | jq -r '.loans[0].since')" "$since" "since when it is lent"
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
	assert_match "$(task_log 105)" 'are taken over directly from VM 104'
	! steps_of 105 | grep 'bind 0000' || fail "the card moved on the way"
	assert_card_lent "$card1"
	assert_exit 0 "$hook" 104 post-stop
	assert_card_lent "$card1"
	stop 105
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
}

# As at boot, should a loan have outlived it: the path unit looks when it starts.
limit_loan_left_at_boot_goes_home=90
test_loan_left_at_boot_goes_home() {
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	vm_with_card 104 "$short1"
	assert_exit 0 "$hook" 104 pre-start
	systemctl start gpu-ferry-watch.path
	await_home "$card1"
}

# A chroot or a container: no systemd, no journal, no udev's queue, no /run of the host at all.
test_without_systemd_the_hook_says_that_nothing_watches() {
	vm_with_card 104 "$short1"
	# shellcheck disable=SC2016 # for the inner shell
	assert_exit 0 unshare --mount bash -c 'mount -t tmpfs none /run && "$1" 104 pre-start && readlink "$2" &&
		gpu-ferry status | grep owed && "$1" 104 post-stop && readlink "$2" && "$1" 104 pre-start && gpu-ferry reconcile' \
		bash "$hook" "$pci/$card1.0/driver"
	assert_match "$out" 'no systemd, so nothing watches over this loan'
	assert_match "$out" 'drivers/vfio-pci.*drivers/bochs-drm'
	assert_card_home "$card1"
}

# The state that systemd has from the moment a shutdown is asked for, without the shutdown. The watch
# ends at once then, and so it does here.
shutdown_begin() {
	mkdir -p /run/systemd/system/shutdown.target.d
	printf '[Unit]\nRefuseManualStart=no\nRefuseManualStop=no\n' >/run/systemd/system/shutdown.target.d/test.conf
	systemctl daemon-reload
	systemctl --job-mode=ignore-dependencies start shutdown.target
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	assert_eq "$(systemctl is-system-running || true)" stopping 'the state of the host'
}

shutdown_end() {
	systemctl --job-mode=ignore-dependencies stop shutdown.target
	rm -r /run/systemd/system/shutdown.target.d
	systemctl daemon-reload
	systemctl start gpu-ferry-watch.path
}

limit_nothing_is_returned_while_the_host_shuts_down=90
test_nothing_is_returned_while_the_host_shuts_down() {
	local watch
	vm_with_card 104 "$short1"
	start 104 --holder
	trap shutdown_end EXIT
	shutdown_begin
	stop 104
	assert_match "$(task_log 104)" 'the host is shutting down'
	! steps_of 104 || fail "something was moved"
	assert_card_lent "$card1"
	say "a watch that still runs leaves it as well"
	gpu-ferry watch &
	watch=$!
	sleep 7
	kill -0 $watch || fail "the watch has ended: this test tests nothing"
	assert_card_lent "$card1"
	kill $watch
	wait $watch || true
	shutdown_end
	trap 'rm -rf "$scratch"' EXIT
	await_home "$card1"
}

# The hand's loan is still owed (an earlier return failed in part), and a VM is about to open the card.
limit_owed_hand_loan_waits_for_the_vm_that_borrowed=120
test_owed_hand_loan_waits_for_the_vm_that_borrowed() {
	assert_exit 0 gpu-ferry bind "$short1"
	sed -i 's/"state": *"lent"/"state":"owed"/' /run/gpu-ferry/loans/hand-*.json
	grep -q '"state":"owed"' /run/gpu-ferry/loans/hand-*.json || fail "not owed: this test tests nothing"
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	vm_with_card 104 "$short1"
	pve-vm start 104 --holder --until "$scratch/go" >"$scratch/slow" 2>&1 &
	local slow=$!
	await_loan 104 lent
	assert_exit 0 gpu-ferry reconcile
	assert_card_lent "$card1"
	assert_exit 1 gpu-ferry unbind "$short1"
	assert_match "$err" 'VM 104 has it now'
	assert_eq "$(json list | jq -c --arg address "$card1.0" '.[] | select(.address == $address) | .lent_to')" \
		'{"kind":"vm","vmid":104}'
	touch "$scratch/go"
	wait $slow || fail "VM 104 does not start: $(cat "$scratch/slow")"
	stop 104
	systemctl start gpu-ferry-watch.path
	await_home "$card1"
}

# Everybody can read the file that Proxmox locks.
test_a_strangers_lock_does_not_keep_the_card() {
	local stranger lock=/var/lock/qemu-server/lock-104.conf n
	vm_with_card 104 "$short1"
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	start 104 --holder
	stop 104 --no-post-stop
	setpriv --reuid 65534 --regid 65534 --clear-groups flock -F "$lock" sleep 1000 </dev/null >/dev/null 2>&1 &
	stranger=$!
	echo $stranger >>/run/tests.holders
	for n in {1..50}; do
		flock -n "$lock" true || break
		sleep 0.1
	done
	! flock -n "$lock" true || fail "nobody has the lock: this test tests nothing"
	assert_exit 1 gpu-ferry status
	assert_match "$out" "process $stranger \(sleep\) has locked $lock and is not root's"
	assert_exit 0 gpu-ferry reconcile
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	release
	systemctl start gpu-ferry-watch.path
}

# A VM with a TPM, and qmeventd is down.
test_what_outlives_qemu_in_its_scope_does_not_keep_the_card() {
	local scope=/sys/fs/cgroup/qemu.slice/104.scope daemon
	vm_with_card 104 "$short1"
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	start 104 --holder
	(exec -a qemu-storage-daemon sleep 1000) </dev/null >/dev/null 2>&1 &
	daemon=$!
	echo $daemon >>/run/tests.holders
	echo $daemon >$scope/cgroup.procs
	stop 104 --no-post-stop
	grep -q "^$daemon\$" $scope/cgroup.procs || fail "it is not in the scope: this test tests nothing"
	assert_exit 0 gpu-ferry reconcile
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	release
	systemctl start gpu-ferry-watch.path
}
