# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# NVIDIA's stack: test modules with its names, nodes and manners stand in for it.

assert_nvidia_home() {
	assert_driver "$1.0" nvidia
	assert_eq "$(tr -d '\n' <"$pci/$1.0/driver_override")" nvidia "the override that was there before"
	assert_driver "$1.1" snd_hda_intel
	assert_driver "$1.2" xhci_hcd
}

# As the test found it, but for the cards that are the stand-ins'.
assert_nvidia_left() {
	nvidia_gone
	assert_home
}

# From 580.105.08 nvidia_drm lets go of a card that leaves: its modules and the other card stay.
test_nvidia_card_is_unbound_alone_where_the_driver_lets_go() {
	nvidia_come "$card1" "$card2"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	assert_driver "$card2.0" nvidia
	[ -e /dev/nvidia1 ] || fail "the other card's node is gone"
	[ ! -e "/proc/driver/nvidia/gpus/$card1.0" ] || fail "the driver still has the card"
	grep -q '^nvidia_drm ' /proc/modules || fail "nvidia_drm was unloaded"
	stop 104
	assert_nvidia_home "$card1"
	assert_match "$(cat "/proc/driver/nvidia/gpus/$card1.0/information")" 'Device Minor: 	 0'
	assert_nvidia_left
}

# remove() would wait for each of these, deaf to signals.
test_nvidia_card_in_use_is_found_before_anything_is_changed() {
	local pid
	nvidia_come "$card1" "$card2"
	vm_with_card 104 "$short1"
	say "its node"
	hold /dev/nvidia0
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "in use by sleep \(PID $holder, nvidia0\)"
	assert_eq "$(json list | jq -c --arg address "$card1.0" '.[] | select(.address == $address).holders | map([.kind, .pid, .node])')" \
		"[[\"process\",$holder,\"nvidia0\"]]"
	release
	say "the other card's node, and with it the shared one: no use of this card"
	sleep 1000 3</dev/nvidia1 4</dev/nvidiactl >/dev/null 2>&1 &
	echo $! >>/run/tests.holders
	await_descriptor $!
	assert_exit 0 gpu-ferry plan 104
	release
	say "the shared node alone may be for any card"
	hold /dev/nvidiactl
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "in use by sleep \(PID $holder, nvidiactl\)"
	release
	say "a mapping without a descriptor"
	drm-mapping /dev/nvidia0 >"$scratch/mapped" &
	pid=$!
	echo $pid >>/run/tests.holders
	until grep -q mapped "$scratch/mapped"; do sleep 0.1; done
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "in use by drm-mapping \(PID $pid, nvidia0\)"
	release
	assert_nvidia_home "$card1"
	assert_eq "$(loans)" '' loans
	say "NVIDIA's own daemon holds it for nobody: stopped under every policy, and started again"
	cat >/run/systemd/system/nvidia-persistenced.service <<-END
		[Service]
		Type=exec
		ExecStart=/bin/sh -c 'exec sleep 1000 3</dev/nvidia0'
	END
	systemctl daemon-reload
	systemctl start nvidia-persistenced.service
	await_descriptor "$(systemctl show -P MainPID nvidia-persistenced.service)"
	start 104 --holder
	assert_match "$(task_log 104)" 'stop unit nvidia-persistenced\.service'
	assert_card_lent "$card1"
	stop 104
	assert_nvidia_home "$card1"
	assert_eq "$(systemctl is-active nvidia-persistenced.service)" active "the daemon"
	systemctl stop nvidia-persistenced.service
	rm /run/systemd/system/nvidia-persistenced.service
	systemctl daemon-reload
	assert_nvidia_left
}

# The check before all steps saw nobody. USB leaves first, and takes its time here.
test_nvidia_card_taken_into_use_meanwhile_is_seen_before_its_unbind() {
	local starting
	nvidia_come "$card1"
	modprobe slowdriver mode=flag release=0
	adopt "$card1.2" slowdriver
	vm_with_card 104 "$short1"
	(task start 104 --holder || true) &
	starting=$!
	until [ "$(driver_of "$card1.2")" = none ]; do sleep 0.1; done
	hold /dev/nvidia0
	echo 1 >/sys/module/slowdriver/parameters/release
	wait "$starting"
	assert_match "$(task_log 104)" "unbind $card1.0: it is in use by sleep \(PID $holder, nvidia0\)"
	assert_driver "$card1.0" nvidia
	assert_driver "$card1.1" snd_hda_intel
	assert_driver "$card1.2" slowdriver
	assert_eq "$(loans)" '' loans
	release
	host_reset >/dev/null 2>&1 || true
}

