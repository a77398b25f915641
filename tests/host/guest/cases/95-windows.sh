# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# windows_blacklist: the host's display driver while a Windows guest has the card.

windows_file=/run/modprobe.d/gpu-ferry-104.conf

windows_with_card() {
	vm_with_card "$1" "$2"
	sed -i 's/ostype: l26/ostype: win11/' "/etc/pve/qemu-server/$1.conf"
}

assert_loaded() {
	grep -q "^$1 " /proc/modules || fail "the module $1 is not loaded"
}

assert_not_loaded() {
	! grep -q "^$1 " /proc/modules || fail "the module $1 is loaded${2:+: }${2:-}"
}

# The other card would keep the driver in memory.
leave_second_card() {
	[ "$(driver_of "$card2.0")" != none ] || return 0
	echo "$card2.0" >"$pci/$card2.0/driver/unbind"
}

# Whatever goes by an alias: modprobe, the events of udev, and a device that comes anew.
assert_no_alias_brings_it_back() {
	local n
	modprobe "$(cat "$pci/$card2.0/modalias")" || true
	assert_not_loaded bochs 'modprobe of an alias brought it'
	udevadm trigger --action=add --settle "$pci/$card2.0"
	assert_not_loaded bochs 'an event of udev brought it'
	# the whole card, or the display would have other ways of reset than before
	for n in 2 1 0; do
		echo 1 >"$pci/$card2.$n/remove"
	done
	echo 1 >/sys/bus/pci/rescan
	udevadm settle
	vga_hide
	[ -e "$pci/$card2.0" ] || fail "the card has not come back"
	assert_not_loaded bochs 'a device that came brought it'
}

limit_windows_driver_is_out_of_memory_while_the_vm_runs=240
test_windows_driver_is_out_of_memory_while_the_vm_runs() {
	say "as after a boot: the running udevd has never seen /run/modprobe.d"
	rm -rf /run/modprobe.d
	systemctl restart systemd-udevd.service
	udevadm trigger --action=change --settle "$pci/$card2.0"
	leave_second_card
	windows_with_card 104 "$short1"
	assert_match "$(json plan 104 | jq -r '.steps[].operation' | tr '\n' ' ')" '^reload .* blacklist unload_unused $'
	start 104 --holder
	assert_card_lent "$card1"
	assert_not_loaded bochs
	assert_loaded snd_hda_intel
	assert_match "$(cat $windows_file)" 'blacklist bochs'
	! grep -E 'snd|xhci|vfio' $windows_file || fail "more than the display's modules is blacklisted"
	assert_no_alias_brings_it_back
	stop 104
	assert_loaded bochs
	assert_home
	say "udevd knows, too: a device that comes has its driver"
	echo "$card1.0" >"$pci/$card1.0/driver/unbind"
	leave_second_card
	modprobe -r bochs
	udevadm trigger --action=add --settle "$pci/$card1.0"
	assert_home
}

test_windows_driver_of_a_second_card_stays() {
	windows_with_card 104 "$short1"
	start 104 --holder
	assert_match "$(task_log 104)" "bochs stays loaded, because $card2.0 uses it too: only the card is taken"
	assert_card_lent "$card1"
	assert_loaded bochs
	assert_card_home "$card2"
	assert_match "$(cat $windows_file)" 'blacklist bochs'
	stop 104
	assert_home
}

# Each has its own file and goes by its own loan: the one that stops takes nothing from the other.
limit_windows_guests_with_two_cards_of_one_driver=240
test_windows_guests_with_two_cards_of_one_driver() {
	local other=${windows_file/104/105}
	windows_with_card 104 "$short1"
	windows_with_card 105 "$short2"
	start 104 --holder
	assert_loaded bochs
	start 105 --holder
	assert_not_loaded bochs
	say "the one that found it loaded stops: its card needs the driver, whatever the other blacklists"
	stop 104
	assert_card_home "$card1"
	assert_card_lent "$card2"
	[ ! -e "$windows_file" ] || fail "the blacklist of the VM that stopped is still there"
	assert_match "$(cat "$other")" 'blacklist bochs'
	stop 105
	assert_home
}

