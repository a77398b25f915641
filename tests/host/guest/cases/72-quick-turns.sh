# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Starts and stops in quick succession, and at once. (A card that goes straight over is in 70, pre-start
# and post-stop twice are in 60.)

# The USB function of card 1 leaves its driver only when `release` is set: a handover that stays half-way
# for as long as a test wants. The audio function has left by then.
half_way() {
	modprobe slowdriver mode=flag release=0
	adopt "$card1.2" slowdriver
	vm_with_card 104 "$short1"
	pve-vm start 104 --holder >"$scratch/half" 2>&1 &
	half=$!
	for _ in {1..100}; do
		[ "$(driver_of "$card1.1")" != vfio-pci ] || break
		sleep 0.1
	done
	assert_driver "$card1.1" vfio-pci
	kill -0 "$half" || fail "VM 104 is not half-way: this test tests nothing"
}

go_on() {
	echo 1 >/sys/module/slowdriver/parameters/release
	wait "$half" || fail "VM 104 does not start: $(cat "$scratch/half")"
	assert_card_lent "$card1"
	stop 104
	assert_driver "$card1.0" bochs-drm
	assert_driver "$card1.2" slowdriver
	assert_eq "$(loans)" '' "loans after"
	host_reset >/dev/null 2>&1 || true
}

test_vms_with_different_cards_do_not_wait_for_each_other() {
	half_way
	vm_with_card 105 "$short2"
	start 105 --holder
	assert_card_lent "$card2"
	stop 105
	assert_card_home "$card2"
	kill -0 "$half" || fail "VM 104 did not wait: this test tests nothing"
	go_on
}

test_second_vm_on_the_same_card_is_refused_by_name() {
	half_way
	vm_with_card 105 "$short1"
	! task start 105 --holder || fail "VM 105 starts"
	assert_match "$(task_log 105)" 'VM 104'
	assert_eq "$(loans)" /run/gpu-ferry/loans/vm-104.json
	go_on
}

# VM 104's USB function is on its way home for as long as a test wants.
slow_return() { # COMMAND that brings it home
	local n
	# a slow test host must not make the write overdue
	echo 'write_deadline_seconds = 120;' >"$settings"
	modprobe slowdriver hold_probe=0
	adopt "$card1.2" slowdriver
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	echo 1 >/sys/module/slowdriver/parameters/hold_probe
	"$@" >"$scratch/half" 2>&1 &
	half=$!
	await_loan 104 returning
	# the link is there as soon as the probe begins
	for n in {1..100}; do
		[ "$(driver_of "$card1.2")" != slowdriver ] || break
		sleep 0.1
	done
	assert_driver "$card1.2" slowdriver
	assert_driver "$card1.0" bochs-drm
}

let_home() { # a start that waits: VMID, PID
	local n
	for n in {1..200}; do
		! grep -q 'being returned' "$scratch/waits" || break
		kill -0 "$2" || fail "VM $1 does not wait: $(cat "$scratch/waits")"
		sleep 0.1
	done
	kill -0 "$half" || fail "VM 104 is home: this test tests nothing"
	echo 0 >/sys/module/slowdriver/parameters/hold_probe
	wait "$half" || fail "VM 104 does not stop: $(cat "$scratch/half")"
	wait "$2" || fail "VM $1 does not start: $(cat "$scratch/waits")"
	! grep WARN "$scratch/half" "$scratch/waits" || fail "with a warning"
	assert_card_lent "$card1"
	assert_eq "$(loans)" "/run/gpu-ferry/loans/vm-$1.json"
	stop "$1"
	assert_eq "$(loans)" '' "loans after"
	assert_driver "$card1.2" slowdriver
	host_reset >/dev/null 2>&1 || true
}

# 104 is not gone while its post-stop is at work: the card is neither its own nor 105's yet.
test_another_start_waits_for_a_return_under_way() {
	slow_return pve-vm stop 104
	vm_with_card 105 "$short1"
	assert_exit 1 gpu-ferry plan 105
	assert_match "$out" 'VM 104. and is being returned'
	pve-vm start 105 --holder >"$scratch/waits" 2>&1 &
	let_home 105 $!
}

# Nobody called post-stop: the VM is not locked.
die_and_reconcile() {
	pve-vm stop 104 --no-post-stop
	exec gpu-ferry reconcile
}

test_a_start_waits_for_the_return_of_its_own_loan() {
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	slow_return die_and_reconcile
	pve-vm start 104 --holder >"$scratch/waits" 2>&1 &
	let_home 104 $!
	systemctl start gpu-ferry-watch.path
}

await_watch() {
	local n
	for n in {1..50}; do
		! flock -n /run/gpu-ferry/locks/watch true || { sleep 0.1 && continue; }
		return 0
	done
	fail "no watch after 5 s"
}

test_reboot_by_proxmox_leaves_the_card_where_it_is() {
	local since
	vm_with_card 104 "$short1"
	start 104 --holder
	await_watch
	since=$(json status 104 | jq -r '.loans[0].since')
	task reboot 104 --holder || fail "no reboot"
	! task_log 104 | grep -E 'WARN|new_id' || fail "reboot with complaints"
	! steps_of 104 || fail "something was moved"
	assert_match "$(task_log 104)" 'VM 104 starts again'
	assert_card_lent "$card1"
	assert_eq "$(json status 104 | jq -r '.loans[0].since')" "$since" "since when it is lent"
	stop 104
	assert_card_home "$card1"
}