family_loaded() {
	sed -n 's/^\(nvidia[a-z_]*\) .*/\1/p' /proc/modules | sort | tr '\n' ' '
}

# Before 580.105.08, with modeset=1.
nvidia_options_old() {
	cat >/etc/modprobe.d/test-nvidia.conf <<-END
		options nvidia version=570.124.04 need_card=1
		options nvidia-drm modeset=1 lets_go=0
	END
}

# need_card: it loads only where a card is aimed at it.
nvidia_come_first() {
	echo "$card1.0" >"$pci/$card1.0/driver/unbind"
	echo nvidia >"$pci/$card1.0/driver_override"
	nvidia_come "$card1"
}

# A program that notes how it was called, and makes the node as NVIDIA's does.
nvidia_modprobe_stands_in() {
	cat >/usr/bin/nvidia-modprobe <<-'END'
		#!/bin/sh
		echo "$@" >>/run/tests.nvidia-modprobe
		rm -f /dev/nvidia-uvm
		mknod /dev/nvidia-uvm c "$(sed -n 's/ nvidia-uvm$//p' /proc/devices)" 0
	END
	chmod +x /usr/bin/nvidia-modprobe
}

nvidia_modprobe_goes() {
	rm -f /usr/bin/nvidia-modprobe /run/tests.nvidia-modprobe /dev/nvidia-uvm
}

test_nvidia_stack_that_keeps_the_card_is_unloaded_and_comes_back() {
	local family='nvidia nvidia_drm nvidia_modeset nvidia_uvm '
	nvidia_options_old
	nvidia_come_first
	nvidia_modprobe_stands_in
	assert_eq "$(family_loaded)" "$family"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	assert_match "$(task_log 104)" 'unload nvidia_drm nvidia_modeset nvidia_uvm '
	assert_eq "$(family_loaded)" 'nvidia '
	stop 104
	assert_nvidia_home "$card1"
	assert_eq "$(family_loaded)" "$family"
	assert_eq "$(cat /sys/module/nvidia_drm/parameters/modeset)" Y
	assert_eq "$(cat /run/tests.nvidia-modprobe)" '-u -c 0' "how nvidia-modprobe was called"
	[ -c /dev/nvidia-uvm ] || fail "there is no node of nvidia_uvm"
	say "only what was there comes back"
	rmmod nvidia-uvm
	start 104 --holder
	assert_eq "$(family_loaded)" 'nvidia '
	stop 104
	assert_eq "$(family_loaded)" 'nvidia nvidia_drm nvidia_modeset '
	modprobe nvidia-uvm
	nvidia_modprobe_goes
	assert_nvidia_left
}

# Console 1 goes to the framebuffer of the PCI function $1 (FBIOPUT_CON2FBMAP).
console_goes_to() {
	perl -e 'open(my $file, "<", "/dev/fb$ARGV[0]") or die "$!\n"; my $map = pack("LL", 1, $ARGV[0]);
		ioctl($file, 0x4610, $map) or die "$!\n"' "$(basename "$pci/$1"/graphics/fb* | sed s/fb//)"
}

# Before 580.105.08 nvidia_drm's own framebuffer makes the console a user of the module. (Where the
# console goes then is not asked: the kernel of a host that began with a VGA text console, as this one,
# has no system console that it would change from.)
test_nvidia_framebuffer_that_has_the_console_is_unloaded_and_comes_back() {
	nvidia_options_old
	sed -i 's/^options nvidia-drm/& fbdev=1 version=570.124.04/' /etc/modprobe.d/test-nvidia.conf
	nvidia_come_first
	console_goes_to "$card1.0"
	! rmmod nvidia-drm || fail "nobody uses it: this test tests nothing"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	assert_eq "$(family_loaded)" 'nvidia '
	stop 104
	assert_nvidia_home "$card1"
	assert_eq "$(family_loaded)" 'nvidia nvidia_drm nvidia_modeset nvidia_uvm '
	grep -q nvidia-drm /proc/fb || fail "the framebuffer did not come back"
	assert_nvidia_left
}

