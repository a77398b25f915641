# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What tests are written in.

pci=/sys/bus/pci/devices

find_class() {
	grep -l "^0x$1" $pci/*/class | sed 's|/class$||; s|.*/||'
}

# Two identical cards; card1 is a slot (0000:01:00), its functions are $card1.0 (display), .1 (audio), .2 (USB).
cards=$(find_class '03[08]0' | sed -n '/^0000:00:/d; s/\.0$//p')
card1=$(sed -n 1p <<<"$cards")
card2=$(sed -n 2p <<<"$cards")
nic=$(find_class 0200)
# As a person and Proxmox's web page write them.
short1=${card1#0000:} short2=${card2#0000:}
export card1 card2 nic short1 short2
# On the root bus (tests/host/boot): what the host uses itself.
vga=0000:00:14.0 nvme=0000:00:15.0 usb_host=0000:00:16.0
hook=/var/lib/vz/snippets/gpu-ferry
settings=/etc/gpu-ferry/gpu-ferry.conf

say() {
	echo "# $*"
}

fail() {
	echo "FAILED: $*"
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

assert_eq() {
	[ "$1" = "$2" ] || fail "${3:-value}: is '$1', should be '$2'"
}

assert_match() {
	[[ $1 =~ $2 ]] || fail "${3:-text}: '$1' does not match '$2'"
}

# assert_exit STATUS COMMAND...: the output is in $out afterwards, stderr in $err.
assert_exit() {
	local expected=$1 status=0
	shift
	"$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
	out=$(cat "$scratch/out") err=$(cat "$scratch/err")
	[ -z "$out" ] || printf '%s\n' "$out"
	[ -z "$err" ] || printf '%s\n' "$err"
	assert_eq "$status" "$expected" "exit code of '$*'"
}

# One line, no more and no less; of a refused start three: what, why, and what to do next.
assert_one_line() {
	if [[ $1 =~ ^gpu-ferry:\ VM\ [0-9]+\ does\ not\ start ]]; then
		assert_eq "$(cut -d ' ' -f 2 <<<"$1" | tr '\n' ' ')" 'VM why: next: ' "the lines of '$1'"
		return
	fi
	assert_eq "$(printf '%s\n' "$1" | grep -c .)" 1 "lines in '$1'"
}

# The same where steps were taken before, and said as they happened: `gpu-ferry: bind … (12 ms)`.
assert_one_error() {
	assert_one_line "$(printf '%s\n' "$1" | grep -v ' ms)$')"
}

# gpu-ferry's JSON. Its exit code says whether all is well: not what is asked here.
json() {
	gpu-ferry "$@" --output-format json 2>/dev/null || true
}

driver_of() {
	local link
	link=$(readlink "$pci/$1/driver") || link=none
	echo "${link##*/}"
}

assert_driver() {
	assert_eq "$(driver_of "$1")" "$2" "driver of $1"
}

assert_card_lent() {
	local n
	for n in 0 1 2; do
		assert_driver "$1.$n" vfio-pci
	done
}

assert_card_home() {
	assert_driver "$1.0" bochs-drm
	assert_driver "$1.1" snd_hda_intel
	assert_driver "$1.2" xhci_hcd
}

nodes_of() {
	state nodes "$1"
}

loans() {
	find /run/gpu-ferry/loans -mindepth 1 -maxdepth 1 2>/dev/null | sort
}

# await_loan VMID STATE
await_loan() {
	local n
	for n in {1..100}; do
		! grep -Eqs "\"state\": *\"$2\"" "/run/gpu-ferry/loans/vm-$1.json" || return 0
		sleep 0.1
	done
	fail "VM $1 has no loan that is $2"
}

# Sound cards and nodes appear a moment after their driver is bound.
state_wait() {
	local n
	for n in {1..50}; do
		state >/run/tests.now
		cmp -s "$1" /run/tests.now && return
		sleep 0.2
	done
	echo "the host is not as it was:"
	diff "$1" /run/tests.now
}

state_wait_settled() {
	local n
	for n in {1..100}; do
		[ "$(nodes_of "$card1" | wc -l)$(nodes_of "$card2" | wc -l)" = 44 ] && return
		sleep 0.1
	done
}

# assert_home: the whole host is as it was before the test.
assert_home() {
	state_wait /run/tests.home || fail "something was left behind"
}

# The kernel's complaints since the test began.
kernel_complaints() {
	dmesg | sed -n "/host-tests: $1\$/,\$p" |
		grep -E 'WARNING:|BUG:|Oops|Call Trace|general protection|blocked for more than|use-after-free|refcount_t'
}

# What a failed test leaves to be looked at.
explain() {
	echo "-- state"
	state
	find /run/gpu-ferry -type f -exec tail -n +1 {} + 2>/dev/null
	echo "-- journal"
	journalctl --no-pager -q -o cat -t gpu-ferry -n 15
	echo "-- the watch"
	systemctl show -p ActiveState,Result gpu-ferry-watch.path gpu-ferry-watch.service
	journalctl --no-pager -q -u gpu-ferry-watch.path -u gpu-ferry-watch.service -n 10
	echo "-- processes"
	ps -eo pid,stat,wchan:20,args | grep -E 'gpu-ferry|qemu-system|vfio-holder| D' | grep -v grep
	echo "-- kernel"
	dmesg | tail -n 15
}

host_prepare() {
	mkdir -p /etc/pve/nodes/pve/qemu-server /etc/pve/nodes/pve/lxc /etc/pve/mapping /run/qemu-server \
		/var/lock/qemu-server
	ln -sfn nodes/pve /etc/pve/local
	ln -sfn nodes/pve/qemu-server /etc/pve/qemu-server
	ln -sfn nodes/pve/lxc /etc/pve/lxc
	[ ! -e "$settings" ] || cp -a "$settings" /run/tests.settings
	vga_hide
}

# The display that the host boots with is there for the tests that want it: the others have two cards.
vga_hide() {
	[ ! -e "$pci/$vga" ] || echo 1 >"$pci/$vga/remove"
}

vga_show() {
	echo 1 >/sys/bus/pci/rescan
	udevadm settle
	[ -e "$pci/$vga/drm" ] || fail "no display at $vga"
}

# Its descriptor 3 is the node: a shell opens it only after the fork.
await_descriptor() {
	until [ -e "/proc/$1/fd/3" ]; do
		kill -0 "$1" || fail "it cannot be opened"
		sleep 0.05
	done
}

# A sound card comes a while after its driver is bound.
control_of() {
	until compgen -G "$pci/$1.1/sound/card*/controlC*" >/dev/null; do
		sleep 0.1
	done
	echo "/dev/snd/$(basename "$pci/$1.1"/sound/card*/controlC*)"
}

# hold NODE: a process that has it open; $holder is its PID. It ends with the test, or by release.
hold() {
	until [ -c "$1" ] || [ -b "$1" ]; do
		sleep 0.05
	done
	sleep 1000 3<"$1" >/dev/null 2>&1 &
	holder=$!
	echo $holder >>/run/tests.holders
	await_descriptor $holder
}

release() {
	local pid
	[ -e /run/tests.holders ] || return 0
	while read -r pid; do
		kill -9 "$pid" 2>/dev/null || true
	done </run/tests.holders
	rm /run/tests.holders
}

# Of a service that has one process. (systemctl takes its time here.)
main_pid() {
	head -n 1 "/sys/fs/cgroup/system.slice/$1/cgroup.procs"
}

# unit_holds NODE [UNIT]: a service, test-holder.service, which has it open.
unit_holds() {
	local unit=${2:-test-holder.service}
	cat >"/run/systemd/system/$unit" <<-END
		[Service]
		Type=exec
		ExecStart=/bin/sh -c 'until [ -c $1 ]; do sleep 0.1; done; exec sleep 1000 3<$1'
	END
	systemctl daemon-reload
	systemctl start "$unit"
	await_descriptor "$(main_pid "$unit")"
}

unit_release() {
	[ -n "$(compgen -G '/run/systemd/system/test-*.service')" ] || return 0
	rm /run/systemd/system/test-*.service
	systemctl daemon-reload
	systemctl stop 'test-*.service'
}

# container_with_card CTID NODE...: the config of a container with these nodes (pct).
container_with_card() {
	local ctid=$1 node number=0
	shift
	ln -sf /tests/pct /usr/sbin/pct
	for node; do
		echo "dev$((number++)): $node,gid=44,mode=0660"
	done >"/etc/pve/nodes/pve/lxc/$ctid.conf"
}

# The process of its ollama.service, or nothing.
container_service() {
	head -n 1 "/sys/fs/cgroup/lxc/$1/ns/system.slice/ollama.service/cgroup.procs" 2>/dev/null || true
}

# Until that service has the first node open. The container is up seconds before.
await_container() {
	local pid n
	for n in {1..300}; do
		pid=$(container_service "$1")
		[ -z "$pid" ] || [ ! -e "/proc/$pid/fd/3" ] || [ "$(cat "/proc/$pid/comm")" != sleep ] || return 0
		sleep 0.1
	done
	fail "the service of container $1 does not get its node"
}

container_start() {
	pct start "$1" || fail "container $1 does not start"
	await_container "$1"
}

# Without its config no hook is called.
container_gone() {
	[ -e "/etc/pve/lxc/$1.conf" ] || return 0
	rm "/etc/pve/lxc/$1.conf"
	lxc-stop -n "$1" --kill 2>/dev/null || true
	until ! systemctl -q is-active "pve-container@$1"; do
		sleep 0.1
	done
	systemctl -q reset-failed "pve-container@$1" 2>/dev/null || true
	rm -rf "/var/lib/lxc/$1" "/run/lxc-disks/$1" /run/tests.pct*
}

containers_gone() {
	local config
	for config in /etc/pve/lxc/*.conf; do
		[ ! -e "$config" ] || container_gone "$(basename "$config" .conf)"
	done
	rm -f /usr/sbin/pct
}

# Nothing of a test's files is left to the next one.
host_clean() {
	containers_gone
	release
	unit_release
	nvidia_gone
	rm -rf /run/qemu-server/* /etc/pve/nodes/pve/qemu-server/* /etc/pve/mapping/* /etc/modprobe.d/test-* \
		/var/lib/vz/snippets/test-*
	[ ! -e /run/tests.settings ] || cp -a /run/tests.settings "$settings"
	modules_restore
}

# Back to the beginning by the kernel's own means: a broken product must not spoil the next test.
host_reset() {
	local pid address home
	[ ! -e /sys/module/slowdriver ] || echo 0 >/sys/module/slowdriver/parameters/hold_probe
	pkill -9 'pve-vm|hookscript|gpu-ferry|strace'
	for pid in $(cat /run/qemu-server/*.pid); do
		kill -9 "$pid"
	done
	systemctl stop gpu-ferry-watch.service
	rm -rf /run/modprobe.d/* /run/gpu-ferry/loans/*
	host_clean
	[ -e "$pci/$card1.0" ] && [ -e "$pci/$card1.1" ] && [ -e "$pci/$card1.2" ] ||
		echo 1 >/sys/bus/pci/rescan
	# Removes what was left in new_id.
	state >/dev/null
	while read -r address home _; do
		[[ $home = driver=* ]] || continue
		home=${home#driver=}
		[ -z "$(tr -d '\n' <"$pci/$address/driver_override" | sed 's/(null)//')" ] ||
			echo >"$pci/$address/driver_override"
		[ "$(driver_of "$address")" != "$home" ] || continue
		[ "$(driver_of "$address")" = none ] || timeout 5 sh -c "echo $address >$pci/$address/driver/unbind"
		modprobe "$home"
		echo "$address" >"/sys/bus/pci/drivers/$home/bind"
	done </run/tests.home
	swapoff -a
	umount /proc/cmdline
	umount /run/gpu-ferry
	systemctl start gpu-ferry-watch.path
	logical-volume gone
	[ ! -e /sys/block/md_test ] || echo clear >/sys/block/md_test/md/array_state
	rmmod probefail slowdriver bootfb
	vga_hide
	nvidia_gone
	udevadm settle
	return 0
}

# vm_config VMID <<EOF: a VM with our hookscript.
vm_config() {
	{
		echo "hookscript: local:snippets/${hookscript:-gpu-ferry}"
		cat
	} >"/etc/pve/nodes/pve/qemu-server/$1.conf"
}

# A VM's card as the web page writes it, with the ids of an RTX 4080 for the guest to see.
vm_with_card() {
	vm_config "$1" <<-END
		machine: q35
		ostype: l26
		hostpci0: $2,pcie=1,vendor-id=0x10de,device-id=0x2704
	END
}

# Proxmox refuses a mapping whose properties are not the hardware's.
mapping_properties() {
	local device=$pci/$1 word text=''
	for word in vendor device subsystem_vendor subsystem_device; do
		text+=$(sed s/^0x// "$device/$word"):
	done
	IFS=: read -r -a ids <<<"$text"
	echo "id=${ids[0]}:${ids[1]},subsystem-id=${ids[2]}:${ids[3]},iommugroup=$(basename "$(readlink "$device/iommu_group")")"
}

# mapping NAME PATH...: a resource mapping of several alternatives.
mapping() {
	local name=$1 path
	shift
	{
		echo "$name"
		for path; do
			echo "	map $(mapping_properties "$path.0"),node=pve,path=$path"
		done
		echo
	} >>/etc/pve/mapping/pci.cfg
}

# The task log is shown, and kept for task_log.
task() {
	local status=0
	date +%s.%N >"$scratch/since.$2"
	pve-vm "$@" >"$scratch/task.$2" 2>&1 || status=$?
	sed "s/^/$2: /" "$scratch/task.$2"
	return $status
}

task_log() {
	cat "$scratch/task.$1"
}

# The steps of that task as the journal has them; the task log itself has only the slow ones.
steps_of() { # VMID
	journalctl --sync
	journalctl -q -o cat -t gpu-ferry VMID="$1" --since "@$(cat "$scratch/since.$1")" | grep ' ms)$'
}

# start VMID [OPTIONS]: must succeed, and our preparation must leave Proxmox nothing to bind.
start() {
	task start "$@" || fail "VM $1 does not start"
	! task_log "$1" | grep 'pve: new_id' || fail "Proxmox had to bind for VM $1"
	! task_log "$1" | grep WARN || fail "VM $1 started with a warning"
}

# stop VMID [OPTIONS]: must succeed, hooks included.
stop() {
	task stop "$@" || fail "VM $1 does not stop"
	! task_log "$1" | grep WARN || fail "VM $1 stopped with a warning"
}

# Test modules and the hiding of the kernel's own.
module_file() {
	modinfo -F filename "$1"
}

module_hide() {
	local file
	file=$(module_file "$1")
	mv "$file" "$file.hidden"
	echo "$file" >>/run/tests.hidden
}

modules_restore() {
	local file
	[ -e /run/tests.hidden ] || return 0
	while read -r file; do
		mv "$file.hidden" "$file"
	done </run/tests.hidden
	rm /run/tests.hidden
}

vfio_unload() {
	modprobe -r vfio-pci || fail "vfio-pci is in use"
}

# Make DRIVER the home driver of a function, as if the host had come up that way.
adopt() {
	local address=$1 driver=$2
	[ "$(driver_of "$address")" = none ] || echo "$address" >"$pci/$address/driver/unbind"
	echo "$driver" >"$pci/$address/driver_override"
	echo "$address" >/sys/bus/pci/drivers_probe
	assert_driver "$address" "$driver"
}

# The stand-ins for NVIDIA's modules (tests/host/modules), with the display function of each CARD
# given to them. Options of theirs go into /etc/modprobe.d/test-nvidia.conf before.
nvidia_come() {
	local card
	modprobe nvidia
	for card; do
		adopt "$card.0" nvidia
	done
	modprobe -a nvidia-drm nvidia-uvm
}

# Their cards go back to bochs-drm.
nvidia_gone() {
	local address console
	[ ! -e /sys/module/nvidia ] || echo 0 >/sys/module/nvidia/parameters/never
	# a console on their framebuffer keeps it
	if grep -qs nvidia /proc/fb; then
		console=$(grep -l 'frame buffer' /sys/class/vtconsole/*/name)
		echo 0 >"${console%name}bind"
	fi
	rmmod nvidia-uvm nvidia-drm nvidia-modeset nvidia
	for address in "$card1.0" "$card2.0"; do
		grep -q nvidia "$pci/$address/driver_override" || continue
		echo >"$pci/$address/driver_override"
		echo "$address" >/sys/bus/pci/drivers_probe
	done
}

# step NAME: the function step_NAME in a shell of its own, as run-test does; for what is no test of cases/.
step() {
	local started=$SECONDS status=0
	echo "run $1 900"
	(
		set -euE -o pipefail
		scratch=$(mktemp -d)
		trap 'echo "FAILED: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND"' ERR
		trap 'rm -rf "$scratch"' EXIT
		udevadm settle
		"step_$1"
	) >/run/step.log 2>&1 || status=$?
	if [ $status = 0 ]; then
		echo "ok $1 ($((SECONDS - started)) s)"
	else
		echo "not ok $1 (exit $status)"
		sed 's/^/  | /' /run/step.log
	fi
}

# A host with tests of its own (tests/host/common, cases_of) says what is otherwise there.
if [ -e cases/lib.sh ]; then
	# shellcheck source=tests/host/guest/cases-nvidia/lib.sh
	. ./cases/lib.sh
fi
