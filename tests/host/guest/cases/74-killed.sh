# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The hook ends before its time, at any instruction.

# `make kill-sweep` kills before every call. These 45 make more than 40 kills: where a child or the
# group dies are two.
limit_killed_before_any_of_its_system_calls=600
test_killed_before_any_of_its_system_calls() {
	local kills
	kill-sweep 45 | tee "$scratch/sweep"
	kills=$(sed -n 's/^kill-sweep: .* calls, \([0-9]*\) kills,.*/\1/p' "$scratch/sweep")
	[ "$kills" -ge 40 ] || fail "$kills kills"
}

# The same, with a service of the host that makes room. `make kill-sweep ROOM=container` has a container.
limit_killed_while_somebody_makes_room=600
test_killed_while_somebody_makes_room() {
	kill-sweep 18 unit
}

# What Proxmox's Stop button does to the task: TERM to its process group, KILL 5 s later. The USB function
# takes its time to leave, so that the signal comes half-way.
test_stop_button_half_way_is_undone_within_its_5_seconds() {
	local n
	modprobe slowdriver mode=delay delay_ms=1500
	adopt "$card1.2" slowdriver
	vm_with_card 104 "$short1"
	pve-vm start 104 --holder >"$scratch/task" 2>&1 &
	local task=$!
	for n in {1..100}; do
		[ "$(driver_of "$card1.1")" != vfio-pci ] || break
		sleep 0.1
	done
	assert_driver "$card1.1" vfio-pci
	kill -TERM -- -$task
	# 5 s are Proxmox's; on a busy machine the slow driver is slower
	for n in {1..100}; do
		kill -0 -- -$task 2>/dev/null || break
		sleep 0.1
	done
	! kill -KILL -- -$task 2>/dev/null || fail "it is not done after 10 s"
	say "done after $((n * 100)) ms"
	wait $task || true
	cat "$scratch/task"
	assert_driver "$card1.0" bochs-drm
	assert_driver "$card1.1" snd_hda_intel
	assert_driver "$card1.2" slowdriver
	assert_eq "$(loans)" '' "loans after"
	host_reset >/dev/null 2>&1 || true
}

# A few, one of them with a real QEMU, four with somebody who makes room; `make soak SEQUENCES=200` plays as many as one likes.
limit_random_sequences_end_at_home=600
test_random_sequences_end_at_home() {
	soak --seed 3 --sequences 6
}
