# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The list of who makes room (make_room), with a real service in a real container, a real QEMU as the other VM,
# and programs. pct and qm are played (host/guest/pct, support/qm).

program=/etc/gpu-ferry/make-room.d/test

# program_is <<EOF: the script, root's alone.
program_is() {
	mkdir -p "${program%/*}"
	cat >"$program"
	chmod 0755 "$program"
}

# What pct was told that changes something.
pct_told() {
	grep -v -e ^status /run/tests.pct | tr '\n' ','
}

test_service_in_a_container_makes_room_and_the_container_goes_on() {
	local init
	container_with_card 105 "$(control_of "$card1")"
	container_start 105
	init=$(lxc-info -n 105 -p -H)
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" 'make_room = \( \{ container = 105; unit = "ollama.service"; \} \)'
	echo 'make_room = ( { container = 105; unit = "ollama.service"; } );' >"$settings"
	start 104 --holder
	assert_match "$(task_log 104)" 'stop unit 105/ollama\.service in its container \([0-9]+ ms\)'
	assert_card_lent "$card1"
	assert_eq "$(container_service 105)" '' "the service, while VM 104 has the card"
	assert_eq "$(pct status 105)" 'status: running'
	stop 104
	assert_card_home "$card1"
	assert_match "$(task_log 104)" 'start unit 105/ollama\.service in its container'
	await_container 105
	assert_match "$(json list --all | jq -c ".[] | select(.address == \"$card1.1\").holders[].guest")" 105
	assert_eq "$(lxc-info -n 105 -p -H)" "$init" "the container's init"
	assert_eq "$(pct_told)" 'start 105,exec 105 -- systemctl stop -- ollama.service,exec 105 -- systemctl start -- ollama.service,'
	assert_eq "$(loans)" '' loans
}

# The service, and a process of the container that no service has.
test_service_and_its_container_make_room_in_the_order_of_the_list() {
	local control
	control=$(control_of "$card1")
	container_with_card 105 "$control"
	container_start 105
	lxc-attach -n 105 -- sh -c "exec sleep 1000 3<$control >/dev/null 2>&1" &
	until pgrep -fx 'sleep 1000' >/dev/null; do sleep 0.1; done
	vm_with_card 104 "$short1"
	echo 'make_room = ( { container = 105; unit = "ollama.service"; }, { container = 105; } );
		busy_wait_seconds = 30;' >"$settings"
	start 104 --holder
	assert_card_lent "$card1"
	assert_eq "$(pct status 105)" 'status: stopped'
	stop 104
	await_container 105
	assert_eq "$(pct_told)" "start 105,exec 105 -- systemctl stop -- ollama.service,shutdown 105 --timeout 30,start 105,exec 105 -- systemctl start -- ollama.service,"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
}

# It was asked to shut down, so it goes down some time: it is owed its start until then.
test_container_that_does_not_stop_in_time_refuses_the_start() {
	container_with_card 105 "$(control_of "$card1")"
	container_start 105
	pct exec 105 -- sh -c 'echo 20 >/etc/stop-seconds'
	vm_with_card 104 "$short1"
	echo 'make_room = ( { container = 105; } ); busy_wait_seconds = 3;' >"$settings"
	! task start 104 --holder || fail "VM 104 starts"
	assert_match "$(task_log 104)" 'stop the container 105'
	! steps_of 104 | grep 'bind 0000' || fail "something was moved"
	assert_card_home "$card1"
	assert_eq "$(pct status 105)" 'status: running'
	assert_exit 1 gpu-ferry status
	assert_match "$out" 'VM 104: its devices are home; .* tries again: start container 105'
	say "it is down at last"
	for _ in {1..120}; do
		[ -n "$(loans)" ] || break
		sleep 0.5
	done
	assert_eq "$(loans)" '' loans
	await_container 105
	assert_eq "$(pct_told | grep -o start | wc -l)" 2 "starts of the container"
}

test_program_makes_room() {
	hold "$(control_of "$card1")"
	vm_with_card 104 "$short1"
	echo "make_room = ( { program = \"$program\"; } );" >"$settings"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "make room by $program"
	say "it is not root's alone"
	program_is <<-END
		#!/bin/sh
		touch /run/tests.program
	END
	chmod 0775 "$program"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "make room by $program: .*(root|chmod)"
	[ ! -e /run/tests.program ] || fail "it was run"
	kill -0 "$holder" || fail "the holder was stopped"
	assert_eq "$(loans)" '' loans
	say "it is"
	program_is <<-END
		#!/bin/sh
		echo "\$@" >>/run/tests.program
		[ "\$1" = start ] || kill -9 $holder
		echo "the last word"
	END
	start 104 --holder
	assert_match "$(task_log 104)" "make room by $program"
	assert_match "$(task_log 104)" 'stop: the last word'
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
	assert_eq "$(tr '\n' ',' </run/tests.program)" 'stop,start,' "what the program was told"
	rm -r /run/tests.program "${program%/*}"
}

test_vm_makes_room_and_has_its_card_back() {
	local qemu
	install -m 0755 /tests/qm /usr/sbin/qm
	vm_with_card 106 "$short1"
	vm_with_card 104 "$short1"
	start 106
	qemu=$(cat /run/qemu-server/106.pid)
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" 'VM 106'
	kill -0 "$qemu" || fail "VM 106 was stopped"
	echo 'make_room = ( { vm = 106; } );' >"$settings"
	start 104 --holder
	assert_match "$(task_log 104)" 'stop VM 106 \([0-9]+ ms\)'
	! kill -0 "$qemu" 2>/dev/null || fail "VM 106 still runs"
	assert_card_lent "$card1"
	assert_match "$(json status | jq -c '.. | .vmid? // empty')" 104
	stop 104
	assert_match "$(task_log 104)" 'start VM 106'
	assert_match "$(tr '\0' ' ' <"/proc/$(cat /run/qemu-server/106.pid)/cmdline")" "vm106.*vfio-pci,host=$card1\.0"
	assert_card_lent "$card1"
	task stop 106
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
	rm /usr/sbin/qm
}

# By raw lines of lxc: a devN whose node is missing ends a start before Proxmox calls the hookscript.
test_container_whose_card_is_lent_starts_when_it_is_home() {
	local control
	control=$(control_of "$card1")
	vm_with_card 104 "$short1"
	start 104 --holder
	container_with_card 105
	cat >>/etc/pve/lxc/105.conf <<-END
		hookscript: local:snippets/gpu-ferry
		lxc.cgroup2.devices.allow: c 116:* rwm
		lxc.mount.entry: $control ${control#/} none bind,create=file 0 0
	END
	assert_exit 255 pct start 105
	assert_match "$out" "container 105: it needs $control of $card1\.1, which is lent \(VM 104\)"
	assert_eq "$(pct status 105)" 'status: stopped'
	echo 'container_start = "later";' >"$settings"
	assert_exit 255 pct start 105
	assert_match "$out" 'it is started when the card is home'
	stop 104
	await_container 105
	assert_card_home "$card1"
	assert_match "$(json list --all | jq -c ".[] | select(.address == \"$card1.1\").holders[].guest")" 105
	assert_eq "$(loans)" '' loans
}
