# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A card that somebody uses: found and named before anything is changed, and waited for; and a driver that
# does not let go.

# In the hang that this spares, nothing but a reboot helps: with this node open, snd_hda_intel's
# unbind does not come back.
test_holder_is_found_before_anything_is_changed() {
	local node
	node=$(control_of "$card1")
	hold "$node"
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	kill -0 "$holder" || fail "somebody that nobody listed was ended"
	assert_one_line "$err"
	assert_match "$err" "in use by sleep \(PID $holder, ${node##*/}\)"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
	assert_eq "$(json list --all | jq -c --arg address "$card1.1" '.[] | select(.address == $address).holders')" \
		"[{\"kind\":\"process\",\"pid\":$holder,\"command\":\"sleep\",\"guest\":null,\"unit\":\"host-tests.service\",\"application\":null,\"node\":\"${node##*/}\",\"address\":\"$card1.1\"}]"
	assert_eq "$(json plan 104 | jq -c '[.blockers[0].code, (.holders | map(.pid))]')" "[\"held\",[$holder]]"
	assert_eq "$(json list --all | jq -c --arg address "$card2.1" '.[] | select(.address == $address).holders')" '[]'
	release
	assert_exit 0 gpu-ferry plan 104
}

test_each_of_many_holders_is_named() {
	local node pid
	node=$(control_of "$card1")
	for _ in {1..40}; do
		hold "$node"
	done
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	while read -r pid; do
		assert_match "$err" "sleep \(PID $pid, ${node##*/}\)"
	done </run/tests.holders
	assert_match "$err" 'end that first'
	gpu-ferry list --all | grep -F "$card1.1" | grep -E 'sleep [0-9]+, and [0-9]+ more'
	release
}

# A container has nodes of its own making, and a node may be gone while it is open.
test_nodes_of_a_container_and_deleted_ones_count() {
	local group=/sys/fs/cgroup/lxc/105 number
	number=$(cat "$pci/$card1.0"/drm/card*/dev)
	say "in a mount namespace of its own, under another name, and deleted"
	unshare --mount sh -c "mount -t tmpfs none /mnt && mknod /mnt/other c ${number/:/ } && exec 3</mnt/other &&
		rm /mnt/other && exec sleep 1000" >/dev/null 2>&1 &
	holder=$!
	echo $holder >>/run/tests.holders
	until grep -q ^sleep "/proc/$holder/comm"; do sleep 0.05; done
	[ ! -e /mnt/other ] || fail "this test tests nothing"
	mkdir -p $group
	echo "$holder" >$group/cgroup.procs
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "in use by container 105 \(sleep, PID $holder\)"
	assert_eq "$(json plan 104 | jq -c '.holders | map([.kind, .guest, .node])')" '[["container",105,"'"$(basename "$pci/$card1.0"/drm/card*)"'"]]'
	release
	assert_card_home "$card1"
	# The kernel lets go of the group a moment after its last process.
	until rmdir $group 2>/dev/null; do sleep 0.1; done
	rmdir /sys/fs/cgroup/lxc
}