test_nvidia_stack_that_another_card_uses_is_refused() {
	nvidia_options_old
	nvidia_come_first
	nvidia_come "$card2"
	vm_with_card 104 "$short1"
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$card1.0 cannot leave nvidia \(version 570.124.04\): nvidia_drm holds .* because $card2.0 uses nvidia too"
	assert_nvidia_home "$card1"
	assert_nvidia_home "$card2"
	assert_eq "$(family_loaded)" 'nvidia nvidia_drm nvidia_modeset nvidia_uvm '
	say "without modesetting the driver holds no card"
	rmmod nvidia-drm
	sed -i 's/modeset=1/modeset=0/' /etc/modprobe.d/test-nvidia.conf
	modprobe nvidia-drm
	start 104 --holder
	assert_driver "$card2.0" nvidia
	stop 104
	assert_nvidia_left
}

# With Windows the whole stack leaves memory, and nvidia does not load without a card.
test_nvidia_stack_is_out_of_memory_for_windows() {
	nvidia_options_old
	echo "alias pci:v00001234d00001111* nvidia" >>/etc/modprobe.d/test-nvidia.conf
	nvidia_come_first
	vm_with_card 104 "$short1"
	sed -i 's/ostype: l26/ostype: win11/' /etc/pve/qemu-server/104.conf
	start 104 --holder
	assert_eq "$(family_loaded)" ''
	assert_match "$(cat /run/modprobe.d/gpu-ferry-104.conf)" 'blacklist nvidia'
	stop 104
	assert_nvidia_home "$card1"
	assert_eq "$(family_loaded)" 'nvidia nvidia_drm nvidia_modeset nvidia_uvm '
	assert_nvidia_left
}

# An update of the driver while the card is lent, and dkms failed: it is said once what is missing, and
# once it is there the card comes home.
limit_nvidia_driver_that_is_no_longer_installed_is_named_once=300
test_nvidia_driver_that_is_no_longer_installed_is_named_once() {
	local since release
	release=$(uname -r)
	release=${release//+/[+]}
	nvidia_options_old
	nvidia_come_first
	vm_with_card 104 "$short1"
	sed -i 's/ostype: l26/ostype: win11/' /etc/pve/qemu-server/104.conf
	start 104 --holder
	assert_eq "$(family_loaded)" ''
	module_hide nvidia
	depmod
	since=$(date +%s)
	task stop 104
	assert_match "$(task_log 104)" "nvidia is not installed for kernel $release: .dkms autoinstall -k $release"
	assert_driver "$card1.0" none
	assert_driver "$card1.1" snd_hda_intel
	assert_driver "$card1.2" xhci_hcd
	assert_eq "$(json status | jq -r '.loans[0].state')" owed
	sleep 20
	assert_eq "$(journalctl -u gpu-ferry-watch.service --since "@$since" -o cat | grep -c '^return the devices lent .*is not installed for kernel')" 1 \
		"how often the watch says it"
	modules_restore
	depmod
	assert_exit 0 gpu-ferry reconcile
	assert_nvidia_home "$card1"
	assert_nvidia_left
}

# remove() does not come back: overdue, and the rest of the host goes on.
test_nvidia_driver_that_never_lets_go_is_overdue() {
	nvidia_come "$card1" "$card2"
	echo 'write_deadline_seconds = 3;' >"$settings"
	echo 1 >/sys/module/nvidia/parameters/never
	vm_with_card 104 "$short1"
	vm_with_card 105 "$short2"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "$card1.0 .*did not release it within 3 s: it is unknown who still uses it \(process [0-9]+ waits"
	assert_match "$err" 'an ordinary reboot may hang, .*sysrq-trigger. does not'
	assert_eq "$(json status | jq -r '.loans[0].state')" overdue
	assert_driver "$card1.1" snd_hda_intel
	assert_driver "$card1.2" xhci_hcd
	assert_driver "$card2.0" nvidia
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" 'has not finished'
	assert_exit 1 gpu-ferry plan 104
	assert_exit 0 gpu-ferry list
	say "it comes back after all: the card goes home by itself"
	echo 0 >/sys/module/nvidia/parameters/never
	for n in {1..100}; do
		[ -n "$(loans)" ] || break
		sleep 0.2
	done
	assert_eq "$(loans)" '' "loans after"
	assert_nvidia_home "$card1"
	assert_nvidia_left
}

# nvidia-smi [ANSWER]: it writes what it was asked, and which driver the card had then. As NVIDIA's it
# loads nvidia_uvm.
stand_in_nvidia_smi() {
	cat >/usr/bin/nvidia-smi <<-END
		#!/bin/bash
		echo "\$* on \$(basename "\$(readlink "$pci/$card1.0/driver")")" >>/run/nvidia-smi.log
		modprobe nvidia_uvm
		case \$* in
		*--query-gpu=persistence_mode*) echo Enabled ;;
		*) ${1-:} ;;
		esac
	END
	chmod +x /usr/bin/nvidia-smi
	: >/run/nvidia-smi.log
}

