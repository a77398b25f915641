# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# gpu-ferry guest, before a real qemu-guest-agent. The package manager, ubuntu-drivers, nvidia-smi and
# the restart are stand-ins: what is tested is what the guest is told to do, and when.
# shellcheck disable=SC2016 # the stand-ins are scripts in quotes

socket=/run/qemu-server/104.qga

stand_in() { # NAME, its script on stdin
	{
		echo '#!/bin/bash'
		echo 'echo "${0##*/} $*" >>"$WORLD/calls"'
		cat
	} >"$world/bin/$1"
	chmod +x "$world/bin/$1"
}

guest_function() { # ADDRESS VENDOR DEVICE [DRIVER]
	mkdir -p "$world/pci/$1"
	echo "$2" >"$world/pci/$1/vendor"
	echo "$3" >"$world/pci/$1/device"
	[ $# = 3 ] || ln -sfn "/sys/bus/pci/drivers/$4" "$world/pci/$1/driver"
}

# world_make ID: a guest of Debian or Ubuntu that has the card, and nouveau on it.
world_make() {
	world=$scratch/world
	mkdir -p "$world"/{bin,pci,log,apt/sources.list.d}
	: >"$world/calls"
	printf 'ID=%s\nPRETTY_NAME="%s of tests"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n' "$1" "$1" \
		>"$world/os-release"
	guest_function 0000:01:00.0 0x10de 0x2704 nouveau
	guest_function 0000:01:00.1 "$(cat "$pci/$card1.1/vendor")" "$(cat "$pci/$card1.1/device")" snd_hda_intel
	guest_function 0000:01:00.2 "$(cat "$pci/$card1.2/vendor")" "$(cat "$pci/$card1.2/device")"
	stand_in apt-get <<-'END'
		[[ $* != *indextargets* ]] || { echo bookworm main http://mirror.test/debian && exit; }
		echo "apt-get stand-in: $*"
		if [ -e "$WORLD/fail" ] && [[ $* == *$(cat "$WORLD/fail")* ]]; then
			echo "E: Unable to locate package ($(cat "$WORLD/fail"))"
			exit 100
		fi
		[[ $* != *nvidia-driver* ]] || cp "$WORLD/nvidia-smi" "$WORLD/installed"
	END
	stand_in apt-cache <<<'echo "  Candidate: (none)"'
	stand_in dpkg-query <<<'[ ! -e "$WORLD/installed" ] || echo installed'
	stand_in add-apt-repository <<<'touch "$WORLD/ppa"'
	stand_in ubuntu-drivers <<-'END'
		case $1 in
		devices)
			echo "driver   : nvidia-driver-535 - distro non-free"
			[ -e "$WORLD/ppa" ] && echo "driver   : nvidia-driver-550 - third-party non-free recommended"
			;;
		install) echo "ubuntu-drivers stand-in: no signed module" && exit 1 ;;
		esac
	END
	printf '#!/bin/sh\necho "NVIDIA GeForce RTX 4080, 550.78"\n' >"$world/nvidia-smi"
	printf '#!/bin/sh\necho "shutdown $*" >>%s/calls\nkill $(cat %s/agent.pid)\n' "$world" "$world" >"$world/shutdown"
	chmod +x "$world/nvidia-smi" "$world/shutdown"
}

# The VM, and its guest. Only one test needs the card to move: for the others a process is its QEMU.
guest_start() {
	vm_with_card 104 "$short1"
	echo 'agent: 1' >>/etc/pve/qemu-server/104.conf
	(exec -a kvm perl -e 'sleep 600' -- -id 104 -pidfile /var/run/qemu-server/104.pid) &
	vm=$!
	echo $vm >/run/qemu-server/104.pid
	agent_start
}

agent_start() { # [QEMU-GA-OPTIONS]
	local n
	# ends with a test that fails
	setpriv --pdeathsig TERM stand-in-guest "$world" "$socket" "$@" >"$scratch/agent.log" 2>&1 &
	guest=$!
	for n in {1..100}; do
		[ ! -S "$socket" ] || return 0
		sleep 0.1
	done
	cat "$scratch/agent.log"
	fail "qemu-ga does not start"
}

agent_end() {
	kill "$guest"
	wait "$guest" || true
}

guest_end() {
	agent_end
	kill $vm
	rm /run/qemu-server/104.pid
}

# A program that has the agent's connection.
connect() {
	perl -MIO::Socket::UNIX -e '$| = 1; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; print "connected\n"; sleep 60' \
		"$socket" >"$scratch/connected" &
	client=$!
	until grep -q . "$scratch/connected"; do sleep 0.1; done
}