test_mapping_without_a_descriptor_counts() {
	local pid
	drm-mapping "/dev/dri/$(basename "$pci/$card1.0"/drm/card*)" >"$scratch/mapped" &
	pid=$!
	echo $pid >>/run/tests.holders
	until grep -q mapped "$scratch/mapped"; do sleep 0.1; done
	! readlink "/proc/$pid"/fd/* | grep dri || fail "it still has a descriptor: this test tests nothing"
	assert_exit 1 gpu-ferry bind "$short1"
	assert_one_line "$err"
	assert_match "$err" "in use by drm-mapping \(PID $pid, card[0-9]+\)"
	assert_card_home "$card1"
}

test_users_of_each_function_are_listed() {
	local text usb
	usb=$(cd "$pci/$card1.2" && echo usb*)
	usb=${usb%% *}
	hold "/dev/dri/$(basename "$pci/$card1.0"/drm/card*)"
	hold "/dev/$(basename "$pci/$card1.0"/graphics/fb*)"
	hold "$(control_of "$card1")"
	hold "/dev/snd/$(basename "$pci/$card1.1"/sound/card*/hwC*)"
	hold "$(printf '/dev/bus/usb/%03d/001' "${usb#usb}")"
	# that of the keyboard
	hold "/dev/$(find "$(readlink -f "$pci/$usb_host")" -name 'hidraw[0-9]*' -printf '%f\n')"
	text=$(json list --all | jq -r --arg card "$card1" --arg keyboard "$usb_host" \
		'.[] | select((.address | startswith($card)) or .address == $keyboard) | .holders[] |
			select(.command == "sleep").node | sub("[0-9D]+$"; "")')
	assert_eq "${text//$'\n'/ }" 'hidraw card fb controlC hwC usb'
	assert_exit 0 gpu-ferry list
	assert_match "$out" 'HOLDERS'
	assert_match "$out" 'sleep [0-9]+'
	say "one look over the processes, for descriptors and mappings alike"
	strace -f --seccomp-bpf -qq -o "$scratch/trace" -e trace=openat gpu-ferry list --all >/dev/null
	assert_eq "$(grep -c '"/proc", O_RDONLY' "$scratch/trace")" 1 "looks over /proc"
}

# VMs and processes of the host: who has a lent card's group, and who has a card that is at home.
test_vms_and_users_of_vfio_are_holders() {
	local group=/sys/fs/cgroup/qemu.slice/107.scope number
	number=$(basename "$(readlink "$pci/$card1.0/iommu_group")")
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_eq "$(json list --all | jq -c --arg address "$card1.1" '.[] | select(.address == $address).holders | map([.kind, .guest, .node])')" \
		"[[\"vm\",104,\"vfio/$number\"]]"
	stop 104
	say "a VM that draws on the host's card"
	hold "/dev/dri/$(basename "$pci/$card1.0"/drm/card*)"
	mkdir -p $group
	echo "$holder" >$group/cgroup.procs
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "in use by VM 107 \(sleep, PID $holder\)"
	assert_card_home "$card1"
	release
	until rmdir $group 2>/dev/null; do sleep 0.1; done
	say "a program of the host that has a group: the return waits for it, then names it"
	echo 'return_wait_seconds = 1;' >"$settings"
	assert_exit 0 gpu-ferry bind "$short1"
	hold "/dev/vfio/$number"
	assert_exit 1 gpu-ferry unbind "$short1"
	assert_match "$err" "/dev/vfio/$number is still open after 1 s: sleep \(PID $holder, vfio/$number\)"
	assert_card_lent "$card1"
	release
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_card_home "$card1"
}

# Lent by hand to a driver of the host's own, a card is used like any other there: its remove() waits for
# these users on the way home as it does on the way out.
test_users_of_a_card_on_a_driver_by_hand_are_found_before_it_goes_home() {
	modprobe slowdriver
	assert_exit 0 gpu-ferry bind "$short1" --driver slowdriver
	hold "/dev/slowdriver-$card1.1"
	assert_exit 1 timeout 20 gpu-ferry unbind "$short1"
	assert_one_line "$err"
	assert_match "$err" "in use by sleep \(PID $holder, slowdriver-$card1.1\)"
	assert_driver "$card1.0" slowdriver
	assert_driver "$card1.1" slowdriver
	assert_eq "$(json status | jq -r '.loans[0].state')" lent
	release
	assert_exit 0 gpu-ferry unbind "$short1"
	assert_card_home "$card1"
	rmmod slowdriver
}

# No process has it open; the module's count says that something in the kernel has it.
test_kernel_user_is_a_holder() {
	modprobe slowdriver
	adopt "$card1.1" slowdriver
	echo 1 >/sys/module/slowdriver/parameters/pinned
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" 'in use by the kernel \(a user of the module slowdriver that no process lists\)'
	assert_driver "$card1.1" slowdriver
	assert_eq "$(json plan 104 | jq -c '.holders | map([.kind, .pid, .command])')" '[["kernel",null,"slowdriver"]]'
	say "the count is a guess: who knows better may allow it"
	echo "allow = [ \"$card1.1\" ];" >"$settings"
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_driver "$card1.1" slowdriver
	: >"$settings"
	assert_exit 1 gpu-ferry plan 104
	echo 0 >/sys/module/slowdriver/parameters/pinned
	assert_exit 0 gpu-ferry plan 104
	host_reset >/dev/null 2>&1 || true
}

test_start_waits_for_a_holder_to_end() {
	echo 'busy = "wait"; busy_wait_seconds = 60;' >"$settings"
	hold "$(control_of "$card1")"
	vm_with_card 104 "$short1"
	(task start 104 --holder) &
	local starting=$! n
	for n in {1..100}; do
		grep -qs 'waiting up to 60 s' "$scratch/task.104" && break
		sleep 0.2
	done
	assert_match "$(task_log 104)" "in use by sleep \(PID $holder, .*: waiting up to 60 s"
	# Nobody else has to wait with it: the lock is taken for a moment only, at each new look.
	n=$(basename "$(readlink "$pci/$card1.0/iommu_group")")
	flock -w 10 "/run/gpu-ferry/locks/group-$n" true || fail "the group is locked while it waits"
	assert_card_home "$card1"
	release
	wait $starting
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}

test_start_that_has_waited_long_enough_fails() {
	echo 'busy = "wait"; busy_wait_seconds = 1;' >"$settings"
	hold "$(control_of "$card1")"
	assert_exit 1 gpu-ferry bind "$short1"
	assert_match "$err" "in use by sleep \(PID $holder"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' loans
}

# A start of VM 104 that stops between its last look for holders and the write that takes ADDRESS off
# DRIVER. strace is not the hook's parent, for it would keep the task's pipes; it only stops it.
start_until_unbind() { # DRIVER
	local traced=/run/tests.traced
	cat >/var/lib/vz/snippets/test-traced <<-END
		#!/bin/sh
		echo \$\$ >$traced
		until grep -q '^TracerPid:[^0-9]*[1-9]' /proc/\$\$/status; do sleep 0.1; done
		exec $hook "\$@"
	END
	chmod +x /var/lib/vz/snippets/test-traced
	hookscript=test-traced vm_with_card 104 "$short1"
	rm -f $traced
	(task start 104 --holder || true) &
	starting=$!
	until [ -s $traced ]; do sleep 0.1; done
	strace -f -qq -o "$scratch/trace" -e trace=openat2 -P "sys/bus/pci/drivers/$1/unbind" \
		-e inject=openat2:signal=STOP -p "$(cat $traced)" &
	tracer=$!
	until grep -q 'stopped by SIGSTOP' "$scratch/trace"; do sleep 0.1; done
	child=$(sed -n 's/ .*stopped by SIGSTOP.*//p' "$scratch/trace")
	rm $traced
}

# Strace ends by KILL: it would wait for the process that is about to sleep in the kernel.
go_on() {
	kill -KILL "$tracer"
	wait "$tracer" || true
	kill -CONT "$child"
}

assert_nothing_of_the_callers() { # CHILD DRIVER
	local n
	for n in "/proc/$1"/fd/*; do
		assert_match "$(readlink "$n")" "^(/|/dev/null|socket:.*|/sys/bus/pci/drivers/$2/unbind)\$" "descriptor ${n##*/}"
	done
	for n in /run/gpu-ferry/locks/{vm-104,group-*} /var/lock/qemu-server/lock-104.conf; do
		flock -n "$n" true || fail "$n is still locked"
	done
}