nvidia_smi_goes() {
	rm -f /usr/bin/nvidia-smi /run/nvidia-smi.log
}

closed() {
	echo "-i $card1.0 --query-gpu=persistence_mode --format=csv,noheader on nvidia
-i $card1.0 -pm 0 on nvidia
drain -p $card1.0 -m 1 on nvidia"
}

opened() {
	echo "drain -p $card1.0 -m 0 on nvidia
-i $card1.0 -pm 1 on nvidia"
}

test_stand_in_nvidia_smi_closes_the_card_while_it_is_taken() {
	nvidia_come "$card1" "$card2"
	vm_with_card 104 "$short1"
	stand_in_nvidia_smi
	start 104 --holder
	assert_card_lent "$card1"
	assert_eq "$(</run/nvidia-smi.log)" "$(closed)" "the way out"
	stop 104
	assert_nvidia_home "$card1"
	assert_eq "$(</run/nvidia-smi.log)" "$(closed; opened)" "both ways"
	say "a start that fails half-way"
	stand_in_nvidia_smi
	! task start 104 --holder --fail-start || fail "it starts"
	assert_exit 0 gpu-ferry reconcile
	assert_nvidia_home "$card1"
	assert_eq "$(</run/nvidia-smi.log)" "$(closed; opened)" "a start that fails"
	say "it cannot: a remark, and the start goes on"
	stand_in_nvidia_smi 'echo "Unable to set drain state"; exit 3'
	start 104 --holder
	assert_match "$(task_log 104)" "$card1.0 is not closed to new users meanwhile: .*Unable to set drain state"
	stop 104
	assert_nvidia_home "$card1"
	say "the settings say no"
	stand_in_nvidia_smi
	echo 'nvidia_drain = "off";' >"$settings"
	start 104 --holder
	stop 104
	assert_eq "$(</run/nvidia-smi.log)" ""
	nvidia_smi_goes
	assert_nvidia_left
}

# Each call has 10 s: three on the way out, two on the way home.
limit_stand_in_nvidia_smi_that_hangs_keeps_no_card=240
test_stand_in_nvidia_smi_that_hangs_keeps_no_card() {
	nvidia_come "$card1"
	vm_with_card 104 "$short1"
	stand_in_nvidia_smi 'exec sleep 600'
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_nvidia_home "$card1"
	! pgrep -fx 'sleep 600' || fail "what hangs goes on"
	nvidia_smi_goes
	assert_nvidia_left
}

# nvidia_uvm, which came with nvidia-smi, goes and comes with its family.
test_stand_in_nvidia_smi_keeps_no_module_in_memory_for_windows() {
	nvidia_options_old
	nvidia_come_first
	rmmod nvidia_uvm
	vm_with_card 104 "$short1"
	sed -i 's/ostype: l26/ostype: win11/' /etc/pve/qemu-server/104.conf
	stand_in_nvidia_smi
	start 104 --holder
	assert_eq "$(family_loaded)" ''
	stop 104
	assert_nvidia_home "$card1"
	assert_eq "$(</run/nvidia-smi.log)" "$(closed; opened)"
	nvidia_smi_goes
	assert_nvidia_left
}