state_of() {
	json guest 104 | jq -r .agent.state
}

test_guest_shows_its_card_and_driver() {
	world_make debian
	vm_with_card 104 "$short1"
	echo 'agent: 1' >>/etc/pve/qemu-server/104.conf
	start 104 --holder
	agent_start
	assert_exit 1 gpu-ferry guest 104
	assert_match "$out" "$card1.0 +10de:2704 +0000:01:00.0 +nouveau"
	assert_match "$err" "no NVIDIA driver in the guest, but nouveau"

	mv "$world/nvidia-smi" "$world/bin/"
	assert_exit 0 gpu-ferry guest 104
	assert_match "$out" 'nvidia-smi answers: driver 550.78, NVIDIA GeForce RTX 4080'

	printf '#!/bin/sh\necho "NVIDIA-SMI has failed"\nexit 9\n' >"$world/bin/nvidia-smi"
	assert_exit 1 gpu-ferry guest 104
	assert_match "$err" 'nvidia-smi ended with 9: NVIDIA-SMI has failed'

	rm -r "$world/pci/0000:01:00.0"
	assert_exit 1 gpu-ferry guest 104
	assert_match "$err" "$card1.0 .10de:2704. is not on the guest's PCI bus"
	agent_end
	stop 104
	assert_card_home "$card1"
}

test_guest_agents_states_are_told_apart() {
	world_make debian
	assert_eq "$(json guest 104)" '' "JSON of no VM"
	guest_start
	connect
	assert_eq "$(state_of)" busy
	kill "$client"
	assert_eq "$(state_of)" answers
	assert_eq "$(cat "$world/calls")" '' "calls in the guest"

	agent_end
	assert_eq "$(state_of)" 'vm not running'
	rm "$socket"
	assert_eq "$(state_of)" 'no socket'
	agent_start -b guest-exec
	assert_eq "$(state_of)" 'no command'
	guest_end
	assert_eq "$(state_of)" 'vm not running'
}

test_guest_installs_the_driver_of_debian() {
	world_make debian
	guest_start
	assert_exit 0 gpu-ferry guest 104 --install-driver --dry-run
	assert_eq "$(cat "$world/calls")" '' "calls of a dry run"
	assert_exit 0 gpu-ferry guest 104 --install-driver
	# each step is named, then its output follows
	assert_eq "$(printf '%s\n' "$out" | grep -o '^gpu-ferry: step [0-9] of 7' | tr '\n' ,)" \
		"$(printf 'gpu-ferry: step %s of 7,' 1 2 3 4 5 6 7)"
	assert_match "$out" 'step 5 of 7[^|]*  \| apt-get stand-in: [^|]* install nvidia-driver nvidia-smi'
	assert_match "$out" 'nvidia-smi answers: driver 550.78'
	assert_eq "$(cat "$world/apt/sources.list.d/gpu-ferry.list")" \
		'deb http://mirror.test/debian bookworm contrib non-free non-free-firmware'
	assert_match "$(cat "$world/calls")" "install linux-headers-$(uname -r | sed 's/[.+]/\\&/g') linux-headers-amd64"
	assert_match "$(cat "$world/calls")" 'shutdown .*-r'
	say "and again: nothing to do"
	: >"$world/calls"
	assert_exit 0 gpu-ferry guest 104 --install-driver
	assert_match "$out" 'nothing to install'
	assert_eq "$(cat "$world/calls")" '' "calls of a second run"
	guest_end
}

test_guest_installs_the_driver_of_ubuntu() {
	world_make ubuntu
	guest_start
	assert_exit 0 gpu-ferry guest 104 --install-driver
	assert_match "$out" 'recommended: nvidia-driver-550'
	assert_match "$(cat "$world/calls")" 'add-apt-repository -y ppa:graphics-drivers/ppa'
	assert_match "$(cat "$world/calls")" 'install linux-headers-[^ ]* nvidia-driver-550'
	guest_end
}

test_guest_installation_stops_at_the_first_failure() {
	world_make debian
	echo linux-headers >"$world/fail"
	guest_start
	assert_exit 1 gpu-ferry guest 104 --install-driver
	assert_one_line "$err"
	assert_match "$err" 'step 4 of 7 .*: it ended with 100 in the guest: E: Unable to locate package .linux-headers.'
	! grep -E 'nvidia-driver nvidia-smi|shutdown' "$world/calls" || fail "steps were taken after the failure"
	grep -q 'Unable to locate' "$world/log/gpu-ferry-driver.log" || fail "the guest keeps no log"
	guest_end
}
