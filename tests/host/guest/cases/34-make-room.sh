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

# What it says of VM 106 is said to `qm`.
vm_makes_room() {
	install -m 0755 /tests/qm /usr/sbin/qm
	vm_with_card 106 "$short1"
	start 106
	echo 'make_room = ( { vm = 106; } );' >"$settings"
}

test_vm_makes_room_for_a_card_lent_by_hand() {
	vm_makes_room
	assert_exit 0 gpu-ferry bind "$short1"
	assert_match "$out" 'stop VM 106'
	assert_card_lent "$card1"
	assert_eq "$(pve-vm status 106)" 'status: stopped'
	assert_match "$(json status | jq -c '.loans[].owner.kind')" hand
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_match "$out" 'start VM 106'
	assert_eq "$(pve-vm status 106)" 'status: running'
	assert_card_lent "$card1"
	task stop 106
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
	rm /usr/sbin/qm
}

# VM 105 starts while VM 104 still returns the card: the service is not started for a moment, nor without its
# card, but when the card is home for good.
test_who_makes_room_waits_for_the_last_of_several_vms() {
	unit_holds "/dev/snd/by-path/pci-$card1.1"
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short1"
	echo 'make_room = ( { unit = "test-holder.service"; } );' >"$settings"
	start 104 --holder
	assert_card_lent "$card1"
	pve-vm stop 104 >"$scratch/stopping" 2>&1 &
	until grep -q returning /run/gpu-ferry/loans/vm-104.json; do sleep 0.05; done
	start 105 --holder
	wait $! || fail "VM 104 does not stop: $(cat "$scratch/stopping")"
	assert_card_lent "$card1"
	for _ in {1..100}; do
		[ "$(loans)" != /run/gpu-ferry/loans/vm-105.json ] || break
		sleep 0.1
	done
	assert_eq "$(loans)" /run/gpu-ferry/loans/vm-105.json
	assert_eq "$(systemctl is-active test-holder.service || true)" inactive "the service, while VM 105 has the card"
	assert_match "$(json status | jq -c '.loans[].stopped[].subject')" test-holder.service
	stop 105
	assert_card_home "$card1"
	await_descriptor "$(main_pid test-holder.service)"
	assert_eq "$(loans)" '' loans
	unit_release
}

# Its QEMU did not come up, and the next start is another VM's, before the watch has looked.
test_service_of_a_failed_start_waits_for_the_next_vm_too() {
	unit_holds "/dev/snd/by-path/pci-$card1.1"
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short1"
	echo 'make_room = ( { unit = "test-holder.service"; } );' >"$settings"
	! task start 104 --holder --fail-start || fail "VM 104 starts"
	start 105 --holder
	assert_card_lent "$card1"
	# the watch looks after 5 s
	sleep 8
	assert_eq "$(systemctl is-active test-holder.service || true)" inactive "the service, while VM 105 has the card"
	stop 105
	assert_card_home "$card1"
	for _ in {1..150}; do
		[ -n "$(loans)" ] || break
		sleep 0.1
	done
	await_descriptor "$(main_pid test-holder.service)"
	assert_eq "$(loans)" '' loans
	unit_release
}

test_service_that_does_not_start_again_is_owed_and_tried_again() {
	local tries
	unit_holds "/dev/snd/by-path/pci-$card1.1"
	sed -i 's|^ExecStart=|ExecStartPre=/bin/sh -c "echo try >>/run/tests.tries; [ ! -e /run/tests.broken ]"\n&|' \
		/run/systemd/system/test-holder.service
	systemctl daemon-reload
	vm_with_card 104 "$short1"
	echo 'make_room = ( { unit = "test-holder.service"; } );' >"$settings"
	start 104 --holder
	touch /run/tests.broken
	task stop 104 || true
	assert_match "$(task_log 104)" 'start the unit test-holder\.service: .*systemctl status test-holder\.service'
	assert_card_home "$card1"
	assert_exit 1 gpu-ferry status
	assert_match "$out" 'VM 104: its devices are home; .* tries again: start unit test-holder\.service'
	# post-stop, then the watch after 5, 6, 8, 12 and 20 s
	sleep 15
	tries=$(wc -l </run/tests.tries)
	[[ $tries = [3-6] ]] || fail "it was tried $tries times in 15 s"
	say "its card is free for others meanwhile"
	start 104 --holder
	task stop 104 || true
	assert_card_home "$card1"
	rm /run/tests.broken
	for _ in {1..400}; do
		[ -n "$(loans)" ] || break
		sleep 0.1
	done
	assert_eq "$(loans)" '' loans
	await_descriptor "$(main_pid test-holder.service)"
	rm /run/tests.tries
	unit_release
}

