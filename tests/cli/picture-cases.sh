# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# What README's pictures show: `make pictures` draws them from the golden files of these cases, one
# command each. Sourced by run.

# A GeForce for the VM; the monitor is at a Radeon.
pictured_machine() {
	host_of amd nouveau amd/amdgpu/amdgpu
	driver amdgpu amdgpu
	bridge_here 0000:00:03.1 1022:1483 13 0b
	function_here 0000:0b:00.0 1002:73bf 1eae:6905 0300 16 amdgpu
	function_here 0000:0b:00.1 1002:ab28 1002:ab28 0403 17 snd_hda_intel
	boot_display 0000:0b:00.0
	bridge=
	bridge_here 0000:00:01.1 1022:1483 14 2b
	geforce_here 0000:2b:00 15
	linux_vm 104 "name: ollama" "hostpci0: 0000:2b:00,pcie=1"
}

# As a guide has left it.
case_picture_doctor() {
	pictured_machine
	modprobe_file vfio.conf "options vfio-pci ids=10de:2704,10de:22bb"
	on_vfio_since_boot 0000:2b:00
	config 104 "bios: ovmf" "cpu: host" "hostpci0: 0000:2b:00,pcie=1" "machine: q35" "name: ollama" "ostype: l26"
	LC_ALL=C.UTF-8 terminal 100 doctor 104
}

# The host's screen uses the Radeon: /dev/null stands in for its node.
case_picture_list_tree() {
	cannot_enter && return
	local node
	pictured_machine
	rm -r "${tree:?}/lib" # the programs need the real one
	installed
	on_vfio_since_boot 0000:2b:00
	loan vm-104 "$vm_104" lent "$(loan_function 0000:2b:00.0 15 nouveau taken),$(
		loan_function 0000:2b:00.1 15 snd_hda_intel taken
	)"
	running 104 4242
	node=$(function_path 0000:0b:00.0)/drm/card0
	write "$node/dev" 1:3
	link sys/dev/char/1:3 "../../${node#sys/}"
	write proc/871/stat "871 (Xorg) S 1 871 871 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 815 0 0"
	write proc/871/comm Xorg
	link proc/871/exe /usr/lib/xorg/Xorg
	link proc/871/fd/3 /dev/null
	LC_ALL=C.UTF-8 INSIDE=1 terminal 100 list --tree
}

case_picture_plan() {
	pictured_machine
	LC_ALL=C.UTF-8 terminal 100 plan 104
}
