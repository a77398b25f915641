# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Services and containers that the settings name: stopped for a card, and started again; by systemd and pct.

unit_state() {
	systemctl is-active test-holder.service || true
}

test_service_of_the_settings_is_stopped_and_started_again() {
	unit_holds "$(control_of "$card1")"
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" 'in use by sleep'
	assert_eq "$(unit_state)" active "a service that nobody listed"
	echo 'stop_units = [ "test-holder.service" ];' >"$settings"
	assert_exit 0 gpu-ferry plan 104
	assert_match "$out" 'stop unit test-holder\.service'
	assert_eq "$(unit_state)" active "the service, after plan"
	start 104 --holder
	assert_match "$(task_log 104)" 'stop unit test-holder\.service \([0-9]+ ms\)'
	assert_card_lent "$card1"
	assert_eq "$(unit_state)" inactive "the service, while the card is lent"
	# What comes home goes by the loan.
	echo 'broken = {' >"$settings"
	stop 104
	assert_card_home "$card1"
	assert_match "$(task_log 104 | tail -n 2)" 'start unit test-holder\.service'
	assert_eq "$(unit_state)" active "the service, after the return"
	unit_release
}

test_service_is_started_again_when_the_handover_fails() {
	unit_holds "$(control_of "$card1")"
	echo 'stop_units = [ "test-holder.service" ];' >"$settings"
	modprobe probefail
	assert_exit 1 gpu-ferry bind "$short1" --driver probefail
	assert_match "$err" probefail
	assert_match "$out" 'stop unit test-holder'
	assert_card_home "$card1"
	assert_eq "$(unit_state)" active "the service"
	assert_eq "$(loans)" '' loans
	# With somebody in the way who may not be stopped, nothing is.
	hold "$(control_of "$card1")"
	assert_exit 1 gpu-ferry bind "$short1"
	assert_match "$err" "in use by sleep \(PID $holder"
	! grep -q "stop unit" <<<"$out" || fail "a service was stopped for nothing"
	release
	say "without systemd"
	# shellcheck disable=SC2016 # for the inner shell
	assert_exit 1 unshare --mount bash -c 'mount -t tmpfs none /run/systemd && exec gpu-ferry bind "$1"' bash "$short1"
	assert_match "$err" 'stop the unit test-holder.service: systemd does not run here'
	assert_eq "$(unit_state)" active "the service"
	unit_release
}

# The services that the task says to have stopped, or started, in that order.
units_in_log() { # stop | start
	task_log 104 | sed -n "s/^gpu-ferry: $1 unit \(.*\.service\) (.*/\1/p" | tr '\n' ' '
}

test_services_are_started_again_in_reverse_order() {
	local stopped
	unit_holds "$(control_of "$card1")"
	# its number may be another one when it comes home
	unit_holds "/dev/dri/by-path/pci-$card1.0-card" test-second.service
	vm_with_card 104 "$short1"
	echo 'stop_units = [ "test-holder.service", "test-second.service" ];' >"$settings"
	start 104 --holder
	assert_card_lent "$card1"
	read -r -a stopped <<<"$(units_in_log stop)"
	assert_eq "${stopped[*]}" "test-holder.service test-second.service" "as the settings list them"
	stop 104
	assert_eq "$(units_in_log start)" "${stopped[1]} ${stopped[0]} " "as they were started again"
	say "the second cannot be stopped: the first runs again, and nothing was moved"
	await_descriptor "$(main_pid test-holder.service)"
	await_descriptor "$(main_pid test-second.service)"
	printf '[Unit]\nRefuseManualStop=yes\n' >>"/run/systemd/system/${stopped[1]}"
	systemctl daemon-reload
	! task start 104 --holder || fail "VM 104 starts"
	assert_match "$(task_log 104)" "stop the unit ${stopped[1]}: .*[Oo]peration refused.*\(systemctl status ${stopped[1]}\)"
	assert_eq "$(units_in_log stop)" "${stopped[0]} "
	assert_eq "$(units_in_log start)" "${stopped[1]} ${stopped[0]} "
	! steps_of 104 | grep 'bind 0000' || fail "something was moved"
	assert_eq "$(systemctl is-active "${stopped[@]}" | uniq)" active "both"
	assert_eq "$(loans)" '' loans
	unit_release
}