test_windows_start_that_fails_leaves_no_blacklist() {
	leave_second_card
	windows_with_card 104 "$short1"
	say "a folder that cannot be made: the step itself fails"
	rm -rf /run/modprobe.d
	: >/run/modprobe.d
	assert_exit 1 "$hook" 104 pre-start
	rm /run/modprobe.d
	assert_one_error "$err"
	assert_match "$err" modprobe.d
	assert_card_home "$card1"
	assert_loaded bochs
	assert_eq "$(loans)" '' "loans after"
	say "QEMU does not come up: no post-stop"
	! task start 104 --fail-start || fail "the VM starts"
	assert_not_loaded bochs
	[ -e $windows_file ] || fail "there is no blacklist to be removed"
	assert_exit 0 gpu-ferry reconcile
	assert_home
}

# Killed with its child in the system call that unloads the module, before and after it took effect.
killed_while_unloading() {
	local n
	rm -f "$scratch/trace"
	strace -f --seccomp-bpf -qq -o "$scratch/trace" -e trace=delete_module -e inject=delete_module:"$1"=3000000 \
		"$hook" 104 pre-start >/dev/null 2>&1 &
	for n in {1..200}; do
		! grep -q delete_module "$scratch/trace" 2>/dev/null || break
		[ "$1" != delay_exit ] || grep -q '^bochs ' /proc/modules || break
		sleep 0.1
	done
	pkill -9 -x gpu-ferry || fail "the hook was not there to be killed"
	wait $! || true
	[ -e $windows_file ] || fail "it was not killed where it should have been"
	assert_eq "$(loans)" /run/gpu-ferry/loans/vm-104.json "the loan"
	assert_exit 0 gpu-ferry reconcile
	assert_card_home "$card1"
	assert_loaded bochs
	assert_eq "$(ls -A /run/modprobe.d)" '' "what is left in /run/modprobe.d"
}

test_windows_hook_that_is_killed_leaves_no_blacklist() {
	windows_with_card 104 "$short1"
	leave_second_card
	killed_while_unloading delay_enter
	leave_second_card
	killed_while_unloading delay_exit
	assert_home
}

# The Windows guest is gone and post-stop never came; a Linux guest starts on its card at once.
test_windows_blacklist_is_never_there_for_a_linux_guest() {
	leave_second_card
	windows_with_card 104 "$short1"
	vm_with_card 105 "$short1"
	start 104 --holder
	systemctl stop gpu-ferry-watch.path gpu-ferry-watch.service
	task kill 104 --no-post-stop
	start 105 --holder
	assert_match "$(task_log 105)" 'are taken over directly from VM 104'
	assert_eq "$(ls -A /run/modprobe.d)" '' "what is in /run/modprobe.d"
	stop 105
	assert_home
	say "and alone"
	assert_exit 0 strace -f --seccomp-bpf -qq -o "$scratch/trace" -e trace=openat,openat2,rename,renameat,renameat2,mkdirat \
		"$hook" 105 pre-start
	! grep 'gpu-ferry-1[0-9]*.conf' "$scratch/trace" || fail "a blacklist was touched"
	! grep -E 'O_CREAT.*modprobe.d|modprobe.d.*O_CREAT' "$scratch/trace" || fail "a blacklist was written"
	assert_exit 0 "$hook" 105 post-stop
	systemctl start gpu-ferry-watch.path
	assert_home
}

test_windows_blacklist_permanent_and_off_change_nothing() {
	windows_with_card 104 "$short1"
	echo 'vms = ( { vmid = 104; windows_blacklist = "permanent"; } );' >"$settings"
	assert_exit 0 "$hook" 104 pre-start
	assert_match "$out" 'windows_blacklist is "permanent", and no line of modprobe.d blacklists bochs'
	[ ! -e $windows_file ] || fail "a file was written"
	assert_exit 0 "$hook" 104 post-stop
	echo 'blacklist bochs' >/etc/modprobe.d/test-permanent.conf
	assert_exit 0 gpu-ferry plan 104
	[[ $out != *notice* ]] || fail "a notice though the line is there"
	echo 'windows_blacklist = "off";' >"$settings"
	assert_exit 0 gpu-ferry plan 104
	[[ $out != *blacklist* ]] || fail "a blacklist although it is off"
	assert_home
}
