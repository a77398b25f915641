# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The machines that people have, with their bridges as the kernel lays them out, and what each command
# says about them. One case for each machine. Sourced by run.

declare -A beneath=() # the folder below a bridge

function_here() { # ADDRESS IDS SUBSYSTEM CLASS GROUP [DRIVER]: as device, below $bridge, with a modalias
	local ids=${2^^} subsystem=${3^^}
	above[$1]=${bridge:+${beneath[$bridge]}/}
	device "$@"
	write "$(function_path "$1")/modalias" "$(printf 'pci:v0000%sd0000%ssv0000%ssd0000%sbc%ssc%si00' \
		"${ids%:*}" "${ids#*:}" "${subsystem%:*}" "${subsystem#*:}" "${4:0:2}" "${4:2}")"
	[ "${4:0:2}" != 03 ] || windows "$1"
	[ "${4:0:2}" != 03 ] || write "$(function_path "$1")/reset_method" "flr bus"
}

bridge_here() { # ADDRESS IDS GROUP BUS: what follows is below it
	function_here "$1" "$2" "$2" 0604 "$3" pcieport
	beneath[$1]=${above[$1]}$1
	rm -r "$tree/$(function_path "$1")/pci_bus"
	mkdir -p "$tree/$(function_path "$1")/pci_bus/0000:$4"
	bridge=$1
}

boot_display() { # ADDRESS
	write "$(function_path "$1")/boot_vga" 1
}

interface() { # ADDRESS NAME: it is up
	write "$(function_path "$1")/net/$2/flags" 0x1003
}

default_route() { # INTERFACE
	write proc/net/route "Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask" \
		"$1	00000000	FE01A8C0	0003	0	0	0	00000000" \
		"$1	0001A8C0	00000000	0001	0	0	0	00FFFFFF"
}

# A host of Proxmox VE 9, in a machine of VENDOR, with its network card.
host_of() { # amd|intel MODULE…
	local vendor=$1
	shift
	proxmox
	if [ "$vendor" = amd ]; then
		processor AuthenticAMD svm
		firmware IVRS
		mkdir -p "$tree/sys/class/iommu/ivhd0"
	else
		processor GenuineIntel vmx
		firmware DMAR
		mkdir -p "$tree/sys/class/iommu/dmar0"
	fi
	kernel 6.14.11-4-pve "CONFIG_INTEL_IOMMU_DEFAULT_ON=y" vfio/pci/vfio-pci "${@/#/gpu\/drm\/}"
	running_command_line
	grub
	driver xhci_hcd xhci_pci
	driver ahci ahci
	driver igc igc
	bridge=
	function_here 0000:00:1f.6 8086:15fa 1043:8672 0200 40 igc
	interface 0000:00:1f.6 eno1
	mkdir -p "$tree/sys/devices/virtual/net/vmbr0"
	link "$(function_path 0000:00:1f.6)/net/eno1/master" ../../../../virtual/net/vmbr0
	default_route vmbr0
	local program
	for program in update-initramfs update-grub; do
		write "usr/sbin/$program" "#!/bin/sh"
		chmod 755 "$tree/usr/sbin/$program"
	done
}

# Every command of one who looks before acting. VM 104 has the card already; VM 105, which has none, gets
# it. Of the later doctors only what the first has not said.
look() { # DEVICE
	config 105 "machine: q35" "ostype: l26" "scsi0: local-lvm:vm-105-disk-0"
	ferry list
	ferry plan 104
	letter
	cp "$work/stdout" "$work/host"
	for vmid in 104 105; do
		letter "$vmid" | grep -vxFf <(grep . "$work/host") | grep .
	done
	ferry attach 105 "$1" --dry-run
	ferry setup
}

# A Radeon RX 6800 XT behind its own switch, in a Ryzen without graphics; each function has a group.
case_machine_radeon() {
	host_of amd amd/amdgpu/amdgpu
	driver amdgpu amdgpu
	driver i2c-designware-pci i2c_designware_pci
	bridge_here 0000:00:03.1 1022:1483 13 0b
	bridge_here 0000:0b:00.0 1002:1478 27 0c
	bridge_here 0000:0c:00.0 1002:1479 28 0d
	function_here 0000:0d:00.0 1002:73bf 1eae:6905 0300 29 amdgpu
	function_here 0000:0d:00.1 1002:ab28 1002:ab28 0403 30 snd_hda_intel
	function_here 0000:0d:00.2 1002:73a6 1002:73a6 0c03 31 xhci_hcd
	function_here 0000:0d:00.3 1002:73a4 1002:0408 0c80 32 i2c-designware-pci
	boot_display 0000:0d:00.0
	linux_vm 104 "hostpci0: 0000:0d:00,pcie=1"
	look 0d:00
	: "and only the display"
	linux_vm 104 "hostpci0: 0000:0d:00.0,pcie=1"
	ferry plan 104
}

# A GeForce with the monitor, and the processor's own graphics; the slot's port is in the group.
case_machine_geforce_and_igpu() {
	host_of intel nouveau i915
	bridge=
	function_here 0000:00:02.0 8086:4680 1043:8694 0300 0 i915
	bridge_here 0000:00:01.0 8086:460d 2 01
	geforce_here 0000:01:00 2
	boot_display 0000:01:00.0
	linux_vm 104 "hostpci0: 0000:01:00,pcie=1"
	look 01:00
}

geforce_here() { # SLOT GROUP
	function_here "$1.0" 10de:2704 1458:40bc 0300 "$2" nouveau
	function_here "$1.1" 10de:22bb 1458:40bc 0403 "$2" snd_hda_intel
}

# A laptop: the GeForce draws for the other GPU's screen, and sleeps.
case_machine_optimus() {
	host_of intel nouveau i915
	write sys/class/dmi/id/chassis_type 10
	function_here 0000:00:02.0 8086:46a6 1028:0b19 0300 0 i915
	boot_display 0000:00:02.0
	bridge_here 0000:00:01.0 8086:460d 2 01
	function_here 0000:01:00.0 10de:25a2 1028:0b19 0302 16 nouveau
	write "$(function_path 0000:01:00.0)/power_state" D3cold
	head -c 64 /dev/zero | tr '\0' '\377' >"$tree/$(function_path 0000:01:00.0)/config"
	linux_vm 104 "hostpci0: 0000:01:00.0,pcie=1"
	look 01:00
}

# An Arc A770: its display and its sound are behind two ports of its own switch. ARC is the group of both
# on a board that does not keep the slot apart.
case_machine_arc() {
	host_of amd xe
	driver xe xe
	bridge_here 0000:00:01.1 1022:1483 13 01
	bridge_here 0000:01:00.0 8086:4fa1 20 02
	bridge_here 0000:02:01.0 8086:4fa4 21 03
	function_here 0000:03:00.0 8086:56a0 8086:1020 0300 22 xe
	bridge=0000:01:00.0
	bridge_here 0000:02:04.0 8086:4fa4 23 04
	function_here 0000:04:00.0 8086:4f90 8086:1020 0403 24 snd_hda_intel
	boot_display 0000:03:00.0
	linux_vm 104 "hostpci0: 0000:03:00,pcie=1" "hostpci1: 0000:04:00,pcie=1"
	look 03:00
	: "and on a board that has one group for the slot"
	group 0000:03:00.0 13
	group 0000:04:00.0 13
	linux_vm 104 "hostpci0: 0000:03:00,pcie=1"
	ferry plan 104
	ferry doctor -v | grep -A1 13
}

# Eight H100 behind switches, and four NVSwitches between them.
case_machine_eight_gpus() {
	local gpu=0 bus
	host_of intel updates/dkms/nvidia
	driver nvidia nvidia
	write sys/module/nvidia/version 570.172.08
	for bus in 1a 40 53 66 9c c0 d2 e4; do
		bridge=
		bridge_here "0000:00:0$gpu.0" 8086:352a $((30 + gpu)) "$bus"
		function_here "0000:$bus:00.0" 10de:2330 10de:16c1 0302 $((50 + gpu)) nvidia
		gpu=$((gpu + 1))
	done
	for bus in 5 6 7 8; do
		bridge=
		bridge_here "0000:00:1$bus.0" 8086:352a $((60 + bus)) "0$bus"
		function_here "0000:0$bus:00.0" 10de:22a3 10de:1796 0680 $((70 + bus)) nvidia
	done
	bridge=
	driver ast ast
	function_here 0000:00:1e.0 1a03:2000 1a03:2000 0300 90 ast
	boot_display 0000:00:1e.0
	linux_vm 104 "hostpci0: 0000:1a:00,pcie=1" "hostpci1: 0000:40:00,pcie=1"
	look 53:00
}

# A board with one group for the slot, the network and the disks.
case_machine_one_group() {
	host_of amd nouveau
	bridge_here 0000:00:01.3 1022:1483 14 02
	function_here 0000:02:00.1 1022:43b7 1b21:1062 0106 14 ahci
	write "$(function_path 0000:02:00.1)/ata1/host0/target0:0:0/0:0:0:0/block/sda/dev" 8:0
	link "$(function_path 0000:02:00.1)/ata1/host0/target0:0:0/0:0:0:0/block/sda/subsystem" \
		../../../../../../../../../../class/block
	write "$(function_path 0000:02:00.1)/ata1/host0/target0:0:0/0:0:0:0/block/sda/holders/dm-0" ""
	bridge_here 0000:02:00.2 1022:43b2 14 03
	bridge_here 0000:03:00.0 1022:43b4 14 22
	function_here 0000:22:00.0 10ec:8168 1462:7a34 0200 14 igc
	interface 0000:22:00.0 enp34s0
	default_route enp34s0
	bridge=0000:02:00.2
	bridge_here 0000:03:04.0 1022:43b4 14 2b
	geforce_here 0000:2b:00 14
	boot_display 0000:2b:00.0
	linux_vm 104 "hostpci0: 0000:2b:00,pcie=1"
	look 2b:00
	: "and all of them permitted"
	settings 'allow = [ "22:00.0", "02:00.1" ];'
	ferry plan 104
	ferry doctor -v | grep -A1 14
}

virtual_function() { # ADDRESS GROUP PHYSICAL NUMBER [DRIVER]
	function_here "$1" 8086:a780 1043:8882 0300 "$2" "${@:5}"
	link "$(function_path "$1")/physfn" "../$3"
	link "$(function_path "$3")/virtfn$4" "../$1"
}

# The processor's graphics with three virtual functions, one of which a VM has.
case_machine_virtual_functions() {
	host_of intel i915
	driver vfio-pci vfio_pci
	function_here 0000:00:02.0 8086:a780 1043:8882 0300 0 i915
	boot_display 0000:00:02.0
	write "$(function_path 0000:00:02.0)/sriov_totalvfs" 7
	write "$(function_path 0000:00:02.0)/sriov_numvfs" 3
	write sys/module/i915/parameters/max_vfs 7
	virtual_function 0000:00:02.1 18 0000:00:02.0 0 vfio-pci
	virtual_function 0000:00:02.2 19 0000:00:02.0 1 i915
	virtual_function 0000:00:02.3 20 0000:00:02.0 2
	loan vm-106 '{"kind":"vm","vmid":106}' lent "$(loan_function 0000:00:02.1 18 i915 taken)"
	write "$(function_path 0000:00:02.1)/driver_override" vfio-pci
	linux_vm 106 "hostpci0: 0000:00:02.1"
	running 106 4242
	linux_vm 104 "hostpci0: 0000:00:02.0"
	look 00:02.2
	ferry list --output-format json
	linux_vm 104 "hostpci0: 0000:00:02.2"
	ferry plan 104
	ferry setup --vfs 00:02.0=8
	ferry setup --vfs 00:02.0=2
	write etc/udev/rules.d/90-gpu-ferry-vfs.rules 'KERNEL=="0000:00:02.0", ATTR{sriov_numvfs}="4"'
	checks 'virtual functions'
	write "$(function_path 0000:00:02.0)/sriov_numvfs" 0
	checks 'virtual functions'
	rm "$tree/etc/udev/rules.d/90-gpu-ferry-vfs.rules"
	checks 'virtual functions'
	rm "$tree/sys/module/i915/parameters/max_vfs"
	checks 'virtual functions'
}

# A GeForce in a box by Thunderbolt.
case_machine_thunderbolt() {
	host_of intel nouveau i915
	write sys/class/dmi/id/chassis_type 35
	function_here 0000:00:02.0 8086:9a49 8086:3003 0300 0 i915
	boot_display 0000:00:02.0
	bridge_here 0000:00:07.0 8086:9a23 4 03
	bridge_here 0000:03:00.0 8086:15d3 16 04
	bridge_here 0000:04:01.0 8086:15d3 17 05
	geforce_here 0000:05:00 18
	write "$(function_path 0000:05:00.0)/removable" removable
	linux_vm 104 "hostpci0: 0000:05:00,pcie=1"
	look 05:00
	: "and unplugged"
	rm "$tree/sys/bus/pci/devices/0000:05:00.0" "$tree/sys/bus/pci/devices/0000:05:00.1"
	ferry plan 104
	letter 104 | grep -A1 '05:00'
}

case_machine_iommu_off() {
	host_of amd nouveau
	bridge_here 0000:00:01.1 1022:1483 13 2b
	geforce_here 0000:2b:00 15
	boot_display 0000:2b:00.0
	rm -r "$tree/sys/kernel/iommu_groups" "$tree/sys/class/iommu/ivhd0" "$tree/sys/firmware/acpi/tables/IVRS"
	find "$tree/sys/devices" -name iommu_group -delete
	linux_vm 104 "hostpci0: 0000:2b:00,pcie=1"
	look 2b:00
}

case_machine_after_the_guide() {
	host_of amd nouveau
	bridge_here 0000:00:01.1 1022:1483 13 2b
	geforce_here 0000:2b:00 15
	boot_display 0000:2b:00.0
	by_the_guide
	look 2b:00
}

# Three nodes with mappings: one of two cards here and one on each other node, and one of pve2 alone.
case_machine_cluster() {
	local node=pve1
	host_of amd nouveau
	bridge_here 0000:00:01.1 1022:1483 13 2b
	geforce_here 0000:2b:00 15
	bridge=
	bridge_here 0000:00:03.1 1022:1483 14 2c
	geforce_here 0000:2c:00 16
	mkdir -p "$tree/etc/pve/nodes/pve2/qemu-server" "$tree/etc/pve/nodes/pve3/qemu-server"
	mapping gpu "id=10de:2704,iommugroup=15,node=pve1,path=0000:2b:00,subsystem-id=1458:40bc" \
		"id=10de:2704,iommugroup=16,node=pve1,path=0000:2c:00,subsystem-id=1458:40bc" \
		"id=10de:2704,iommugroup=15,node=pve2,path=0000:2b:00,subsystem-id=1458:40bc" \
		"id=10de:2704,iommugroup=15,node=pve3,path=0000:2b:00,subsystem-id=1458:40bc"
	mapping old "id=10de:1b80,iommugroup=15,node=pve2,path=0000:0b:00,subsystem-id=1458:40bc"
	linux_vm 106 "hostpci0: mapping=gpu,pcie=1"
	linux_vm 104 "hostpci0: mapping=gpu,pcie=1"
	look gpu
	: "and a mapping of another node"
	linux_vm 104 "hostpci0: mapping=old,pcie=1"
	ferry plan 104
	letter 104 | grep -A1 -e old
	ferry attach 105 old --dry-run
}
