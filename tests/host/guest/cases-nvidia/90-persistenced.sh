# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The last one: a chip that the driver tries to start, in vain, leaves something in the driver's memory, and the
# kernel complains of that when the driver is unloaded.

# The daemon starts, though the chips do not: it then holds nothing, and is in nobody's way.
limit_persistenced_goes_on=300
test_persistenced_goes_on() {
	systemctl start nvidia-persistenced.service
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	! task_log 104 | grep 'stop unit' || fail "it holds nothing"
	stop 104
	assert_card_home "$card1"
	assert_eq "$(systemctl is-active nvidia-persistenced.service)" active "the daemon"
	systemctl stop nvidia-persistenced.service
}