# Somebody takes a minute to start again: nobody else waits for that, neither who asks, nor who starts or ends.
test_nobody_waits_for_a_slow_start() {
	local seconds
	unit_holds "/dev/snd/by-path/pci-$card1.1"
	sed -i 's|^ExecStart=|ExecStartPre=/bin/sh -c "[ ! -e /run/tests.slow ] \|\| sleep 40"\n&|' \
		/run/systemd/system/test-holder.service
	systemctl daemon-reload
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short2"
	echo 'make_room = ( { unit = "test-holder.service"; } );' >"$settings"
	start 104 --holder
	start 105 --holder
	touch /run/tests.slow
	pve-vm kill 104 --no-post-stop
	for _ in {1..150}; do
		[ "$(systemctl is-active test-holder.service || true)" != activating ] || break
		sleep 0.1
	done
	assert_eq "$(systemctl is-active test-holder.service || true)" activating "the service"
	seconds=$SECONDS
	assert_exit 0 gpu-ferry list
	gpu-ferry status || true
	[ $((SECONDS - seconds)) -le 5 ] || fail "list and status take $((SECONDS - seconds)) s"
	say "another VM ends, for the watch, and starts"
	pve-vm kill 105 --no-post-stop
	for _ in {1..150}; do
		[ -e /run/gpu-ferry/loans/vm-105.json ] || break
		sleep 0.1
	done
	assert_card_home "$card2"
	start 105 --holder
	stop 105
	assert_eq "$(systemctl is-active test-holder.service || true)" activating "the service"
	[ $((SECONDS - seconds)) -lt 38 ] || fail "this took so long that it tests nothing"
	say "the same VM waits for it, and then stops the service again"
	start 104 --holder
	assert_match "$(task_log 104)" 'are being returned: waiting for that'
	assert_card_lent "$card1"
	rm /run/tests.slow
	stop 104
	await_descriptor "$(main_pid test-holder.service)"
	assert_eq "$(loans)" '' loans
	unit_release
}

# Two VMs that name the same two cards in two orders start at once; each card has a user that makes room.
test_two_vms_with_two_cards_in_two_orders_do_not_wait_for_each_other() {
	local pid first=0 second=0
	unit_holds "/dev/snd/by-path/pci-$card1.1"
	unit_holds "/dev/snd/by-path/pci-$card2.1" test-second.service
	vm_config 104 <<<"hostpci0: $short1
hostpci1: $short2"
	vm_config 105 <<<"hostpci0: $short2
hostpci1: $short1"
	echo 'make_room = ( { unit = "test-holder.service"; }, { unit = "test-second.service"; } );
		vms = ( { vmid = 105; make_room = ( { unit = "test-second.service"; }, { unit = "test-holder.service"; } ); } );' \
		>"$settings"
	pve-vm start 105 --holder >"$scratch/105" 2>&1 &
	pid=$!
	pve-vm start 104 --holder >"$scratch/104" 2>&1 || first=$?
	wait $pid || second=$?
	cat "$scratch/104" "$scratch/105"
	[ $((!first + !second)) = 1 ] || fail "VM 104: $first, VM 105: $second"
	assert_card_lent "$card1"
	assert_card_lent "$card2"
	if [ $first = 0 ]; then
		assert_match "$(cat "$scratch/105")" 'VM 104'
		stop 104
	else
		assert_match "$(cat "$scratch/104")" 'VM 105'
		stop 105
	fi
	for _ in {1..150}; do
		[ -n "$(loans)" ] || break
		sleep 0.1
	done
	assert_eq "$(loans)" '' loans
	assert_card_home "$card1"
	assert_card_home "$card2"
	await_descriptor "$(main_pid test-holder.service)"
	await_descriptor "$(main_pid test-second.service)"
	unit_release
}

# As Proxmox starts what is onboot: one after the other, by `startup`; what does not start stops nobody else.
test_onboot_guests_keep_proxmox_order() {
	local control
	control=$(control_of "$card1")
	container_with_card 110
	cat >>/etc/pve/lxc/110.conf <<-END
		hookscript: local:snippets/gpu-ferry
		onboot: 1
		lxc.cgroup2.devices.allow: c 116:* rwm
		lxc.mount.entry: $control ${control#/} none bind,create=file 0 0
	END
	vm_with_card 104 "$short1"
	say "the container first: the VM is refused, and waits for a person"
	container_start 110
	! task start 104 --holder || fail "VM 104 starts"
	assert_match "$(task_log 104)" 'in use by container 110'
	assert_match "$(container_service 110)" '[0-9]'
	pct stop 110
	say "the VM first: the container waits as container_start says"
	start 104 --holder
	echo 'container_start = "wait"; busy_wait_seconds = 2;' >"$settings"
	assert_exit 255 pct start 110
	assert_match "$out" 'it is not at home after 2 s'
	assert_card_lent "$card1"
	echo 'container_start = "later";' >"$settings"
	assert_exit 255 pct start 110
	assert_eq "$(pct status 110)" 'status: stopped'
	stop 104
	await_container 110
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
}

# Proxmox runs no hookscript then. With the card at home nothing is missing; without it the container has no
# node, and stays down until somebody starts it.
test_container_that_reboots_from_within() {
	local init
	container_with_card 110 "$(control_of "$card1")"
	echo 'hookscript: local:snippets/gpu-ferry' >>/etc/pve/lxc/110.conf
	container_start 110
	init=$(lxc-info -n 110 -p -H)
	pct exec 110 -- systemctl reboot
	for _ in {1..300}; do
		[ "$(lxc-info -n 110 -p -H)" = "$init" ] || break
		sleep 0.1
	done
	await_container 110
	vm_with_card 104 "$short1"
	echo 'make_room = ( { container = 110; unit = "ollama.service"; } );' >"$settings"
	start 104 --holder
	assert_card_lent "$card1"
	pct exec 110 -- systemctl reboot
	for _ in {1..300}; do
		[ "$(pct status 110)" = 'status: running' ] || break
		sleep 0.1
	done
	sleep 2
	assert_eq "$(pct status 110)" 'status: stopped'
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
	container_start 110
}
