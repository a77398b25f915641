# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A captured host to run the programs over, below $tree: links as in the real sysfs. Sourced by run.

write() { # PATH TEXT…: each TEXT a line
	local path=$tree/$1
	shift
	mkdir -p "${path%/*}"
	printf '%s\n' "$@" >"$path"
}

link() { # PATH TARGET
	mkdir -p "$tree/${1%/*}"
	ln -sfn "$2" "$tree/$1"
}

driver() { # NAME [MODULE]: without a module it is built in
	mkdir -p "$tree/sys/bus/pci/drivers/$1"
	: >"$tree/sys/bus/pci/drivers/$1/bind"
	: >"$tree/sys/bus/pci/drivers/$1/unbind"
	if [ $# = 2 ]; then
		mkdir -p "$tree/sys/module/$2"
		link "sys/bus/pci/drivers/$1/module" "../../../../module/$2"
	fi
}

declare -A above=() # the bridges above a function: "0000:00:01.0/"; none for one on bus 0

function_path() { # ADDRESS
	echo "sys/devices/pci0000:00/${above[$1]:-}$1"
}

climb() { # PATH: from a folder below sys to sys
	local slashes=${1//[!\/]/}
	echo "${slashes//\//../}"
}

bound() { # ADDRESS [DRIVER]: to DRIVER, or to none
	local path
	path=$(function_path "$1")
	rm -f "$tree/$path/driver"
	[ $# = 1 ] || link "$path/driver" "$(climb "$path")bus/pci/drivers/$2"
}

group() { # ADDRESS [GROUP]: in GROUP, or in none
	local path old
	path=$(function_path "$1")
	old=$(readlink "$tree/$path/iommu_group") || old=
	[ -z "$old" ] || rm "$tree/sys/kernel/iommu_groups/${old##*/}/devices/$1" "$tree/$path/iommu_group"
	[ $# = 1 ] && return
	link "$path/iommu_group" "$(climb "$path")kernel/iommu_groups/$2"
	link "sys/kernel/iommu_groups/$2/devices/$1" "../../../../${path#sys/}"
}

device() { # ADDRESS IDS SUBSYSTEM CLASS GROUP [DRIVER]
	local path
	path=$(function_path "$1")
	link "sys/bus/pci/devices/$1" "../../../${path#sys/}"
	write "$path/vendor" "0x${2%:*}"
	write "$path/device" "0x${2#*:}"
	write "$path/subsystem_vendor" "0x${3%:*}"
	write "$path/subsystem_device" "0x${3#*:}"
	write "$path/class" "0x${4}00"
	write "$path/driver_override" "(null)"
	write "$path/power_state" D0
	head -c 64 /dev/zero >"$tree/$path/config"
	case $4 in
	0300) write "$path/boot_vga" 0 ;;
	0604) mkdir -p "$tree/$path/pci_bus/0000:01" ;;
	esac
	group "$1" "$5"
	[ $# = 5 ] || bound "$1" "$6"
}

card() { # SLOT GROUP: a card of four functions
	device "$1.0" 10de:1e07 1458:37a9 0300 "$2" nouveau
	device "$1.1" 10de:10f7 1458:37a9 0403 "$2" snd_hda_intel
	device "$1.2" 10de:1ad6 1458:37a9 0c03 "$2" xhci_hcd
	device "$1.3" 10de:1ad7 1458:37a9 0c80 "$2" nvidia-gpu
}

config() { # VMID LINE…
	local vmid=$1
	shift
	write "etc/pve/nodes/pve1/qemu-server/$vmid.conf" "$@"
}

settings() { # LINE…
	write etc/gpu-ferry/gpu-ferry.conf "$@"
}

shared_files() {
	mkdir -p "$tree/usr/share/gpu-ferry"
	cp ../../conf/gpu-ferry.quirks "$tree/usr/share/gpu-ferry/quirks.conf"
	mkdir -p "$tree/usr/share/misc"
	cp pci.ids "$tree/usr/share/misc/"
}

quirks() { # NAME LINE…: an administrator's own file
	local name=$1
	shift
	write "etc/gpu-ferry/quirks.d/$name.conf" "$@"
}

mapping() { # NAME LINE…: "map" lines of pci.cfg
	local name=$1 line
	shift
	mkdir -p "$tree/etc/pve/mapping"
	{
		echo "$name"
		for line; do printf '\tmap %s\n' "$line"; done
		echo
	} >>"$tree/etc/pve/mapping/pci.cfg"
}

map_of() { # ADDRESS GROUP [NODE]: the map line that fits a card of ours
	echo "id=10de:1e07,iommugroup=$2,node=${3:-pve1},path=$1,subsystem-id=1458:37a9"
}

loan_function() { # ADDRESS GROUP HOME USE
	printf '{"address":"%s","iommu_group":%s,"home_driver":"%s","home_module":"%s",' "$1" "$2" "$3" "$3"
	printf '"driver_override":"","target":"vfio-pci","use":"%s"}' "$4"
}

card_functions() { # SLOT GROUP USE
	printf '%s,%s,%s,%s' "$(loan_function "$1.0" "$2" nouveau "$3")" \
		"$(loan_function "$1.1" "$2" snd_hda_intel "$3")" \
		"$(loan_function "$1.2" "$2" xhci_hcd "$3")" \
		"$(loan_function "$1.3" "$2" nvidia-gpu "$3")"
}

stuck_step() { # ADDRESS DRIVER: its unbind has not come back
	printf '{"operation":"unbind","subject":"%s","argument":"%s","original":"%s","state":"stuck",' \
		"$1" "$2" "$2"
	printf '"child":{"pid":4244,"start_time":1}}'
}

bind_steps() { # FUNCTIONS: of those that are taken, as a handover leaves them
	printf '%s' "$1" | sed 's/},{/}\n{/g' | sed -n 's/.*"address":"\([^"]*\)".*"use":"taken".*/\1/p' |
		sed 's/.*/{"operation":"bind","subject":"&","argument":"vfio-pci","original":"","state":"done"}/' |
		paste -sd,
}

loan() { # NAME OWNER STATE FUNCTIONS [STEPS]: NAME.json
	write "run/gpu-ferry/loans/$1.json" \
		"{\"schema\":1,\"owner\":$2,\"state\":\"$3\",\"since\":\"2026-01-02T03:04:05Z\"," \
		"\"write_deadline_ms\":30000,\"slow_write_deadline_ms\":240000,\"return_wait_ms\":30000," \
		"\"functions\":[$4],\"steps\":[${5-$(bind_steps "$4")}]}"
}

on_vfio() { # SLOT: as after a handover
	local function
	driver vfio-pci vfio_pci
	for function in 0 1 2 3; do
		bound "$1.$function" vfio-pci
		write "$(function_path "$1.$function")/driver_override" vfio-pci
	done
}

# A VM with a live QEMU: its pidfile, and the process in the captured proc.
running() { # VMID PID
	write "run/qemu-server/$1.pid" "$2"
	write "proc/$2/stat" "$2 (kvm) S 1 $2 $2 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0"
	write "proc/$2/cgroup" "0::/qemu.slice/$1.scope"
	write "proc/$2/comm" kvm
	printf '/usr/bin/kvm\0-id\0%s\0-pidfile\0/var/run/qemu-server/%s.pid\0' "$1" "$1" \
		>"$tree/proc/$2/cmdline"
}

# The package as installed, wherever this build looks for it, and stand-ins for Proxmox's programs.
installed() {
	local folder
	for folder in usr usr/local; do
		mkdir -p "$tree/$folder/sbin" "$tree/$folder/libexec/gpu-ferry"
		cp "$work/bin/gpu-ferry" "$tree/$folder/sbin/"
		cp "$work/bin/assistant" "$work/bin/hookscript" "$tree/$folder/libexec/gpu-ferry/"
	done
	link var/lib/vz/snippets/gpu-ferry /usr/libexec/gpu-ferry/hookscript
	link var/lib/vz/snippets/gpu-ferry-chain /usr/libexec/gpu-ferry/hookscript
	mkdir -p "$tree/var/lock"
	cp ../support/qm "$tree/usr/sbin/qm"
	cp ../support/qm "$tree/usr/sbin/pct"
	cp ../support/qm "$tree/usr/sbin/pvesm"
}

# A hookscript of somebody else's, which says how it is called, and exits with $1.
snippet() { # NAME [EXIT]
	mkdir -p "$tree/var/lib/vz/snippets"
	cat >"$tree/var/lib/vz/snippets/$1" <<-SCRIPT
		#!/bin/sh
		echo "\$0 \$* PVE_MIGRATED_FROM='\${PVE_MIGRATED_FROM-unset}' LC_ALL=\$LC_ALL"
		echo "on stderr" >&2
		exit ${2:-0}
	SCRIPT
	chmod 755 "$tree/var/lib/vz/snippets/$1"
}

show() { # PATH…: what the tree has there
	local path
	for path; do
		if [[ $path = *.json && -e $tree/$path ]]; then
			echo "== $path"
			# json-c's layout differs between its versions
			tr -d ' \n' <"$tree/$path" | sed 's/"since":"20[^"]*"/"since":"NOW"/; s/\\\//\//g'
			echo
		elif [ -e "$tree/$path" ]; then
			echo "== $path"
			cat "$tree/$path"
		else
			echo "== $path: not there"
		fi
	done
}

make_tree() {
	umask 022
	shared_files
	write etc/hostname pve1
	write proc/cmdline "BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 quiet"
	mkdir -p "$tree/etc/pve/nodes/pve1/qemu-server" "$tree/etc/pve/nodes/pve2/qemu-server"
	link etc/pve/local nodes/pve1
	link etc/pve/qemu-server nodes/pve1/qemu-server
	mkdir -p "$tree/sys/class/iommu/dmar0" "$tree/run/qemu-server"
	driver pcieport
	driver i915 i915
	driver nouveau nouveau
	driver snd_hda_intel snd_hda_intel
	driver xhci_hcd xhci_pci
	driver nvidia-gpu i2c_nvidia_gpu
	driver e1000e e1000e
	device 0000:00:01.0 8086:1901 1458:5000 0604 15 pcieport
	device 0000:00:02.0 8086:3e92 1458:d000 0300 0 i915
	write "$(function_path 0000:00:02.0)/boot_vga" 1
	device 0000:03:00.0 8086:10d3 8086:a01f 0200 17 e1000e
	card 0000:2b:00 15
	card 0000:2c:00 16
}