test_container_of_the_settings_is_stopped_and_started_again() {
	container_with_card 105 "$(control_of "$card1")"
	container_start 105
	vm_with_card 104 "$short1"
	echo 'busy = "stop"; containers = [ 106 ];' >"$settings"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" 'in use by container 105 .*make_room = \( \{ container = 105; unit = "ollama.service"; \} \)'
	echo 'vms = ( { vmid = 104; busy = "stop"; containers = "any"; busy_wait_seconds = 30; } );' >"$settings"
	start 104 --holder
	assert_match "$(task_log 104)" 'stop container 105'
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
	assert_eq "$(tr '\n' ',' </run/tests.pct)" \
		'start 105,status 105,shutdown 105 --timeout 30,status 105,status 105,start 105,' "what pct was told"
	await_container 105
	assert_match "$(json list --all | jq -c '.[].holders[].guest')" 105
	container_gone 105
}

# Proxmox's Stop, while the container takes its time: it goes down all the same, and is owed its start.
test_container_is_started_again_after_stop() {
	local pre_start
	container_with_card 105 "$(control_of "$card1")"
	container_start 105
	pct exec 105 -- sh -c 'echo 4 >/etc/stop-seconds'
	vm_with_card 104 "$short1"
	echo 'vms = ( { vmid = 104; busy = "stop"; containers = "any"; busy_wait_seconds = 30; } );' >"$settings"
	"$hook" 104 pre-start >"$scratch/pre-start" 2>&1 &
	pre_start=$!
	until grep -q shutdown /run/tests.pct; do sleep 0.1; done
	kill -TERM -- $pre_start
	! wait $pre_start || fail "it starts all the same"
	for _ in {1..40}; do
		[ -n "$(loans)" ] || break
		sleep 0.5
	done
	assert_eq "$(loans)" '' loans
	assert_eq "$(tail -n 1 /run/tests.pct)" 'start 105' "what pct was told last"
	assert_eq "$(pct status 105)" 'status: running'
	assert_card_home "$card1"
	container_gone 105
}

# pct mounts storages, for the whole host, and runs programs that change users.
test_container_is_started_by_the_watch_outside_its_sandbox() {
	container_with_card 105 "$(control_of "$card1")"
	container_start 105
	vm_with_card 104 "$short1"
	echo 'busy = "stop"; containers = [ 105 ]; busy_wait_seconds = 30;' >"$settings"
	start 104 --holder
	assert_card_lent "$card1"
	assert_match "$(grep NoNewPrivs "/proc/$(systemctl show --value -p MainPID gpu-ferry-watch)/status")" '1$'
	pve-vm kill 104 --no-post-stop
	for _ in {1..60}; do
		[ -n "$(loans)" ] || break
		sleep 0.5
	done
	assert_eq "$(loans)" '' loans
	assert_eq "$(tail -n 1 /run/tests.pct)" 'start 105' "what pct was told last"
	assert_match "$(cat /run/tests.pct-privileges)" '0$'
	assert_card_home "$card1"
	container_gone 105
}

test_the_watch_has_a_sandbox() {
	systemd-analyze security --no-pager --threshold=50 gpu-ferry-watch.service >"$scratch/sandbox" ||
		fail "$(tail -n 1 "$scratch/sandbox")"
}

# A driver that does not take a card back says why in the kernel's log. Nothing but the unit file decides
# whether the watch may read it: the same unit runs dd here.
test_the_watch_may_read_the_kernels_log() {
	local unit=/run/systemd/system/test-kernel-log.service
	echo "tests: for the watch" >/dev/kmsg
	sed -e 's|^ExecStart=.*|ExecStart=/usr/bin/dd if=/dev/kmsg iflag=nonblock bs=8192 of=/run/test-kernel-log|' \
		-e '/^Restart/d' /usr/lib/systemd/system/gpu-ferry-watch.service >$unit
	systemctl daemon-reload
	systemctl start test-kernel-log.service
	until [ "$(systemctl show --value -p SubState test-kernel-log.service)" != running ]; do sleep 0.1; done
	rm $unit
	systemctl daemon-reload
	grep -q 'tests: for the watch' /run/test-kernel-log || fail "$(systemctl status test-kernel-log.service)"
	systemctl reset-failed test-kernel-log.service 2>/dev/null || true
	rm /run/test-kernel-log
}
