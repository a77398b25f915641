# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The driver does not take the card back.

probes_since() {
	dmesg | sed -n "/$1/,\$p" | grep -c 'not supported by the' || true
}

limit_probe_that_fails_on_the_way_home=300
test_probe_that_fails_on_the_way_home() {
	vm_with_card 104 "$short1"
	start 104 --holder
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	chip 0
	echo "tests: it stops" >/dev/kmsg
	task stop 104
	assert_match "$(task_log 104)" "bind $card1.0 to nvidia: the driver did not take it: .NVRM: .*see .dmesg"
	assert_eq "$(probes_since 'tests: it stops')" 1 "how often the driver was asked"
	assert_driver "$card1.0" none
	assert_driver "$card1.1" snd_hda_intel
	assert_driver "$card1.2" xhci_hcd
	assert_eq "$(json status | jq -c '[.loans[0].state, .owed]')" "[\"owed\",[\"$card1.0\"]]"
	assert_exit 1 gpu-ferry status
	assert_match "$out" "owed +$card1.0"
	[[ ! $out =~ owed\ +$card1.1 ]] || fail "the audio function is home, and owed"
	say "the VM starts again"
	start 104 --holder
	! steps_of 104 | grep "unbind $card1.0 from nvidia" || fail "it was not on nvidia"
	assert_card_lent "$card1"
	chip 1
	stop 104
	assert_card_home "$card1"
	systemctl start gpu-ferry-watch.path
	assert_home
}

# Nobody calls post-stop: it is the watch that asks the driver, and gives its words.
limit_probe_that_fails_in_the_watch=300
test_probe_that_fails_in_the_watch() {
	local since
	vm_with_card 104 "$short1"
	start 104 --holder
	chip 0
	since=$(date +%s)
	task stop 104 --no-post-stop || true
	for _ in {1..120}; do
		! journalctl -u gpu-ferry-watch.service --since "@$since" -o cat | grep 'did not take it' || break
		sleep 0.5
	done >"$scratch/told"
	assert_match "$(cat "$scratch/told")" "bind $card1.0 to nvidia: the driver did not take it: .NVRM: .*see .dmesg"
	chip 1
	assert_exit 0 gpu-ferry reconcile
	assert_card_home "$card1"
	assert_home
}