# While it lasts, nothing is waited for: each of these would hang, and not end by a signal, if it were.
assert_overdue() { # ADDRESS HOLDER
	assert_eq "$(json status | jq -c '.loans[0] | [.state, (.functions[] | select(.holders != []) | .address, .holders[0].pid)]')" \
		"[\"overdue\",\"$1\",$2]"
	assert_exit 1 timeout 10 gpu-ferry status
	assert_match "$err" "overdue: process $child waits in its driver until its users have ended: sleep $2"
	assert_exit 0 timeout 10 gpu-ferry list --all
	assert_exit 1 timeout 20 gpu-ferry doctor
	assert_match "$out" 'FAIL: .*overdue'
	assert_exit 1 timeout 10 gpu-ferry plan 105 --output-format json
	assert_eq "$(jq -c '[.blockers[0].code, .holders[0].pid]' <<<"$out")" "[\"overdue\",$2]"
	assert_exit 1 timeout 10 gpu-ferry bind "$short1"
	assert_match "$err" "$1.*not finished"
	assert_exit 1 timeout 10 "$hook" 105 pre-start
	assert_match "$err" "$1.*not finished"
	assert_exit 1 timeout 10 "$hook" 104 pre-start
	assert_match "$err" "$1.*not finished"
}

# One function is overdue: neither the others of its card are, nor is the other card.
assert_rest_works_and_card_comes_home() {
	assert_driver "$card1.0" bochs-drm
	assert_driver "$card1.2" xhci_hcd
	say "the other card goes on working"
	assert_eq "$(json list --all | jq -c --arg address "$card2.1" '.[] | select(.address == $address).holders')" '[]'
	start 106 --holder
	assert_card_lent "$card2"
	stop 106
	assert_card_home "$card2"
	control_of "$card2"
	assert_card_comes_home
}

assert_card_comes_home() {
	local n
	say "when the holder ends, the card comes home by itself"
	release
	for n in {1..60}; do
		[ -n "$(loans)" ] || break
		sleep 0.5
	done
	assert_eq "$(loans)" '' "loans, 30 s after the holder is gone"
	assert_card_home "$card1"
}