# qmeventd is down, or the start fails: nobody calls a hook any more.
test_reboot_that_never_comes_back_gives_the_card_back() {
	vm_with_card 104 "$short1"
	start 104 --holder
	await_watch
	touch /run/qemu-server/104.reboot
	stop 104
	assert_card_lent "$card1"
	for _ in {1..60}; do
		[ -n "$(loans)" ] || break
		sleep 0.5
	done
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans, 30 s after the VM is gone"

	say "without a watch the hook brings it home"
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	start 104 --holder
	touch /run/qemu-server/104.reboot
	stop 104
	systemctl start gpu-ferry-watch.path
	assert_card_home "$card1"
}

test_backup_of_a_stopped_vm_says_why_the_card_moves() {
	vm_with_card 104 "$short1"
	echo 'lock: backup' >>/etc/pve/qemu-server/104.conf
	start 104 --holder
	assert_match "$(task_log 104)" 'VM 104 is started for its backup'
	stop 104
	assert_card_home "$card1"
}

test_backup_of_a_stopped_vm_is_refused_on_wish() {
	echo 'backup_of_stopped_vm = "refuse";' >"$settings"
	vm_with_card 104 "$short1"
	rm -f /run/gpu-ferry/locks/vm-104
	echo 'lock: backup' >>/etc/pve/qemu-server/104.conf
	! task start 104 --holder || fail "VM 104 starts"
	assert_match "$(task_log 104)" 'backup_of_stopped_vm = "refuse"'
	! steps_of 104 || fail "something was moved"
	assert_home
}

# The VM ran, is stopped, and starts again at once under the backup's lock.
test_stop_mode_backup_is_no_backup_of_a_stopped_vm() {
	echo 'backup_of_stopped_vm = "refuse";' >"$settings"
	vm_with_card 104 "$short1"
	start 104 --holder
	echo 'lock: backup' >>/etc/pve/qemu-server/104.conf
	# it has run for an hour: only its end a moment ago tells it from a stopped one
	touch -d '1 hour ago' /run/gpu-ferry/locks/vm-104
	stop 104
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}

# Nobody calls post-stop, and the watch has not seen it yet.
test_stop_mode_backup_of_a_vm_whose_loan_stands() {
	echo 'backup_of_stopped_vm = "refuse";' >"$settings"
	vm_with_card 104 "$short1"
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	start 104 --holder
	echo 'lock: backup' >>/etc/pve/qemu-server/104.conf
	stop 104 --no-post-stop
	touch -d '1 hour ago' /run/gpu-ferry/locks/vm-104
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	systemctl start gpu-ferry-watch.path
	assert_card_home "$card1"
}

# It was gone when unbind looked, and starts while that waits for its loan's lock.
test_unbind_leaves_a_vm_that_begins_to_start_alone() {
	local lock unbind
	vm_with_card 104 "$short1"
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	start 104 --holder
	stop 104 --no-post-stop
	exec {lock}<>/run/gpu-ferry/locks/vm-104
	flock $lock
	gpu-ferry unbind "$short1" >"$scratch/unbind" 2>&1 {lock}>&- &
	unbind=$!
	until [ -n "$(find /proc/$unbind/fd -lname '*/locks/vm-104' 2>/dev/null)" ]; do
		kill -0 $unbind || fail "it does not wait: $(cat "$scratch/unbind")"
		sleep 0.1
	done
	pve-vm start 104 --holder --until "$scratch/go" >"$scratch/starts" 2>&1 {lock}>&- &
	local starts=$!
	until ! flock -n /run/lock/qemu-server/lock-104.conf true; do sleep 0.05; done
	flock -u $lock
	! wait $unbind || fail "unbind took the card of a VM that starts"
	assert_match "$(cat "$scratch/unbind")" 'VM 104'
	touch "$scratch/go"
	wait $starts || fail "VM 104 does not start: $(cat "$scratch/starts")"
	assert_card_lent "$card1"
	stop 104
	systemctl start gpu-ferry-watch.path
	assert_card_home "$card1"
}

test_post_stop_without_pre_start() {
	vm_with_card 104 "$short1"
	assert_exit 0 "$hook" 104 post-stop
	assert_eq "$out$err" '' output
	assert_home
}

# A start meets a return, from a second before it begins to a second after. `make turn-sweep` plays
# every distance; these are as many as fit into the time.
limit_a_start_around_post_stop=240
test_a_start_around_post_stop() {
	turn-sweep --seconds 8 --only post-stop
}

limit_a_start_around_reconcile=240
test_a_start_around_reconcile() {
	turn-sweep --seconds 8 --only reconcile
}

limit_a_start_around_unbind=240
test_a_start_around_unbind() {
	turn-sweep --seconds 8 --only unbind
}

limit_a_start_around_the_watch=240
test_a_start_around_the_watch() {
	turn-sweep --seconds 8 --only watch
}