# The kernel gives the number of a sound card away before that card is gone, and fails with the next one
# that it gives it to (hdaudioC0D0: "cannot create duplicate filename", 6.1): so that the other card
# can leave and come back, the one that gets stuck has the higher number.
card1_sounds_last() {
	local address
	[[ $(control_of "$card1") < $(control_of "$card2") ]] || return 0
	for address in "$card1.1" "$card2.1"; do
		echo "$address" >/sys/bus/pci/drivers/snd_hda_intel/unbind
	done
	for address in "$card2" "$card1"; do
		echo "$address.1" >/sys/bus/pci/drivers/snd_hda_intel/bind
		control_of "$address" >/dev/null
	done
	udevadm settle
}

# Somebody opens the sound card in the last moment: then the unbind of the kernel's own snd_hda_intel
# does not come back. Everything else does.
limit_sound_driver_that_does_not_let_go=150
test_sound_driver_that_does_not_let_go() {
	local starting tracer child node began
	echo 'write_deadline_seconds = 5;' >"$settings"
	vm_with_card 105 "$short1"
	vm_with_card 106 "$short2"
	card1_sounds_last
	node=$(control_of "$card1")
	start_until_unbind snd_hda_intel
	hold "$node"
	go_on
	began=$SECONDS
	say "the task ends, although the write does not"
	wait "$starting"
	say "$((SECONDS - began)) s after the write, with a deadline of 5 s"
	[ $((SECONDS - began)) -le 15 ] || fail "it took $((SECONDS - began)) s"
	assert_match "$(task_log 104)" "unbind $card1.1 from snd_hda_intel: the driver did not release it within 5 s: sleep \(PID $holder, ${node##*/}\)( of [^ ]+)? still holds it"
	assert_match "$(task_log 104)" 'hookscript error for 104 on pre-start: .* exit code 1'
	assert_match "$(task_log 104)" 'comes home by itself when that ends; .*sysrq'
	assert_match "$(cat "/proc/$child/stat")" '\) D '
	assert_match "$(cat "/proc/$child/stack")" snd_card_free
	assert_eq "$(jq '.steps[] | select(.state == "stuck").child.pid' /run/gpu-ferry/loans/vm-104.json)" "$child"
	assert_nothing_of_the_callers "$child" snd_hda_intel
	assert_overdue "$card1.1" "$holder"
	assert_rest_works_and_card_comes_home
}

# A start of VM 104 that card1's sound driver keeps, and the process group of its task.
start_that_does_not_come_back() {
	card1_sounds_last
	start_until_unbind snd_hda_intel
	hold "$(control_of "$card1")"
	go_on
	until grep -q ') D ' "/proc/$child/stat"; do sleep 0.1; done
	group=$(ps -o pgid= -p "$(ps -o ppid= -p "$child" | tr -d ' ')" | tr -d ' ')
}

# The same, and somebody presses Stop long before the deadline: TERM to the task's process group, and KILL
# 5 s later.
limit_stop_button_while_a_driver_does_not_let_go=150
test_stop_button_while_a_driver_does_not_let_go() {
	local starting tracer child group n
	echo 'write_deadline_seconds = 600;' >"$settings"
	vm_with_card 106 "$short2"
	start_that_does_not_come_back
	say "the other card is not taken to be in use"
	assert_eq "$(json list --all | jq -c --arg address "$card2.1" '.[] | select(.address == $address).holders')" '[]'
	kill -TERM -- "-$group"
	# on a busy machine all is slower
	for n in {1..100}; do
		kill -0 -- "-$group" 2>/dev/null || break
		sleep 0.1
	done
	! kill -KILL -- "-$group" 2>/dev/null || fail "it is not done after 10 s"
	say "done after $((n * 100)) ms"
	wait "$starting" || true
	assert_eq "$(json status | jq -c '.loans[0] | [.state, (.functions[] | select(.holders != []) | .address, .holders[0].pid)]')" \
		"[\"overdue\",\"$card1.1\",$holder]"
	assert_nothing_of_the_callers "$child" snd_hda_intel
	assert_rest_works_and_card_comes_home
}

# The same, and the hook is killed: nobody is left to say that the write is past its deadline.
limit_killed_hook_leaves_a_driver_that_does_not_let_go=150
test_killed_hook_leaves_a_driver_that_does_not_let_go() {
	local starting tracer child group
	echo 'write_deadline_seconds = 10;' >"$settings"
	vm_with_card 105 "$short1"
	start_that_does_not_come_back
	kill -KILL -- "-$group"
	wait "$starting" || true
	assert_eq "$(jq -r .state /run/gpu-ferry/loans/vm-104.json)" taking "the state that it left"
	until [ "$(json status | jq -r '.loans[0].state')" = overdue ]; do sleep 0.5; done
	assert_overdue "$card1.1" "$holder"
	assert_card_comes_home
}
