# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The cases of run: each begins with a new tree of make_tree, and prints what golden/CASE has.

vm_104='{"kind":"vm","vmid":104}'
vm_105='{"kind":"vm","vmid":105}'

# ---- list

case_list() {
	ferry list
	ferry list --all
	ferry list --output-format json-pretty
	ferry list --output-format json
}

case_list_all_json() {
	ferry list --all --output-format json-pretty
}

case_list_what_the_host_uses() {
	write "$(function_path 0000:03:00.0)/net/eno1/flags" 0x1003
	write "$(function_path 0000:2b:00.2)/usb3/3-1/3-1:1.0/input/input7/name" "A Keyboard"
	write "$(function_path 0000:2b:00.2)/usb3/3-1/3-1:1.0/input/input7/capabilities/key" fffffffffffffffe
	ferry list --all
	ferry list --all --output-format json | grep -o '"address":"[^"]*"\|"host_use":"[^"]*"' | grep -B 1 host_use
	config 104 "hostpci0: 2b:00"
	ferry plan 104
	settings 'allow = [ "2b:00.2" ];'
	ferry plan 104
}

case_list_lent() {
	on_vfio 0000:2b:00
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 taken)"
	loan hand-16 '{"kind":"hand","iommu_group":16}' lent "$(card_functions 0000:2c:00 16 taken)"
	on_vfio 0000:2c:00
	ferry list
	ferry list --output-format json-pretty
}

# Lent by hand, and a VM runs on it: the VM has it.
lend_by_hand_to_vm_104() {
	on_vfio 0000:2b:00
	loan hand-15 '{"kind":"hand","iommu_group":15}' "$1" "$(card_functions 0000:2b:00 15 taken)"
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 borrowed)"
}

# On a terminal columns are left out and names are cut; what is there can be given to a command.
case_list_on_a_terminal() {
	on_vfio 0000:2b:00
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 taken)"
	terminal 80 list
	LC_ALL=C.UTF-8 terminal 80 list --all
	LC_ALL=C.UTF-8 terminal 200 list --all
	LC_ALL=C.UTF-8 terminal 50 list
	terminal 40 status
	terminal 80 list --output-format json
	COLUMNS=40 ferry list
}

# Names of VMs stand beside their numbers: of those that have one.
case_list_tree() {
	on_vfio 0000:2b:00
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 taken)"
	loan vm-105 '{"kind":"vm","vmid":105}' lent "$(card_functions 0000:2c:00 16 taken)"
	config 104 "name: windows" "ostype: win11" "hostpci0: 2b:00"
	config 105 "hostpci0: 2c:00"
	ferry list --tree
	ferry list
	ferry status
	ferry plan 104
	terminal 70 list
	ferry list --tree --all
}

# A board that puts the network into the group, drawn as the locale can.
case_list_tree_of_a_shared_group() {
	host_of amd nouveau
	bridge_here 0000:00:01.3 1022:1483 14 02
	function_here 0000:22:00.0 10ec:8168 1462:7a34 0200 14 igc
	interface 0000:22:00.0 enp34s0
	geforce_here 0000:2b:00 14
	boot_display 0000:2b:00.0
	bridge=
	function_here 0000:05:00.0 10de:25a2 1028:0b19 0302 20
	loan hand-20 '{"kind":"hand","iommu_group":20}' lent "$(loan_function 0000:05:00.0 20 nouveau taken)"
	ferry list --tree
	LC_ALL=C.UTF-8 ferry list --tree
	LC_ALL=C.UTF-8 terminal 50 list --tree
}

case_list_tree_without_iommu() {
	iommu_is_off
	ferry list --tree
}

# Who uses a card is below it. /dev/null stands in for the node of its sound.
case_list_tree_shows_who_uses_a_card() {
	cannot_enter && return
	installed
	local sound
	sound=$(function_path 0000:2c:00.1)/sound/card1/controlC1
	write "$sound/dev" 1:3
	link sys/dev/char/1:3 "../../${sound#sys/}"
	config 104 "name: windows"
	running 104 4242
	link proc/4242/exe /usr/bin/kvm
	link proc/4242/fd/3 /dev/null
	live gpu-ferry list --tree | grep -A4 '2c:00 '
}

case_list_borrowed_is_the_vms() {
	lend_by_hand_to_vm_104 lent
	running 104 4242
	ferry list
	ferry list --output-format json | grep -o '"lent_to":[^}]*}'
	ferry unbind --dry-run 2b:00
}

# The card 2d:00 is not on the bus any more; another one has the address of the second loan.
case_unbind_what_has_left() {
	local owner='{"kind":"hand","iommu_group":25}' step
	step='{"operation":"bind","subject":"0000:2d:00.0","argument":"vfio-pci","original":"","state":"done"}'
	loan hand-25 "$owner" lent "$(card_functions 0000:2d:00 25 taken)" "$step"
	loan vm-104 "$vm_104" owed "$(loan_function 0000:2b:00.0 15 nouveau taken |
		sed 's/{/{"identity":"10de:2704 1458:3702",/')" "${step//2d:00.0/2b:00.0}"
	ferry unbind --dry-run 2d:00
	ferry unbind --dry-run 2b:00
	ferry reconcile --dry-run
	cannot_enter && return
	installed
	PROC=1 live gpu-ferry unbind 2d:00
	PROC=1 live gpu-ferry reconcile
	show run/gpu-ferry/loans/hand-25.json run/gpu-ferry/loans/vm-104.json
}

# A module of nothing but its alias, for depmod.
module_for() { # NAME ALIAS
	printf 'alias=%s\0license=GPL\0' "$2" >"$work/modinfo"
	mkdir -p "$tree/lib/modules/6.8.12-4-pve/kernel"
	objcopy -I binary -O elf64-x86-64 --rename-section .data=.modinfo "$work/modinfo" \
		"$tree/lib/modules/6.8.12-4-pve/kernel/$1.ko"
}

# What drives the card 2b:00, as udev finds it.
aliases_of_the_card() {
	local id number device class
	for id in 0:1e07:0300 1:10f7:0403 2:1ad6:0C03 3:1ad7:0C80; do
		IFS=: read -r number device class <<<"$id"
		write "$(function_path "0000:2b:00.$number")/modalias" \
			"pci:v000010DEd0000${device^^}sv00001458sd000037A9bc${class:0:2}sc${class:2}i00"
	done
	module_for nouveau 'pci:v000010DEd*sv*sd*bc03sc*i*'
	module_for snd-hda-intel 'pci:v*d*sv*sd*bc04sc03i*'
	module_for xhci-pci 'pci:v*d*sv*sd*bc0Csc03i*'
	write proc/sys/kernel/osrelease 6.8.12-4-pve
	depmod -b "$tree" 6.8.12-4-pve 2>/dev/null
}

case_unbind_without_a_loan() {
	on_vfio 0000:2b:00
	bound 0000:2b:00.3
	aliases_of_the_card
	write etc/modprobe.d/vfio.conf '# the guide' '' 'options vfio-pci ids=10de:1e07,10de:10f7'
	write proc/cmdline 'quiet vfio-pci.ids=10de:1ad6'
	ferry status
	ferry status 2c:00
	ferry status --output-format json
	ferry unbind --dry-run 2b:00
	ferry unbind --dry-run 2b:00.1 2c:00
	ferry unbind --dry-run 2c:00
}

# The hookscript calls gpu-ferry although there is no loan; not once the devices were returned.
case_post_stop_after_the_loan_was_deleted() {
	cannot_enter && return
	installed
	on_vfio 0000:2b:00
	config 104 "hostpci0: 2b:00"
	PROC=1 live /var/lib/vz/snippets/gpu-ferry 104 post-stop | grep -o 'there is no loan any more'
	rm -rf "$tree/run/gpu-ferry"
	write run/gpu-ferry/locks/vm-104 ""
	PROC=1 live /var/lib/vz/snippets/gpu-ferry 104 post-stop
}

case_unbind_of_a_card_that_a_vm_has_reserved() {
	on_vfio 0000:2b:00
	running 105 4243
	write run/qemu-server/pci-id-reservations '0000:2b:00.0 105 pid:4243'
	ferry unbind --dry-run 2b:00
}

case_list_alternative_is_not_lent() {
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2c:00 16 alternative)"
	ferry list
}

case_list_without_iommu() {
	rm -r "$tree/sys/kernel/iommu_groups" "$tree/sys/class/iommu"
	for function in "$tree"/sys/devices/pci0000:00/*; do rm "$function/iommu_group"; done
	ferry list
	ferry list --output-format json
}

# What a captured tree may lack: power_state is new in Linux 5.10, subsystem ids are not there always.
case_list_with_files_missing() {
	rm "$tree/$(function_path 0000:2b:00.0)"/{power_state,subsystem_vendor,config,boot_vga}
	echo nonsense >"$tree/$(function_path 0000:2c:00.0)/class"
	write sys/bus/pci/devices/nonsense ""
	bound 0000:2c:00.1
	ferry list --all
}

case_list_with_a_broken_loan() {
	write run/gpu-ferry/loans/vm-104.json '{"schema":1'
	ferry list
}

# ---- an empty tree

case_empty_tree() {
	rm -rf "${tree:?}"/*
	ferry list
	ferry list --all --output-format json
	ferry status
	ferry status --output-format json
	ferry plan 104 2>&1 | sed 's|nodes/[^/]*/|nodes/NODE/|' # the kernel's word for the node
	ferry reconcile --dry-run
}

# ---- plan

case_plan_card() {
	config 104 "ostype: win11" "hostpci0: 0000:2b:00,pcie=1" "machine: q35"
	ferry plan 104
	ferry plan 104 -v
	terminal 50 plan 104
	ferry plan 104 --output-format json-pretty
}

# driver=keep: the VFIO driver that is made for the device; a function beside it gets vfio-pci.
case_plan_variant_driver() {
	write proc/sys/kernel/osrelease 6.17.4-1-pve
	write lib/modules/6.17.4-1-pve/modules.alias \
		'alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci' \
		'alias vfio_pci:v000010DEd00001E07sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci'
	write "$(function_path 0000:2b:00.0)/modalias" pci:v000010DEd00001E07sv00001458sd000037A9bc03sc00i00
	write "$(function_path 0000:2b:00.1)/modalias" pci:v000010DEd000010F7sv00001458sd000037A9bc04sc03i00
	config 104 "hostpci0: 2b:00,driver=keep"
	ferry plan 104
	: "loaded, the module tells its driver's name"
	driver nvgrace-gpu-vfio-pci nvgrace_gpu_vfio_pci
	mkdir -p "$tree/sys/module/nvgrace_gpu_vfio_pci/drivers/pci:nvgrace-gpu-vfio-pci"
	ferry plan 104 | grep -E -e '->' -e load
	bound 0000:2b:00.0 nvgrace-gpu-vfio-pci
	ferry plan 104 | grep -E -e '->' -e 2b:00.0
	: "without driver=keep Proxmox takes it off any other than vfio-pci"
	bound 0000:2b:00.0 nouveau
	config 104 "hostpci0: 2b:00"
	ferry plan 104 | grep -E -e '->' -e load
}

# What is known of the card, its driver and this kernel; entries of one's own; a file with a mistake.
case_plan_quirks() {
	config 104 "hostpci0: 2b:00"
	device 0000:2b:00.0 1002:731f 1458:37a9 0300 15 amdgpu
	driver amdgpu amdgpu
	write "$(function_path 0000:2b:00.0)/reset_method" "device_specific flr bus"
	write proc/sys/kernel/osrelease 7.0.14-2-pve
	ferry plan 104
	write proc/sys/kernel/osrelease 7.0.14-3-pve
	ferry plan 104 | grep -A9 notes
	: "replaced, switched off, and new"
	quirks mine 'quirks = (' \
		'  { name = "navi-1x-reset"; },' \
		'  { name = "flr-first"; ids = [ "1002:7300-73ff" ]; reset_method = "flr bus";' \
		'    source = "https://example.org/flr"; },' \
		'  { name = "not-here"; class = "03"; reset_method = "pm"; },' \
		'  { name = "audio"; driver = "snd_hda_intel"; notice = "may crackle"; } );'
	ferry plan 104 | grep -e set -e keep -A9 -e notes
	ferry plan 104 --output-format json | grep -o '"blockers":.*'
	settings 'devices = ( { address = "2b:00.0"; reset_method = "bus"; } );'
	ferry plan 104 | grep -e set
	: "a file that cannot be used stops no start, and the others count"
	quirks broken 'quirks = (' '  { name = "typo"; drivers = "amdgpu"; } );'
	ferry plan 104 | grep -A9 notes
	ferry bind 2b:00.1 --dry-run | grep -A9 notes
	rm "$tree/usr/share/gpu-ferry/quirks.conf"
	ferry plan 104 | grep -A9 notes
}

case_plan_backup_of_a_stopped_vm() {
	config 104 "hostpci0: 2b:00" "lock: backup"
	ferry plan 104 | tail -n 3
	settings 'backup_of_stopped_vm = "refuse";'
	ferry plan 104 | tail -n 3
	ferry plan 104 --output-format json | grep -o '"blockers":.*'
	settings 'backup_of_stopped_vm = "refuse";' 'vms = ( { vmid = 104; backup_of_stopped_vm = "allow"; } );'
	ferry plan 104 | tail -n 3
}

# Its own backup in stop mode has stopped it: its devices came home a moment ago.
case_plan_backup_of_a_vm_that_ran() {
	config 104 "hostpci0: 2b:00" "lock: backup"
	settings 'backup_of_stopped_vm = "refuse";'
	write run/gpu-ferry/locks/vm-104 ""
	ferry plan 104 | tail -n 3
	touch -d '1 hour ago' "$tree/run/gpu-ferry/locks/vm-104"
	ferry plan 104 | tail -n 3
}

# One function asked for: the whole group goes, as Proxmox takes it.
case_plan_one_function() {
	config 104 "hostpci0: 2b:00.0"
	ferry plan 104
}

case_plan_list() {
	config 104 "hostpci3: 2b:00.0;2b:00.1;2c:00"
	driver vfio-pci vfio_pci
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

case_plan_no_hostpci() {
	config 104 "ostype: l26" "memory: 2048" "[PENDING]" "hostpci0: 2b:00"
	settings "no setting"
	ferry plan 104
	ferry plan 104 --output-format json
}

case_plan_mapping() {
	mapping gpu "$(map_of 0000:2b:00 15)" "$(map_of 0000:2c:00 16)" "$(map_of 0000:41:00 18 pve2)"
	config 104 "hostpci0: mapping=gpu"
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

case_plan_mapping_first_is_lent() {
	prepare_first_is_lent
	running 105 4242
	ferry plan 104 --output-format json-pretty
}

prepare_first_is_lent() {
	mapping gpu "$(map_of 0000:2b:00 15)" "$(map_of 0000:2c:00 16)"
	config 104 "hostpci0: mapping=gpu"
	on_vfio 0000:2b:00
	loan vm-105 "$vm_105" lent "$(card_functions 0000:2b:00 15 taken)"
}

# VM 105 is gone: its card counts as free, and goes straight over.
case_plan_mapping_first_is_owed_by_a_gone_vm() {
	prepare_first_is_lent
	ferry plan 104
}

case_plan_mapping_none_free() {
	prepare_first_is_lent
	running 105 4242
	write run/qemu-server/pci-id-reservations "0000:2c:00.0 106 time:9999999999"
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

case_plan_mapping_does_not_fit() {
	mapping gpu "id=10de:2204,iommugroup=15,node=pve1,path=0000:2b:00,subsystem-id=1458:37a9"
	config 104 "hostpci0: mapping=gpu" "hostpci1: mapping=other"
	ferry plan 104
}

case_plan_mdev() {
	config 104 "hostpci0: 00:02.0,mdev=i915-GVTg_V5_4"
	mkdir -p "$tree/$(function_path 0000:00:02.0)/mdev_supported_types"
	settings "no setting"
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

case_plan_template() {
	config 104 "template: 1" "hostpci0: 2b:00" "hostpci1: 99:00"
	ferry plan 104
	ferry plan 104 --output-format json
}

case_plan_keep() {
	config 104 "hostpci0: 2b:00,driver=keep"
	driver nvgrace-gpu-vfio-pci nvgrace_gpu_vfio_pci
	driver vfio-pci vfio_pci
	bound 0000:2b:00.0 nvgrace-gpu-vfio-pci
	ferry plan 104 --output-format json-pretty
}

case_plan_missing_device() {
	config 104 "hostpci0: 99:00"
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

case_plan_same_device_twice() {
	config 104 "hostpci0: 2b:00" "hostpci1: 2b:00.1"
	ferry plan 104
}

case_plan_bridge() {
	config 104 "hostpci0: 00:01.0"
	group 0000:00:01.0 3
	ferry plan 104
}

case_plan_no_iommu() {
	for function in 0 1 2 3; do group "0000:2b:00.$function"; done
	config 104 "hostpci0: 2b:00.0"
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

case_plan_foreign_member() {
	group 0000:03:00.0 15
	config 104 "hostpci0: 2b:00"
	ferry plan 104
}

case_plan_foreign_member_allowed() {
	group 0000:03:00.0 15
	config 104 "hostpci0: 2b:00"
	settings 'vms = ( { vmid = 104; allow = [ "03:00.0" ]; } );'
	ferry plan 104
	settings 'vms = ( { vmid = 105; allow = [ "03:00.0" ]; } );'
	ferry plan 104 -q
}

case_plan_dead_card() {
	head -c 64 /dev/zero | tr '\0' '\377' >"$tree/$(function_path 0000:2b:00.0)/config"
	config 104 "hostpci0: 2b:00"
	ferry plan 104
	write "$(function_path 0000:2b:00.0)/power_state" D3cold
	ferry plan 104 --output-format json
}

# vfio-pci would leave "on" behind; what the settings ask for is set around the bind.
case_plan_power_and_reset() {
	write "$(function_path 0000:2b:00.0)/power/control" auto
	write "$(function_path 0000:2b:00.0)/d3cold_allowed" 1
	write "$(function_path 0000:2b:00.0)/reset_method" "flr bus"
	write "$(function_path 0000:2b:00.1)/power/control" auto
	write "$(function_path 0000:2b:00.2)/power/control" on
	config 104 "hostpci0: 2b:00"
	settings 'devices = ( { address = "2b:00.0"; power_control = "on"; d3cold_allowed = false; reset_method = "bus"; } );'
	ferry plan 104
	settings 'devices = ( { address = "2b:00.1"; reset_method = "bus"; } );'
	ferry plan 104
}

case_plan_boot_display() {
	config 104 "hostpci0: 00:02.0"
	ferry plan 104
	settings 'boot_display = "refuse";'
	ferry plan 104
}

case_plan_reserved() {
	config 104 "hostpci0: 2b:00"
	write run/qemu-server/pci-id-reservations "0000:2b:00.0 106 time:9999999999"
	ferry plan 104
	write run/qemu-server/pci-id-reservations "0000:2b:00.0 106 time:1000000000" \
		"0000:2b:00.1 104 time:9999999999"
	ferry plan 104 --output-format json
	running 106 4243
	write run/qemu-server/pci-id-reservations "0000:2b:00.1 106 pid:4243"
	ferry plan 104
}

case_plan_lent_to_a_running_vm() {
	config 104 "hostpci0: 2b:00"
	on_vfio 0000:2b:00
	loan vm-105 "$vm_105" lent "$(card_functions 0000:2b:00 15 taken)"
	running 105 4242
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

case_plan_lent_to_a_vm_that_makes_room() {
	config 104 "hostpci0: 2b:00"
	on_vfio 0000:2b:00
	loan vm-105 "$vm_105" lent "$(card_functions 0000:2b:00 15 taken)"
	running 105 4242
	settings 'make_room = ( { vm = 105; }, { vm = 104; } );'
	ferry plan 104
	ferry plan 104 --output-format json-pretty
	# the other way round it is not running
	config 106 "hostpci0: 2b:00"
	settings 'vms = ( { vmid = 104; make_room = ( { vm = 105; } ); } );'
	ferry plan 106
}

case_plan_lent_to_a_gone_vm() {
	config 104 "hostpci0: 2b:00"
	on_vfio 0000:2b:00
	loan vm-105 "$vm_105" lent "$(card_functions 0000:2b:00 15 taken)"
	ferry plan 104
}

case_plan_lent_by_hand() {
	config 104 "hostpci0: 2b:00"
	on_vfio 0000:2b:00
	loan hand-15 '{"kind":"hand","iommu_group":15}' lent "$(card_functions 0000:2b:00 15 taken)"
	ferry plan 104
}

case_plan_own_loan_stands() {
	config 104 "hostpci0: 2b:00"
	on_vfio 0000:2b:00
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 taken)"
	running 104 4242
	ferry plan 104
	ferry plan 104 --output-format json-pretty
}

# Another VM has one function only, and it is not the first of the card.
case_plan_second_function_lent() {
	config 104 "hostpci0: 2b:00"
	driver vfio-pci vfio_pci
	bound 0000:2b:00.1 vfio-pci
	group 0000:2b:00.1 18
	loan vm-105 "$vm_105" lent "$(loan_function 0000:2b:00.1 18 snd_hda_intel taken)"
	running 105 4242
	ferry plan 104
}

# A VM that is starting holds its lock and has no QEMU yet: it is not gone.
case_plan_lent_to_a_starting_vm() {
	config 104 "hostpci0: 2b:00"
	on_vfio 0000:2b:00
	loan vm-105 "$vm_105" lent "$(card_functions 0000:2b:00 15 taken)"
	write var/lock/qemu-server/lock-105.conf ""
	exec 7>"$tree/var/lock/qemu-server/lock-105.conf"
	flock -x 7
	ferry plan 104
	exec 7>&-
	ferry plan 104
}

case_plan_static() {
	config 104 "hostpci0: 2b:00"
	on_vfio 0000:2b:00
	ferry plan 104
}

case_plan_overdue() {
	config 104 "hostpci0: 2b:00"
	loan vm-105 "$vm_105" overdue "$(card_functions 0000:2b:00 15 taken)" \
		"$(stuck_step 0000:2b:00.1 snd_hda_intel)"
	ferry plan 104
}

# pre-start refuses while a loan cannot be read, whosever it is: the plan must say so.
case_plan_broken_loan() {
	config 104 "hostpci0: 2b:00"
	write run/gpu-ferry/loans/vm-105.json "{"
	ferry plan 104
}

# Proxmox drops what it cannot read, and starts the VM without it.
case_plan_ignored_hostpci() {
	config 104 "hostpci0: 2b:00;pcie=1"
	ferry plan 104
	ferry plan 104 --output-format json
	ferry doctor 104 | grep -A1 'Proxmox VE ignores'
	config 104 "hostpci0: 2c:00,pci=1" "hostpci16: 2b:00"
	ferry plan 104
	ferry doctor 104 | grep -A1 'Proxmox VE ignores'
	cannot_enter && return
	installed
	live /usr/libexec/gpu-ferry/hookscript 104 pre-start
}

case_plan_invalid_lines() {
	config 104 "hostpci0: 2B:00" "hostpci1: 2c:00,pci=1" "hostpci16: 2b:00" "hostpci2: " \
		"ostype: win12" "nonsense"
	ferry plan 104
	ferry plan 104 --output-format json
}

case_plan_no_config() {
	ferry plan 104
	config 105 "memory: 1"
	mv "$tree/etc/pve/nodes/pve1/qemu-server/105.conf" "$tree/etc/pve/nodes/pve2/qemu-server/"
	ferry plan 105
	mkdir "$tree/etc/pve/nodes/pve1/qemu-server/106.conf"
	ferry plan 106
	mkfifo "$tree/etc/pve/nodes/pve1/qemu-server/107.conf"
	ferry plan 107
	head -c 10485760 /dev/zero | tr '\0' '#' >"$tree/etc/pve/nodes/pve1/qemu-server/108.conf"
	ferry plan 108
	printf 'hostpci0: 2b:00\nname: \001\002\000\n' >"$tree/etc/pve/nodes/pve1/qemu-server/109.conf"
	ferry plan 109
	mkdir -p "$tree/etc/pve/nodes/pve1/lxc"
	write etc/pve/nodes/pve1/lxc/110.conf "arch: amd64"
	ferry plan 110
}

case_plan_settings() {
	config 104 "hostpci0: 2b:00"
	settings "write_deadline_seconds = 30;" "boot_dispaly = \"allow\";"
	ferry plan 104
	settings "" "" "write_deadline_seconds = 0;"
	ferry plan 104
	settings "write_deadline_seconds = \"30\";"
	ferry plan 104
	settings "boot_display = allow;"
	ferry plan 104
	settings 'boot_display = "allow";'
	chmod 664 "$tree/etc/gpu-ferry/gpu-ferry.conf"
	ferry plan 104
	chmod 644 "$tree/etc/gpu-ferry/gpu-ferry.conf"
	ferry plan 104 --output-format json
}

case_plan_is_nothing_but_read() {
	config 104 "hostpci0: 2b:00"
	find "$tree" -printf '%p %s %T@ %m\n' | sort >"$work/before"
	ferry plan 104 --output-format json >/dev/null
	ferry list >/dev/null
	ferry status >/dev/null
	find "$tree" -printf '%p %s %T@ %m\n' | sort | diff "$work/before" - && echo untouched
}

# Links are resolved inside the tree, never on the host that looks at it.
case_plan_links_stay_inside() {
	config 104 "hostpci0: 2b:00"
	link etc/gpu-ferry/gpu-ferry.conf /etc/passwd
	ferry plan 104 --output-format json
	link etc/pve/qemu-server /etc/pve/nodes/pve1/qemu-server
	link etc/gpu-ferry/gpu-ferry.conf ../../../../../../etc/shadow
	ferry plan 104 --output-format json
}

case_plan_node_name() {
	config 104 "hostpci0: mapping=gpu"
	mapping gpu "$(map_of 0000:2b:00 15 pve1)" "$(map_of 0000:2c:00 16 elsewhere)"
	rm "$tree/etc/pve/local"
	ferry plan 104
	write etc/hostname elsewhere
	mv "$tree/etc/pve/nodes/pve1" "$tree/etc/pve/nodes/elsewhere"
	ferry plan 104
}

# What other programs and people write: bytes that are no UTF-8, and what a terminal would obey.
write_bytes_of_others() {
	mapping gpu "$(map_of 0000:2b:00 15),description=Gr"$'\xfc\xdf \e[2J'
	printf '\tdescription m\xfcller \e]0;x\a\n\tno-such-\xfc\e[2J 1\n\n' >>"$tree/etc/pve/mapping/pci.cfg"
	printf 'k\xfcche\n\tmap x\n\n' >>"$tree/etc/pve/mapping/pci.cfg"
	write etc/pve/storage.cfg "dir: local" $'\tpath /var/lib/vz' $'\tcontent iso,snippets' "" \
		$'dir: gr\xfcn\e[2J' $'\tpath /m\xfcll\e[2J' "" $'dir: ok' $'\tpath /mnt/m\xfcller\e[2J' ""
	write etc/pve/nodes/pve1/lxc/110.conf $'#caf\xe9 \e[2J' "dev0: /dev/nvidia0"$'\xfc'
	config 104 $'#caf\xe9 \e[2J' $'ciuser: m\xfcller' $'name: m\xc3\xbcller' $'hostpci1: host=\xfc\e[2J' \
		$'args: -x \xfc\e[2J' $'k\xfcche: \e[2J' "hostpci0: mapping=gpu" "ostype: l26"
	config 106 $'ciuser: m\xfcller' "ostype: l26"
	write "$(function_path 0000:2b:00.2)/usb3/3-1/3-1:1.0/input/input7/name" $'A K\xfcyboard \e[2J'
	write "$(function_path 0000:2b:00.2)/usb3/3-1/3-1:1.0/input/input7/capabilities/key" fffffffffffffffe
	running 105 4242
	printf 'k\xfcm\e[2J\n' >"$tree/proc/4242/comm"
	loan vm-105 "$vm_105" lent "$(card_functions 0000:2c:00 16 taken)"
}

# Says what is wrong with the bytes of an output; nothing when all is well.
check_bytes() { # WHAT
	iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 <"$work/bytes" || echo "$1: not UTF-8"
	LC_ALL=C grep -aP '[\x00-\x08\x0b-\x1f\x7f]' "$work/bytes" && echo "$1: control characters"
	echo "$1: $(tr -cd '?' <"$work/bytes" | wc -c) bytes replaced"
}

case_bytes_of_others() {
	installed
	write_bytes_of_others
	settings 'allow = [ "2b:00.2" ];'
	ferry plan 104
	ferry plan 104 --output-format json | grep '"vmid"'
	local command format
	for command in "plan 104" "list --all" status "doctor 104" doctor "attach 104 2c:00 --tune --dry-run" \
		"attach 106 gpu --dry-run" "setup --dry-run" "reconcile --dry-run"; do
		for format in text json json-pretty; do
			# shellcheck disable=SC2086
			ferry $command --output-format "$format" >"$work/bytes" 2>&1
			check_bytes "$command, $format"
		done
	done
	ferry plan $'104\e[2J\xfc'
	ferry status $'\xfc\e[2J'
}

# What is written back is theirs, to the byte: by qm, and in the boot loader's and modprobe's files.
case_bytes_of_others_are_written_back_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 $'#caf\xe9 \e[2J' $'args: -cpu host -name m\xfcller\e[2J' $'ciuser: m\xfcller' "ostype: win10"
	cp "$tree/$vm_conf" "$work/before"
	live gpu-ferry attach 104 2b:00 --tune --machine q35 --bios ovmf >/dev/null 2>&1
	grep -ac $'m\xfcller\e\\[2J' "$tree/$vm_conf"
	grep -ac hostpci0 "$tree/$vm_conf"
	live gpu-ferry detach 104 >/dev/null 2>&1
	cmp "$work/before" "$tree/$vm_conf" && echo "as it was"
}

case_bytes_of_others_are_written_back_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	guide_host
	intel_host 6.5.13-1-pve
	stand_in_programs
	local name
	for name in default/grub modules modprobe.d/pve-blacklist.conf; do
		[ -e "$tree/etc/$name" ] && sed -i $'1i # k\xfcche \e[2J' "$tree/etc/$name"
	done
	sed -i $'s/^GRUB_CMDLINE_LINUX=.*/GRUB_CMDLINE_LINUX="m\xfcller=\e"/' "$tree/etc/default/grub"
	cp -a "$tree/etc" "$work/etc-before"
	live gpu-ferry setup --apply >/dev/null 2>&1
	diff -rq "$work/etc-before" "$tree/etc" | sed "s|$tree|ROOT|; s|$work/etc-before|BEFORE|"
	grep -ac $'k\xfcche \e\\[2J' "$tree/etc/default/grub" "$tree/etc/modprobe.d/pve-blacklist.conf" | sed "s|$tree|ROOT|"
	live gpu-ferry undo --apply >/dev/null 2>&1
	diff -r "$work/etc-before" "$tree/etc" && echo "as it was"
	rm -r "$work/etc-before"
}

# Only the reader of the hookscript's own program sees this VM: it has no device.
case_bytes_of_others_and_the_hookscript() {
	cannot_enter && return
	installed
	write etc/pve/qemu-server/104.conf $'#caf\xe9 \e[2J' $'ciuser: m\xfcller' "ostype: l26"
	live /usr/libexec/gpu-ferry/hookscript 104 pre-start
	printf 'ciuser: \0\n' >"$tree/etc/pve/qemu-server/104.conf"
	live /usr/libexec/gpu-ferry/hookscript 104 pre-start
}

# ---- status

case_status() {
	ferry status
	ferry status --output-format json
	on_vfio 0000:2b:00
	loan vm-104 "$vm_104" lent \
		"$(card_functions 0000:2b:00 15 taken),$(card_functions 0000:2c:00 16 alternative)"
	ferry status
	ferry status 104
	ferry status 105
	ferry status 2b:00
	ferry status 2b:00.3
	ferry status 41:00
	ferry status --output-format json-pretty
}

# States, blockers and diffs have colours, on a terminal and for who wants them.
case_colours_on_a_terminal() {
	loan vm-104 "$vm_104" owed "$(loan_function 0000:2b:00.0 15 nouveau taken)"
	loan hand-16 '{"kind":"hand","iommu_group":16}' overdue "$(card_functions 0000:2c:00 16 taken)" \
		"$(stuck_step 0000:2c:00.1 snd_hda_intel)"
	loan vm-105 '{"kind":"vm","vmid":105}' lent "$(loan_function 0000:00:02.0 0 i915 taken)"
	terminal 80 status
	terminal 80 status --no-color
	NO_COLOR=1 terminal 80 status
	terminal 80 list
	config 106 "hostpci0: 2c:00"
	terminal 80 plan 106 | cut -c1-80
	terminal 80 plan 106 --no-color | grep 'overdue:' | cut -c1-40
	rm -r "$tree/run/gpu-ferry"
	installed
	config 107 "machine: q35"
	terminal 80 attach 107 2b:00 --dry-run | grep -e '[+-] '
	amd_workstation
	by_the_guide
	terminal 80 setup | grep -A6 '^<1>---'
	ferry setup | grep -c $'\e'
}

# The next command, on a terminal and where there is an obvious one.
case_next_command_on_a_terminal() {
	host_of amd nouveau
	bridge_here 0000:00:01.1 1022:1483 13 2b
	geforce_here 0000:2b:00 15
	linux_vm 104 "hostpci0: 0000:2b:00,pcie=1"
	terminal 80 plan 104
	terminal 80 plan 104 -q | grep next
	terminal 80 doctor 104 | tail -n 3
	ferry plan 104
	linux_vm 104 "hostpci0: 0000:2d:00,pcie=1"
	terminal 80 plan 104 | grep next
	terminal 80 doctor 104 | grep next
	on_vfio 0000:2b:00
	loan vm-104 "$vm_104" lent "$(loan_function 0000:2b:00.0 15 nouveau taken)"
	linux_vm 104 "hostpci0: 0000:2b:00,pcie=1"
	terminal 80 plan 104 | grep next
}

appears() { # COUNT PATTERN: so many lines of what is watched, within ten seconds
	local tries=100
	while [ "$(grep -c -- "$2" "$work/watched")" -lt "$1" ] && ((tries--)); do sleep 0.1; done
}

# Printed again when a loan comes and when its driver changes, not before; ended by Ctrl-C, with 0.
case_status_and_list_watch() {
	local command pid child
	for command in status list; do
		: >"$work/watched"
		timeout -s KILL 30 "$work/bin/gpu-ferry" "$command" --watch --root "$tree" >"$work/watched" 2>&1 &
		pid=$!
		appears 1 .
		sleep 1.5 # a look that finds nothing new
		mkdir -p "$tree/run/gpu-ferry/loans"
		(tree=$work/other && loan vm-104 "$vm_104" lent "$(loan_function 0000:2b:00.0 15 nouveau taken)")
		mv "$work/other/run/gpu-ferry/loans/vm-104.json" "$tree/run/gpu-ferry/loans/"
		appears 1 'VM 104'
		rm "$tree/run/gpu-ferry/loans/vm-104.json"
		appears 2 '^$'
		read -r child <"/proc/$pid/task/$pid/children"
		kill -INT "$child"
		wait "$pid"
		echo "$command [$?]"
		cat "$work/watched"
	done
}

# A terminal is cleared each time; what fails is shown and does not end it.
case_status_watch_on_a_terminal() {
	write run/gpu-ferry/loans/vm-104.json "no loan"
	TYPED='\003' terminal 80 status --watch
}

# A stop of VM 104 starts them again; the second loan owes a start alone.
case_status_of_what_made_room() {
	local stopped='{"operation":"stop-unit","subject":"jellyfin.service","argument":"60","original":"","state":"done"}'
	stopped+=',{"operation":"stop-container-unit","subject":"105/ollama.service","argument":"60","original":"","state":"done"}'
	loan vm-104 "$vm_104" lent "$(loan_function 0000:2b:00.0 15 nouveau taken)" "$stopped"
	loan vm-105 "$vm_105" owed "" \
		'{"operation":"stop-vm","subject":"106","argument":"60","original":"","state":"done"}'
	ferry status
	ferry status 105
	ferry status 107
	ferry status --output-format json-pretty
}

# The watch, for so long that it has looked several times.
watch_with_sendmail() { # SCRIPT LINE…
	printf '%s\n' '#!/bin/sh' "$@" >"$tree/usr/sbin/sendmail"
	chmod 755 "$tree/usr/sbin/sendmail"
	(sleep 1.5 && touch "$tree/new" && mv "$tree/new" "$tree/run/gpu-ferry/loans/wakes-it") &
	live timeout "${WATCHED:-3}" gpu-ferry watch
	wait
	rm -f "$tree/run/gpu-ferry/loans/wakes-it"
	show mails
	rm -f "$tree/mails"
}

case_watch_sends_one_notice_with_the_stand_in_sendmail() {
	cannot_enter && return
	export PROC=1
	installed
	loan hand-16 '{"kind":"hand","iommu_group":16}' overdue "$(card_functions 0000:2c:00 16 taken)" \
		"$(stuck_step 0000:2c:00.1 snd_hda_intel | sed "s/4244/$$/; s/\"start_time\":1/\"start_time\":$(cut -d' ' -f22 /proc/$$/stat)/")"
	settings 'notify = "root";'
	watch_with_sendmail 'echo "to $*" >>/mails' 'cat >>/mails'
	: "a trouble that comes and goes, as tries of a return go, is one"
	cp "$tree/run/gpu-ferry/loans/hand-16.json" "$tree/overdue"
	sed 's/"overdue"/"returning"/; s/"steps":.*/"steps":[]}/' "$tree/overdue" >"$tree/returning"
	(sleep 0.5 && mv "$tree/returning" "$tree/run/gpu-ferry/loans/hand-16.json") &
	(sleep 1 && mv "$tree/overdue" "$tree/run/gpu-ferry/loans/hand-16.json") &
	watch_with_sendmail 'echo "to $*" >>/mails' 'cat >>/mails'
	: "of cards that are home, whose stopped service is not started again"
	mv "$tree/run/gpu-ferry/loans/hand-16.json" "$tree/overdue"
	loan vm-105 "$vm_105" owed "" \
		'{"operation":"stop-program","subject":"/usr/bin/false","argument":"1","original":"","state":"done"}'
	WATCHED=8 watch_with_sendmail 'cat >>/mails'
	rm "$tree/run/gpu-ferry/loans/vm-105.json"
	mv "$tree/overdue" "$tree/run/gpu-ferry/loans/hand-16.json"
	: "a mail that cannot be sent keeps nothing from its work"
	watch_with_sendmail 'cat >/dev/null; echo no mailer; exit 75'
	: "and it is off by default"
	settings 'busy = "fail";'
	watch_with_sendmail 'echo "to $*" >>/mails' 'cat >>/mails'
}

case_status_metrics() {
	loan vm-104 "$vm_104" lent "$(loan_function 0000:2b:00.0 15 nouveau taken)"
	loan hand-16 '{"kind":"hand","iommu_group":16}' overdue "$(card_functions 0000:2c:00 16 taken)" \
		"$(stuck_step 0000:2c:00.1 snd_hda_intel)"
	head -c 64 /dev/zero | tr '\0' '\377' >"$tree/$(function_path 0000:2b:00.0)/config"
	ferry status --output-format prometheus -q
	ferry status 104 --output-format prometheus | grep '^gpu_ferry_lent'
	rm "$tree"/run/gpu-ferry/loans/*
	ferry status --output-format prometheus | grep -v '^#'
	ferry list --output-format prometheus
	: "lent by hand, borrowed by a VM, and gone from the bus: each metric once"
	lend_by_hand_to_vm_104 lent
	rm "$tree/sys/bus/pci/devices/0000:2b:00.0"
	ferry status 104 --output-format prometheus -q | grep -v '^#'
	ferry status --output-format prometheus -q | grep 2b:00.0
}

case_status_owed_and_overdue() {
	loan vm-104 "$vm_104" owed "$(loan_function 0000:2b:00.0 15 nouveau taken)"
	loan hand-16 '{"kind":"hand","iommu_group":16}' overdue "$(card_functions 0000:2c:00 16 taken)" \
		"$(stuck_step 0000:2c:00.1 snd_hda_intel)"
	ferry status
	ferry status --output-format json-pretty
}

# A return by hand that failed in part is owed, but not while a VM has the card.
case_reconcile_leaves_what_a_vm_borrowed() {
	lend_by_hand_to_vm_104 owed
	running 104 4242
	ferry reconcile --dry-run
	ferry unbind --dry-run 2b:00
	rm -r "$tree/proc/4242"
	ferry reconcile --dry-run
}

case_status_broken_loans() {
	loan vm-104 "$vm_104" lent "$(loan_function 0000:2b:00.0 15 nouveau taken)"
	write run/gpu-ferry/loans/vm-105.json "{"
	ferry status
	write run/gpu-ferry/loans/vm-105.json '{"schema":9}'
	ferry status 104 --output-format json
	rm "$tree/run/gpu-ferry/loans/vm-105.json"
	chmod 666 "$tree/run/gpu-ferry/loans/vm-104.json"
	ferry status
	ferry bind 2c:00 --dry-run
	ferry reconcile --dry-run
}

# ---- guest: the agent is a stand-in with made-up answers; a real one speaks in the host tier

# A VM with a card, running, its agent on; RULES of ./agent on stdin.
agent() {
	config 104 "agent: 1" "hostpci0: 2b:00"
	running 104 4242
	on_vfio 0000:2b:00
	cat >"$tree/rules"
	./agent "$tree/run/qemu-server/104.qga" "$tree/rules" 2>&1 &
	agent_pid=$!
	for _ in {1..50}; do
		[ ! -S "$tree/run/qemu-server/104.qga" ] || return
		sleep 0.1
	done
}

agent_end() {
	kill "$agent_pid"
	wait "$agent_pid" 2>/dev/null
}

no_program='{"error": {"class": "GenericError", "desc": "Failed to execute child process (No such file or directory)"}}'

# A guest of a distribution with the card of the tree; how nvidia-smi ends, or the agent's answer to it.
guest_rules() { # ID DRIVER STATUS [ANSWER]
	local started='{"return": {"pid": 2}}'
	cat <<-END
		guest-info => {"return": {"version": "7.2.22"}}
		guest-get-osinfo => {"return": {"id": "$1", "pretty-name": "The $1 of tests", "kernel-release": "6.1.0"}}
		/sys/bus/pci => {"return": {"pid": 1}}
		nvidia-smi => ${4:-$started}
		"pid":1 => base64 {"return": {"exited": true, "exitcode": 0, "out-data": "@(0000:01:00.0 0x10de 0x1e07 $2\n0000:01:00.1 0x10de 0x10f7 snd_hda_intel\n0000:01:00.2 0x10de 0x1ad6 \n0000:01:00.3 0x10de 0x1ad7 \n0000:02:00.0 0x1af4 0x1041 virtio-pci\n)"}}
		"pid":2 => base64 {"return": $3}
	END
}

case_guest() {
	agent < <(guest_rules debian nvidia \
		'{"exited": true, "exitcode": 0, "out-data": "@(NVIDIA GeForce RTX 2080 Ti, 550.78\n)"}')
	ferry guest 104
	ferry guest 104 --output-format json-pretty
	ferry guest 104 --install-driver --dry-run
	agent_end
}

case_guest_without_a_driver() {
	agent < <(guest_rules debian nouveau '' "$no_program")
	ferry guest 104
	agent_end
}

# It does not change the guest under --root.
case_guest_install_driver_steps() {
	local id
	for id in debian ubuntu; do
		agent < <(guest_rules $id nouveau '' "$no_program")
		ferry guest 104 --install-driver --dry-run
		ferry guest 104 --install-driver
		agent_end
		rm "$tree/run/qemu-server/104.qga"
	done
}

case_guest_of_another_system() {
	agent < <(guest_rules fedora nouveau '' "$no_program")
	ferry guest 104 --install-driver --dry-run
	agent_end
}

case_guest_of_windows() {
	agent <<-'END'
		guest-info => {"return": {"version": "108.0.2"}}
		guest-get-osinfo => {"return": {"id": "mswindows", "pretty-name": "Windows 11 Pro", "kernel-release": "22631"}}
		guest-get-devices => {"return": [{"driver-name": "Microsoft Basic Display Adapter", "driver-version": "10.0.22621.1", "id": {"type": "pci", "vendor-id": 4318, "device-id": 7687}}]}
		nvidia-smi.exe => {"error": {"class": "GenericError", "desc": "Failed to execute helper program (Invalid argument)"}}
	END
	ferry guest 104
	ferry guest 104 --install-driver --dry-run
	agent_end
}

case_guest_nvidia_smi_fails() {
	agent < <(guest_rules ubuntu nvidia \
		'{"exited": true, "exitcode": 9, "out-data": "@(\nNVIDIA-SMI has failed because it could not.\nMore\n)"}')
	ferry guest 104
	ferry guest 104 --output-format json
	agent_end
	rm "$tree/run/qemu-server/104.qga"
	agent < <(guest_rules ubuntu nvidia '{"exited": true, "signal": 11}')
	ferry guest 104
	agent_end
}

# What a guest says is shown to root: it commands no terminal.
case_guest_is_a_stranger() {
	agent <<-'END'
		guest-info => {"return": {"version": "\u001b[2J"}}
		guest-get-osinfo => {"return": {"id": "debian", "pretty-name": "\u009b2J\u202e\n\u0007", "kernel-release": 7}}
		/sys/bus/pci => {"return": {"pid": 1}}
		"pid":1 => base64 {"return": {"exited": true, "exitcode": 0, "out-data": "@(0000:01:00.0 0x10de 0x1e07 \e]0;x\a\xff\n)"}}
		nvidia-smi => {"error": {"class": "GenericError", "desc": "\u001b[31m"}}
	END
	ferry guest 104
	ferry guest 104 --output-format json
	agent_end
}

case_guest_commands_not_allowed() {
	agent <<-'END'
		guest-info => {"return": {"version": "7.2.22"}}
		guest-exec => {"error": {"class": "CommandNotFound", "desc": "Command guest-exec has been disabled"}}
	END
	ferry guest 104
	ferry guest 104 --output-format json
	agent_end
}

case_guest_without_an_agent() {
	config 104 "hostpci0: 2b:00"
	ferry guest 104
	running 104 4242
	ferry guest 104
	config 104 "hostpci0: 2b:00" "agent: 0"
	ferry guest 104 --output-format json
	config 104 "hostpci0: 2b:00" "agent: enabled=1"
	ferry guest 104
	write run/qemu-server/104.qga ""
	ferry guest 104
	rm "$tree/run/qemu-server/104.qga"
	# QEMU was killed and left its socket
	agent </dev/null
	agent_end
	ferry guest 104
}

# A guest that is not up yet, and one whose nvidia-smi hangs: not the same as no driver.
case_guest_that_does_not_answer() {
	agent <<<'guest-sync => silence'
	ferry guest 104
	agent_end
	rm "$tree/run/qemu-server/104.qga"
	agent < <(guest_rules debian nvidia '' silence)
	ferry guest 104
	agent_end
}

# A mapping's card is the one that the loan has; ids may be others in the guest.
case_guest_sees_what_it_was_given() {
	agent < <(guest_rules debian nvidia '{"exited": true, "exitcode": 0, "out-data": "@(RTX, 550.78\n)"}')
	mapping gpu "$(map_of 0000:2b:00 15)" "$(map_of 0000:2c:00 16)"
	config 104 "agent: 1" "hostpci0: mapping=gpu"
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2c:00 16 taken)"
	ferry guest 104
	config 104 "agent: 1" "hostpci0: 2b:00,device-id=0x2704"
	ferry guest 104
	config 104 "agent: 1" "hostpci0: 00:02.0,mdev=i915-GVTg_V5_4"
	ferry guest 104
	config 104 "agent: 1"
	ferry guest 104
	agent_end
}

# ---- setup and undo

grub_host() { # LINE…: more lines of /etc/default/grub
	write etc/default/grub 'GRUB_DEFAULT=0' 'GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`' "$@"
	for program in update-grub update-initramfs; do
		write "usr/sbin/$program" '#!/bin/sh'
		chmod +x "$tree/usr/sbin/$program"
	done
}

intel_host() { # RELEASE: one whose IOMMU is off
	rm -rf "$tree/sys/class/iommu"
	write proc/cpuinfo 'processor	: 0' 'vendor_id	: GenuineIntel'
	write proc/sys/kernel/osrelease "$1"
}

# As the guide has it, to the letter.
guide_host() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=on iommu=pt"' 'GRUB_CMDLINE_LINUX=""'
	write etc/modprobe.d/vfio.conf 'options vfio-pci ids=10de:1e07,10de:10f7'
	write etc/modprobe.d/pve-blacklist.conf '# This file contains a list of modules which are not supported by Proxmox VE ' \
		'' '# nvidiafb see bugreport https://bugzilla.proxmox.com/show_bug.cgi?id=701' \
		'blacklist nvidiafb' 'blacklist nouveau' 'blacklist nvidia'
}

systemd_boot_host() { # COMMAND-LINE
	mkdir -p "$tree/sys/firmware/efi/efivars"
	printf '\6\0\0\0s\0y\0s\0t\0e\0m\0d\0-\0b\0o\0o\0t\0 \0002\0005\0002\0\0\0' \
		>"$tree/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
	write etc/kernel/proxmox-boot-uuids ABCD-1234
	write etc/kernel/cmdline "$1"
	write usr/sbin/proxmox-boot-tool '#!/bin/sh'
	chmod +x "$tree/usr/sbin/proxmox-boot-tool"
}

# The manifest of a setup that wrote FILE with TEXT.
manifest() { # PATH ORIGINAL WRITTEN: the texts in JSON
	write var/lib/gpu-ferry/manifest.json \
		"{\"schema\":1,\"edits\":[{\"path\":\"$1\",\"mode\":420,\"original\":$2,\"written\":$3}]," \
		'"folders":[],"pending":0,"boot_id":"1-2-3"}'
	chmod 700 "$tree/var/lib/gpu-ferry"
	chmod 600 "$tree/var/lib/gpu-ferry/manifest.json"
}

# A new kernel switches the IOMMU on by itself: nothing but the modules at boot.
case_setup_fresh() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"'
	intel_host 6.8.12-1-pve
	ferry setup
	ferry setup --apply
}

case_setup_intel_of_an_older_kernel() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"'
	intel_host 6.5.13-1-pve
	ferry setup
	write etc/default/grub 'GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=on"'
	ferry setup
	write etc/default/grub 'GRUB_CMDLINE_LINUX_DEFAULT="$(cat /etc/arguments)"'
	ferry setup
	echo "-- its IOMMU has come by itself all the same"
	mkdir -p "$tree/sys/class/iommu/dmar0"
	ferry setup | grep -c intel_iommu=on
}

case_setup_after_the_guide() {
	guide_host
	intel_host 6.5.13-1-pve
	ferry setup
	ferry setup --mode dedicated 2b:00 2c:00
	ferry setup --mode dedicated 2b:00 2c:00 --windows
}

case_setup_after_the_guide_on_a_newer_kernel() {
	guide_host
	intel_host 6.8.12-1-pve
	ferry setup
}

# What is no guide's line stays: other options, other modules, other makers, packages.
case_setup_leaves_what_is_none_of_its() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet video=efifb:off vfio-pci.ids=10de:1e07 modprobe.blacklist=nouveau,pcspkr"' \
		'GRUB_CMDLINE_LINUX="modprobe.blacklist=nouveau"'
	write etc/modprobe.d/vfio.conf '# mine' 'options vfio-pci ids=10de:1e07 disable_vga=1' \
		'options snd_hda_intel power_save=0'
	write etc/modprobe.d/other.conf 'blacklist amdgpu' 'blacklist pcspkr' 'install nouveau /bin/false'
	write usr/lib/modprobe.d/package.conf 'blacklist nouveau'
	write etc/modprobe.d/linked.real 'blacklist i915'
	link etc/modprobe.d/linked.conf linked.real
	ferry setup
}

case_setup_systemd_boot() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"'
	systemd_boot_host 'root=ZFS=rpool/ROOT/pve-1 boot=zfs'
	intel_host 6.5.13-1-pve
	ferry setup
	write etc/kernel/cmdline 'root=ZFS=rpool/ROOT/pve-1 boot=zfs amd_iommu=on iommu=pt'
	ferry setup
	write etc/kernel/cmdline 'root=ZFS=rpool/ROOT/pve-1 boot=zfs intel_iommu=on iommu=pt vfio-pci.ids=10de:1e07'
	ferry setup
}

case_setup_of_an_iommu_that_was_switched_off() {
	grub_host 'GRUB_CMDLINE_LINUX="quiet intel_iommu=off"'
	intel_host 6.5.13-1-pve
	ferry setup
	intel_host 6.8.12-1-pve
	ferry setup
	write proc/cpuinfo 'processor	: 0' 'vendor_id	: AuthenticAMD'
	systemd_boot_host 'root=ZFS=rpool/ROOT/pve-1 boot=zfs amd_iommu=off iommu=off amd_iommu=fullflush'
	ferry setup
}

case_setup_unknown_boot_loader() {
	intel_host 6.5.13-1-pve
	ferry setup
	intel_host 6.8.12-1-pve
	ferry setup
}

case_setup_dedicated_refuses() {
	grub_host
	ferry setup --mode dedicated
	ferry setup --mode dedicated 2b:00
	ferry setup --mode dedicated 00:01.0
	ferry setup --mode dedicated 99:00
	write "$(function_path 0000:03:00.0)/net/eno1/flags" 0x1003
	ferry setup --mode dedicated 03:00.0
	ferry setup --mode often
	ferry setup 2b:00
	ferry setup --windows
	ferry setup --apply --dry-run
}

case_setup_dedicated_notes() {
	grub_host
	write "$(function_path 0000:2b:00.0)/boot_vga" 1
	rm "$tree/sys/bus/pci/drivers/xhci_hcd/module"
	ferry setup --mode dedicated 2b:00 2c:00 | grep -E 'Note|softdep'
}

case_setup_missing_programs() {
	guide_host
	rm "$tree/usr/sbin/update-grub"
	ferry setup
	write usr/sbin/update-grub '#!/bin/sh'
	ferry setup
	chmod +x "$tree/usr/sbin/update-grub"
	rm "$tree/usr/sbin/update-initramfs"
	ferry setup
}

case_setup_links_and_foreign_files() {
	grub_host
	write etc/modules-load.d/mine vfio
	link etc/modules-load.d/gpu-ferry.conf mine
	ferry setup
	ferry setup --mode dedicated 2b:00 2c:00
	rm "$tree/etc/modules-load.d/gpu-ferry.conf"
	write etc/modules-load.d/gpu-ferry.conf something
	ferry setup --mode dedicated 2b:00 2c:00
	manifest etc/modules-load.d/gpu-ferry.conf null '"vfio\n"'
	ferry setup
	chmod 666 "$tree/var/lib/gpu-ferry/manifest.json"
	ferry setup
}

case_setup_nothing_to_do() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"'
	write etc/modules-load.d/gpu-ferry.conf '# Written by `gpu-ferry setup`; `gpu-ferry undo` takes it back.' \
		vfio-pci
	ferry setup
	manifest etc/modprobe.d/vfio.conf '"options vfio-pci ids=10de:1e07\n"' null
	write proc/sys/kernel/random/boot_id 1-2-3
	ferry setup
	ferry setup --mode dedicated 2b:00 2c:00
}

case_setup_without_an_end() {
	grub_host
	write etc/modules-load.d/gpu-ferry.conf '# Written by `gpu-ferry setup`; `gpu-ferry undo` takes it back.' \
		vfio-pci
	manifest etc/modprobe.d/vfio.conf '"options vfio-pci ids=10de:1e07\n"' null
	sed -i 's/"pending":0/"pending":3/' "$tree/var/lib/gpu-ferry/manifest.json"
	ferry setup
}

case_undo() {
	grub_host
	ferry undo
	manifest etc/modprobe.d/vfio.conf '"options vfio-pci ids=10de:1e07\n"' null
	ferry undo
	ferry undo --apply
	write etc/modprobe.d/vfio.conf 'options vfio-pci ids=1:2'
	ferry undo
	manifest etc/default/grub '"A=1\nLINE=\"quiet iommu=pt\"\n"' '"A=1\nLINE=\"quiet\"\n"'
	write etc/default/grub A=2 'LINE="quiet splash"' B=3
	ferry undo
	ferry undo 104
	write var/lib/gpu-ferry/manifest.json '{"schema":2}'
	ferry undo
}

case_setup_and_undo_in_json() {
	guide_host
	intel_host 6.5.13-1-pve
	ferry setup --output-format json-pretty
	rm "$tree/etc/default/grub"
	ferry setup --output-format json
	guide_host
	manifest etc/default/grub '"A=1\nLINE=\"quiet iommu=pt\"\n"' '"A=1\nLINE=\"quiet\"\n"'
	ferry undo --output-format json
}

# They say that they run, and leave a note of it.
stand_in_programs() {
	local program
	for program in update-grub update-initramfs proxmox-boot-tool; do
		printf '#!/bin/sh\necho "the stand-in %s $*"\necho "%s $*" >>/ran\n' $program $program \
			>"$tree/usr/sbin/$program"
		chmod +x "$tree/usr/sbin/$program"
	done
}

# PROGRAM LINE…: says how it was called, then runs the lines.
stand_in() {
	write "usr/sbin/$1" '#!/bin/sh' "echo \"$1 \$*\"" "${@:2}"
	chmod +x "$tree/usr/sbin/$1"
}

# One step of the installation in a guest, and what its log has.
install_step() { # STEP
	rm -f "$tree/var/log/gpu-ferry-driver.log"
	live install-driver "$1"
	cat "$tree/var/log/gpu-ferry-driver.log"
}

case_installation_in_the_guest_with_stand_in_programs() {
	if cannot_enter; then return; fi
	local variable=sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
	mkdir -p "$tree/var/log" "$tree/usr/sbin" "$tree/etc/apt/sources.list.d"
	cp ../../hooks/guest/install-driver.sh "$tree/usr/sbin/install-driver"
	chmod +x "$tree/usr/sbin/install-driver"
	write usr/sbin/uname '#!/bin/sh' 'echo 6.1.0-28-cloud-amd64'
	chmod +x "$tree/usr/sbin/uname"
	stand_in apt-get 'case $* in indextargets*) echo "bookworm main http://mirror.test/debian" ;; esac'
	stand_in apt-cache 'echo "  Candidate: (none)"'
	stand_in mokutil
	stand_in add-apt-repository
	stand_in dpkg-query
	stand_in ubuntu-drivers 'case $1 in devices) echo "driver   : nvidia-driver-550 - distro recommended" ;; *) exit 3 ;; esac'
	write etc/os-release ID=debian VERSION_ID=12 VERSION_CODENAME=bookworm
	for step in secure-boot update components headers driver ubuntu-drivers find-recommended recommended other; do
		install_step $step
	done
	cat "$tree/etc/apt/sources.list.d/gpu-ferry.list"
	echo "-- with Secure Boot, an older Debian, and no driver for the card"
	write etc/os-release ID=debian VERSION_ID=11 VERSION_CODENAME=bookworm
	mkdir -p "$tree/sys/firmware/efi/efivars"
	printf '\6\0\0\0\1' >"$tree/$variable"
	stand_in mokutil 'echo "mok.pub is not enrolled"'
	install_step secure-boot
	stand_in mokutil 'echo "mok.pub is already enrolled"'
	install_step secure-boot
	stand_in ubuntu-drivers
	stand_in apt-get 'case $* in *update*) exit 100 ;; indextargets*) echo "E: Conflicting values set for option Signed-By regarding source x: /k.gpg != " >&2 ;; esac'
	write usr/sbin/sleep '#!/bin/sh' 'echo "sleep $*"'
	chmod +x "$tree/usr/sbin/sleep"
	install_step find-recommended
	install_step components
	ls "$tree/etc/apt/sources.list.d"
}

# The standard output is for the object alone; the programs, which are stand-ins, talk beside it.
case_setup_and_undo_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	guide_host
	intel_host 6.5.13-1-pve
	stand_in_programs
	(cd "$tree" && tar -cf "$work/setup-before.tar" etc)
	live gpu-ferry setup --apply --output-format json | sed 's/([0-9]* s)/(N s)/; s/"diff":"[^}]*"}/"diff":…}/g'
	live gpu-ferry setup --apply | sed 's/([0-9]* s)/(N s)/'
	live gpu-ferry undo --apply --output-format json | sed 's/([0-9]* s)/(N s)/; s/"diff":"[^}]*"}/"diff":…}/g'
	cat "$tree/ran"
	mkdir "$work/setup-before"
	tar -C "$work/setup-before" -xf "$work/setup-before.tar"
	diff -r "$work/setup-before/etc" "$tree/etc" && [ ! -e "$tree/var/lib/gpu-ferry" ] && echo "as it was"
	rm -r "$work/setup-before" "$work/setup-before.tar"
}

# From one mode to the other, and what is somebody's among it.
case_setup_from_one_mode_to_the_other_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	guide_host
	stand_in_programs
	(cd "$tree" && tar -cf "$work/modes.tar" etc)
	live gpu-ferry setup --mode dedicated 2b:00 2c:00 --windows --apply >/dev/null
	boot_files | sed '/^-- .*manifest/,$d'
	live gpu-ferry setup --mode dedicated 2b:00 2c:00 --windows | tail -n 3
	write etc/modprobe.d/later.conf 'options vfio-pci ids=10de:1e07'
	live gpu-ferry setup --apply | sed 's/([0-9]* s)/(N s)/'
	boot_files | sed '/^-- .*manifest/,$d'
	live gpu-ferry undo --apply >/dev/null
	mkdir "$work/modes"
	tar -C "$work/modes" -xf "$work/modes.tar"
	diff -r "$work/modes/etc" "$tree/etc" | sed "s|$tree|ROOT|g; s|$work|WORK|g"
	rm -r "$work/modes" "$work/modes.tar"
	echo "-- a later file of grub.d goes before it"
	intel_host 6.5.13-1-pve
	write etc/default/grub.d/zz.cfg 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"'
	: >"$tree/ran"
	live gpu-ferry setup --apply | tail -n 2
	cat "$tree/ran"
	find "$tree/etc/default" "$tree/var/lib/gpu-ferry" -type f | sed "s|$tree|ROOT|g" | sort
}

# What setup --windows writes is what windows_blacklist = "permanent" looks for.
case_plan_permanent_blacklist_of_setup_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	grub_host
	stand_in_programs
	config 104 "ostype: win11" "hostpci0: 2b:00"
	settings 'windows_blacklist = "permanent";'
	ferry plan 104 | sed -n '/^notes/,$p'
	live gpu-ferry setup --mode dedicated 2b:00 2c:00 --windows --apply >/dev/null
	show etc/modprobe.d/gpu-ferry-blacklist.conf
	echo "-- so there are no notes"
	ferry plan 104 | sed -n '/^notes/,$p'
	echo "-- taken out again"
	live gpu-ferry setup --apply >/dev/null
	ferry plan 104 | sed -n '/^notes/,$p'
}

# What the files that GRUB's menu is made from come to, to a shell.
grub_arguments() {
	(
		. "$tree/etc/default/grub"
		for file in "$tree"/etc/default/grub.d/*.cfg; do
			[ ! -e "$file" ] || . "$file"
		done
		echo "[${GRUB_CMDLINE_LINUX-}] [$GRUB_CMDLINE_LINUX_DEFAULT]"
	)
}

# LINE…: a host with these in /etc/default/grub, from setup to undo.
grub_there_and_back() {
	write etc/default/grub 'GRUB_DISTRIBUTOR=`echo Debian`' "$@"
	cp -a "$tree/etc/default/grub" "$work/grub"
	echo "-- $*"
	ferry setup | grep Note
	live gpu-ferry setup --apply >/dev/null
	grub_arguments
	live gpu-ferry setup --apply | grep '^Nothing'
	live gpu-ferry undo --apply >/dev/null
	cmp "$work/grub" "$tree/etc/default/grub"
}

case_setup_of_grub_files_of_all_forms_with_stand_in_programs() {
	local bs=\\
	if cannot_enter; then return; fi
	installed
	stand_in_programs
	intel_host 6.5.13-1-pve
	grub_there_and_back "GRUB_CMDLINE_LINUX_DEFAULT='quiet intel_iommu=on iommu=pt'" GRUB_CMDLINE_LINUX=amd_iommu=on
	grub_there_and_back "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet $bs" "intel_iommu=on $bs" \
		'  amd_iommu=on splash"  # amd_iommu=on'
	grub_there_and_back "GRUB_CMDLINE_LINUX_DEFAULT=\"$bs" '	intel_iommu=off iommu=pt"'
	grub_there_and_back "GRUB_CMDLINE_LINUX_DEFAULT=quiet$bs iommu=pt" 'GRUB_CMDLINE_LINUX="a b"'
	grub_there_and_back "GRUB_CMDLINE_LINUX_DEFAULT=quiet$bs iommu=pt$bs splash"
	grub_there_and_back 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"' \
		'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT amd_iommu=on iommu=pt"' 'export GRUB_CMDLINE_LINUX=iommu=pt'
	grub_there_and_back 'GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=on,sm_on"'
	grub_there_and_back 'GRUB_CMDLINE_LINUX_DEFAULT="intel_iommu=onx intel_iommu=sm_on,on iommu=ptx"'
	grub_there_and_back $'GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=off iommu=pt"\r'
	systemd_boot_host 'root=ZFS=rpool/ROOT/pve-1 boot=zfs intel_iommu=sm_on,on'
	ferry setup | grep -c intel_iommu
}

# What other guides have a person put in: all of it that keeps the host from its cards goes, the rest
# stays.
case_setup_after_other_guides_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	stand_in_programs
	local arguments='quiet intel_iommu=on iommu=pt pcie_acs_override=downstream,multifunction nofb nomodeset
		video=vesafb:off,efifb:off initcall_blacklist=sysfb_init module_blacklist=nouveau,nvidia
		modprobe.blacklist=nouveau,snd_hda_intel nouveau.modeset=0 vfio_pci.ids=10de:1e07'
	arguments=$(echo $arguments)
	grub_host "GRUB_CMDLINE_LINUX_DEFAULT=\"$arguments\""
	stand_in_programs
	intel_host 6.8.12-1-pve
	write proc/cmdline "BOOT_IMAGE=/vmlinuz $arguments"
	write etc/modprobe.d/iommu_unsafe_interrupts.conf 'options vfio_iommu_type1 allow_unsafe_interrupts=1'
	write etc/modprobe.d/kvm.conf 'options kvm ignore_msrs=1 report_ignored_msrs=0'
	write etc/modprobe.d/blacklist.conf 'blacklist radeon' 'blacklist nouveau' 'blacklist nvidia*' \
		'blacklist nvidiafb' 'blacklist snd_hda_intel' 'options nouveau runpm=0 modeset=0' 'options i915 modeset=0'
	write etc/modprobe.d/vfio.conf 'options vfio-pci ids=10de:1e07,10de:10f7 disable_vga=1' \
		'softdep nouveau pre: vfio-pci' 'softdep snd_hda_intel pre: vfio-pci' 'install nvidia /bin/false'
	write etc/modules vfio vfio_iommu_type1 vfio_pci vfio_virqfd
	write etc/initramfs-tools/modules '# modules' vfio 'vfio_pci ids=10de:1e07,10de:10f7'
	(cd "$tree" && tar -cf "$work/guides.tar" etc)
	kernel 6.8.12-1-pve "" vfio/pci/vfio-pci gpu/drm/nouveau gpu/drm/i915
	ferry doctor -v | sed -n '/^= MODULES/,/^= GPUS/p'
	rm -r "${tree:?}/lib" # what is entered has the machine's
	live gpu-ferry setup --apply | sed 's/([0-9]* s)/(N s)/'
	live gpu-ferry setup --apply | tail -n 3
	: "and the boot after it"
	write proc/cmdline "BOOT_IMAGE=/vmlinuz $(grub_arguments)"
	kernel 6.8.12-1-pve "" vfio/pci/vfio-pci gpu/drm/nouveau gpu/drm/i915
	ferry doctor -v | sed -n '/^= MODULES/,/^= GPUS/p'
	rm -r "${tree:?}/lib"
	live gpu-ferry undo --apply >/dev/null
	mkdir "$work/guides"
	tar -C "$work/guides" -xf "$work/guides.tar"
	diff -r "$work/guides/etc" "$tree/etc" && [ ! -e "$tree/var/lib/gpu-ferry" ] && echo "as it was"
	rm -r "$work/guides" "$work/guides.tar" "$tree/etc/modprobe.d"
	echo "-- the list of the initramfs alone"
	ferry setup | grep initramfs
}

# Killed before its manifest had its name: nothing was changed yet, and nothing is left.
case_undo_of_a_setup_that_was_killed_at_once_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	grub_host
	write var/lib/gpu-ferry/.manifest.json.4194305.tmp '{'
	chmod 700 "$tree/var/lib/gpu-ferry"
	live gpu-ferry undo
	find "$tree/var/lib/gpu-ferry" -type f | wc -l
	live gpu-ferry undo --apply
	[ -e "$tree/var/lib/gpu-ferry" ] || echo "nothing is left"
}

# FOLDER of the tree is read-only, then full; the mounts are those of the name space.
setup_with_bad() {
	write usr/sbin/with-bad '#!/bin/sh' "cd /$1 || exit" 'mkdir /kept && cp -a . /kept' \
		'list() { find . ! -name filler -type f | sort | xargs -r md5sum; }' 'list >/before' \
		"mount -t tmpfs -o size=64k,mode=755 tmpfs /$1 && cd /$1 && cp -a /kept/. . || exit" \
		"case \$1 in full) head -c 65536 /usr/bin/bash >filler 2>/dev/null ;; *) mount -o remount,ro /$1 ;; esac" \
		'gpu-ferry setup --mode dedicated 2b:00 2c:00 --apply >/out 2>/err; echo "exit code $?"; cat /err' 'list | cmp /before - && echo unchanged'
	chmod +x "$tree/usr/sbin/with-bad"
	for kind in read-only full; do
		rm -rf "$tree/kept"
		live with-bad $kind
		(cd "$tree" && find etc var/lib -printf '%p %m %l\n' -type f -exec md5sum {} + | sort) |
			cmp "$work/before-bad" - && rm "$tree/out"
	done
}

case_setup_on_bad_file_systems_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	guide_host
	intel_host 6.5.13-1-pve
	stand_in_programs
	mkdir -p "$tree/etc/default/grub.d" "$tree/etc/modules-load.d" "$tree/var/lib/gpu-ferry"
	chmod 700 "$tree/var/lib/gpu-ferry"
	(cd "$tree" && find etc var/lib -printf '%p %m %l\n' -type f -exec md5sum {} + | sort) >"$work/before-bad"
	for folder in etc/default etc/modprobe.d etc/modules-load.d var/lib/gpu-ferry; do
		setup_with_bad $folder
	done
	[ ! -e "$tree/ran" ] && echo "nothing was run"
}

# Debian's own systemd-boot, which kernel-install keeps: proxmox-boot-tool would do nothing there.
case_setup_of_systemd_boot_without_proxmoxs_tool() {
	systemd_boot_host 'root=/dev/sda2 ro'
	rm "$tree/etc/kernel/proxmox-boot-uuids"
	intel_host 6.5.13-1-pve
	ferry setup
	ferry setup --apply
	ferry doctor | grep -E -A1 'systemd-boot|intel_iommu'
	write proc/cmdline "root=/dev/sda2 ro intel_iommu=on"
	mkdir -p "$tree/sys/class/iommu/dmar0"
	ferry setup | grep -E 'Note|intel_iommu|Nothing'
	ferry doctor | grep -A1 intel_iommu
}

case_setup_of_own_files() {
	grub_host
	manifest etc/modules-load.d/gpu-ferry.conf null '"vfio\n"'
	write etc/modules-load.d/gpu-ferry.conf vfio
	ferry setup
	manifest etc/modules-load.d/gpu-ferry.conf null '"vfio\n","previous":"kvm\n"'
	write etc/modules-load.d/gpu-ferry.conf kvm
	ferry setup --mode dedicated 2b:00 2c:00 | grep -c +vfio-pci
	echo "-- somebody's by that name, which is not wanted"
	write etc/modprobe.d/gpu-ferry.conf 'softdep nouveau pre: mine'
	ferry setup | grep -c mine
	echo "-- and ours"
	manifest etc/modprobe.d/gpu-ferry.conf null '"softdep nouveau pre: mine\n"'
	rm "$tree/etc/modules-load.d/gpu-ferry.conf"
	ferry setup | grep mine
	echo "-- of another boot"
	write proc/sys/kernel/random/boot_id 4-5-6
	ferry setup --dry-run | grep reboot
}

case_setup_with_nvidias_driver_on_the_host() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet modprobe.blacklist=pcspkr modprobe.blacklist=nouveau nouveau.modeset=0"'
	intel_host 6.8.12-1-pve
	# as Debian's package of it has it
	kernel 6.8.12-1-pve CONFIG_INTEL_IOMMU_DEFAULT_ON=y updates/dkms/nvidia-current
	write etc/modprobe.d/nvidia.conf 'alias nvidia nvidia-current'
	write etc/modprobe.d/nvidia-installer.conf 'blacklist nouveau' 'options nouveau modeset=0' 'options other ids=10de:1e07' \
		'install nouveau /sbin/modprobe --ignore-install nouveau' 'softdep vfio_pci pre: ids=10de:1e07'
	write etc/modprobe.d/guide.conf 'blacklist nouveau' 'blacklist nvidia'
	write etc/default/real 'GRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"'
	ferry setup
	rm "$tree/etc/default/grub"
	link etc/default/grub real
	ferry setup | grep -E 'Note|iommu'
}

# Alike are only those of one maker.
case_setup_dedicated_of_another_maker() {
	grub_host
	device 0000:05:00.0 1002:744c 1458:40bc 0300 35 amdgpu
	device 0000:06:00.0 8086:744c 1458:40bc 0380 36 i915
	device 0000:07:00.0 1002:744d 1458:40bc 0380 37 amdgpu
	driver amdgpu amdgpu
	ferry setup --mode dedicated 05:00 --windows
	write "$(function_path 0000:07:00.0)/boot_vga" 1
	modprobe_file gpu-ferry-blacklist.conf "blacklist amdgpu"
	modprobe_file gpu-ferry.conf "options vfio-pci ids=1002:744c"
	ferry doctor | grep -A1 '^[A-Z].*loses'
	rm "$tree"/etc/modprobe.d/gpu-ferry*
	device 0000:08:00.0 1002:744c 1458:40bc 0380 38 amdgpu
	ferry setup --mode dedicated 05:00
}

# What the first version wrote, to the letter, and a file that later versions have another name for:
# undo goes by the manifest alone. Somebody has added lines since.
host_of_an_older_version() {
	grub_host 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"' 'GRUB_CMDLINE_LINUX=""' '# added later'
	write etc/default/grub.d/gpu-ferry.cfg '# Written by `gpu-ferry setup`.' \
		'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT iommu=pt"'
	write etc/modprobe.d/gpu-ferry-of-old.conf 'softdep nouveau pre: vfio-pci'
	write etc/modprobe.d/mine.conf 'options snd_hda_intel power_save=0' '# added later'
	cat >"$work/manifest" <<-'END'
		{"schema":1,"edits":[
		{"path":"etc/default/grub","mode":420,"original":"GRUB_DEFAULT=0\nGRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on iommu=pt\"\nGRUB_CMDLINE_LINUX=\"\"\n","written":"GRUB_DEFAULT=0\nGRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n"},
		{"path":"etc/default/grub.d/gpu-ferry.cfg","mode":420,"original":null,"written":"# Written by `gpu-ferry setup`.\nGRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT iommu=pt\"\n"},
		{"path":"etc/modprobe.d/gpu-ferry-of-old.conf","mode":420,"original":null,"written":"softdep nouveau pre: vfio-pci\n"},
		{"path":"etc/modprobe.d/mine.conf","mode":384,"original":"options vfio-pci ids=10de:1e07\noptions snd_hda_intel power_save=0\n","written":"options snd_hda_intel power_save=0\n"},
		{"path":"etc/modprobe.d/vfio.conf","mode":384,"original":"options vfio-pci ids=10de:10f7\n","written":null}],
		"folders":["etc/default/grub.d"],"pending":0,"boot_id":"1-2-3","field_of_that_version":7}
	END
	write var/lib/gpu-ferry/manifest.json "$(cat "$work/manifest")"
	chmod 600 "$tree/etc/modprobe.d/mine.conf" "$tree/var/lib/gpu-ferry/manifest.json"
	chmod 700 "$tree/var/lib/gpu-ferry"
}

boot_files() {
	(cd "$tree" && find etc/default etc/modprobe.d etc/modules-load.d etc/kernel var/lib/gpu-ferry -type f \
		-printf '%m %p\n' 2>/dev/null || true) | (cd "$tree" && sort -k 2 | while read -r mode file; do
		echo "-- $mode $file"
		cat "$file"
	done)
}

case_undo_of_what_an_older_version_did_with_stand_in_programs() {
	if cannot_enter; then return; fi
	installed
	host_of_an_older_version
	stand_in_programs
	live gpu-ferry undo --apply >/dev/null
	boot_files
	echo "-- and with a setup of this version in between"
	host_of_an_older_version
	stand_in_programs
	live gpu-ferry setup --apply >/dev/null
	boot_files | grep '^-- '
	live gpu-ferry undo --apply >/dev/null
	boot_files
	[ ! -e "$tree/etc/default/grub.d" ] && [ ! -e "$tree/var/lib/gpu-ferry" ] && echo "no folder is left"
}

# systemd-boot and proxmox-boot-tool, which is a stand-in: the real one is not in Debian.
case_setup_and_undo_of_systemd_boot_with_a_stand_in_boot_tool() {
	if cannot_enter; then return; fi
	installed
	systemd_boot_host 'root=ZFS=rpool/ROOT/pve-1 boot=zfs amd_iommu=on iommu=pt intel_iommu=off'
	intel_host 6.5.13-1-pve
	write etc/modprobe.d/vfio.conf 'options vfio-pci ids=10de:1e07,10de:10f7'
	stand_in_programs
	boot_files >"$work/boot-files"
	live gpu-ferry setup --apply | sed 's/([0-9]* s)/(N s)/'
	boot_files | grep -A1 -e cmdline
	live gpu-ferry setup --apply
	cat "$tree/ran"
	live gpu-ferry undo --apply >/dev/null
	boot_files | diff "$work/boot-files" - && echo "as it was"
	echo "-- a boot tool that fails"
	printf '#!/bin/sh\necho no space left on the boot partition\nexit 1\n' >"$tree/usr/sbin/proxmox-boot-tool"
	live gpu-ferry setup --apply 2>&1 | sed 's/([0-9]* s)/(N s)/' | tail -n 5
	boot_files | grep -v manifest.json | diff "$work/boot-files" - | grep '^<'
}

# ---- nothing is changed under --root

case_captured_trees_are_not_changed() {
	ferry bind 2b:00
	ferry unbind 2b:00
	ferry reconcile
	ferry hook 104 pre-start
	ferry bind 2b:00 --dry-run
	ferry bind 99:00 --dry-run
	ferry unbind 2b:00 --dry-run
	ferry reconcile --dry-run
}

case_as_nobody() {
	if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
		skip "needs root and setpriv"
		return
	fi
	config 104 "hostpci0: 2b:00"
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 taken)"
	on_vfio 0000:2b:00
	call as=nobody gpu-ferry list --root "$tree"
	call as=nobody gpu-ferry status --root "$tree"
	call as=nobody gpu-ferry plan 104 --root "$tree"
	call as=nobody gpu-ferry reconcile
	call as=nobody gpu-ferry hook 104 pre-start
	chmod 000 "$tree/run/gpu-ferry/loans/vm-104.json"
	call as=nobody gpu-ferry status --root "$tree"
}

# ---- how it is called

case_usage() {
	call gpu-ferry
	call gpu-ferry nonsense
	call gpu-ferry --nonsense
	call gpu-ferry list --nonsense
	call gpu-ferry list extra
	call gpu-ferry list --output-format xml
	call gpu-ferry list --output-format
	call gpu-ferry list --root
	call gpu-ferry list --root /nowhere
	call gpu-ferry list --root /etc/hostname
	call gpu-ferry plan
	call gpu-ferry plan 104 105
	for vmid in 99 0104 1e3 1000000000 "" "104 " -104 ١٠٤ 104x; do
		call gpu-ferry plan -- "$vmid"
	done
	call gpu-ferry status 104 105
	call gpu-ferry status nonsense
	call gpu-ferry bind
	call gpu-ferry unbind
	call gpu-ferry bind nonsense
	call gpu-ferry hook 104
	call gpu-ferry hook 104 pre-start extra
	call gpu-ferry hook 99 pre-start
	call gpu-ferry hook 104 mid-start
	call gpu-ferry reconcile extra
	call gpu-ferry guest
	call gpu-ferry guest 104 105
	call gpu-ferry guest 1
	call gpu-ferry guest 104 --dry-run
}

# An option that a command does not know is never just passed over.
case_usage_options_of_other_commands() {
	ferry list --tune
	ferry list --all --apply
	ferry --windows list
	ferry status --apply
	ferry doctor --apply
	ferry doctor --dry-run
	ferry plan 104 --dry-run
	ferry setup --install-driver
	ferry undo --mode dedicated
	ferry attach 104 2b:00 --driver nouveau
	ferry bind 2b:00 --all=yes
	ferry list --all=yes
	call gpu-ferry bind 2b:00 --driver
	ferry list -x
	ferry -qx list
	ferry --mode dedicated setup --apply --dry-run
	ferry --driver nouveau bind --dry-run 99:00
	call gpu-ferry doctr
	call gpu-ferry statsu 104
	call gpu-ferry lst
	call gpu-ferry help nonsense
	call gpu-ferry -- list extra
}

case_help() {
	call gpu-ferry --help
	call gpu-ferry -h plan
	call gpu-ferry plan --help
	call gpu-ferry attach --help
}

# Every command's own, and that no line is too long for a terminal.
case_help_of_each_command() {
	local command
	for command in $(commands_of_help) hook; do
		call gpu-ferry "$command" --help
	done
	for command in "" $(commands_of_help) hook; do
		"$work/bin/gpu-ferry" ${command:+"$command"} --help | LC_ALL=C.UTF-8 grep -E '.{81}'
	done
	echo "gpu-ferry help COMMAND is gpu-ferry COMMAND --help:"
	diff <("$work/bin/gpu-ferry" help plan) <("$work/bin/gpu-ferry" plan --help) && echo same
	diff <("$work/bin/gpu-ferry" help undo) <("$work/bin/gpu-ferry" -h undo) && echo same
	diff <("$work/bin/gpu-ferry" help) <("$work/bin/gpu-ferry" --help) && echo same
}

commands_of_help() {
	"$work/bin/gpu-ferry" --help | sed -n '/^Commands:/,/^$/ s/^    \([a-z]*\) .*/\1/p'
}

# What the program parses by: --help is printed from the same table.
options_of_help() { # TITLE [COMMAND]
	"$work/bin/gpu-ferry" "${@:2}" --help | sed -n "/^$1:/,/^\$/p" |
		sed -nE 's/^  (-., )?--([a-z-]+).*/\2/p' | sort
}

options_of_manual() { # SECTION [COMMAND]
	awk -v section="$1" -v command="${2:-}" -v start="$([ "$1" = COMMANDS ] && echo .It || echo .Cm)" '
		/^\.Sh / { inside = $2 == section; here = inside && command == "" }
		inside && command && $1 == start && / ?Cm / { here = $NF == command }
		here && /^\.(It|Op|Ar) .*Fl Fl / {
			while (match($0, /Fl Fl [a-z-]+/)) {
				print substr($0, RSTART + 6, RLENGTH - 6)
				$0 = substr($0, RSTART + RLENGTH)
			}
		}' ../../hooks/gpu-ferry.8 | sort
}

# A command that --help has and the manual has not, or the other way round, is a difference too.
case_manual_has_the_options_of_help() {
	local command
	diff <(commands_of_help | sort) \
		<(sed -n '/^\.Sh COMMANDS/,/^\.Sh OPTIONS/ s/^\.It Cm //p' ../../hooks/gpu-ferry.8 | sort) &&
		echo "commands: same"
	for command in $(commands_of_help); do
		diff <(options_of_help Options "$command") <(options_of_manual COMMANDS "$command") &&
			diff <(options_of_help Options "$command") <(options_of_manual SYNOPSIS "$command") &&
			echo "$command: same"
	done
	diff <(options_of_help "Options of every command") <(options_of_manual OPTIONS) &&
		echo "options of every command: same"
}

# complete_words WORD…: what bash offers for the last of them.
complete_words() {
	bash -c '
		_init_completion() {
			words=(gpu-ferry "${given[@]}") cword=${#given[@]}
			cur=${words[cword]} prev=${words[cword - 1]}
		}
		_filedir() { COMPREPLY=("a folder"); }
		__ltrim_colon_completions() { :; }
		shopt -s extglob
		. ../../hooks/gpu-ferry.bash-completion
		_gpu_ferry_vmids() { echo 104; }
		_gpu_ferry_devices() { echo 2b:00; }
		_gpu_ferry_drivers() { echo nouveau; }
		given=("$@")
		PATH=$work/bin:$PATH _gpu_ferry
		echo "$* -> ${COMPREPLY[*]}"
	' complete_words "$@"
}

case_completion() {
	export work
	complete_words ""
	complete_words st
	complete_words help p
	complete_words --
	for command in $(commands_of_help); do
		complete_words "$command" --
		complete_words "$command" ""
	done
	complete_words --output-format ""
	complete_words --root ""
	complete_words list --output-format js
	complete_words status --output-format p
	complete_words setup --mode ""
	complete_words bind --driver ""
	complete_words attach --machine ""
	complete_words attach 104 ""
	complete_words -q --root / detach --a
}

# Only copies: what is installed was built before, maybe with other flags.
make_below() { # DESTDIR TARGET
	env -u MAKEFLAGS make -s -C ../.. -o all DESTDIR="$1" PREFIX=/usr UNITDIR=/usr/lib/systemd/system "$2" 2>&1 | sed "s|$1|DESTDIR|"
}

case_make_uninstall_leaves_only_what_was_changed() {
	local target=$work/target
	make_below "$target" install
	find "$target" ! -type d -printf '%m %P %l\n' | sort -k2
	make_below "$target" uninstall
	find "$target" -name '*gpu-ferry*'
	make_below "$target" install
	echo 'boot_display = "refuse"' >>"$target/etc/gpu-ferry/gpu-ferry.conf"
	touch "$target/etc/gpu-ferry/quirks.d/own.conf"
	ln -sfn /root/my-hookscript "$target/var/lib/vz/snippets/gpu-ferry"
	make_below "$target" uninstall
	find "$target" ! -type d -printf '%P\n' | sort
	make_below "$target" install
	tail -n 1 "$target/etc/gpu-ferry/gpu-ferry.conf"
}

case_version() {
	call gpu-ferry --version | sed 's/gpu-ferry [0-9][0-9.~a-z+-]*$/gpu-ferry VERSION/'
}

case_output_that_cannot_be_written() {
	local arguments
	config 104 "hostpci0: 2b:00"
	loan vm-104 "$vm_104" owed "$(card_functions 0000:2b:00 15 taken)"
	for arguments in "list" "list --output-format json" "status 105" "status --output-format json" \
		"plan 104" "reconcile --dry-run" "setup" "setup --output-format json" "undo" "doctor" \
		"--help" "--version" "help" "list --help" "doctor --help" "doctor --version"; do
		echo "gpu-ferry $arguments"
		# shellcheck disable=SC2086 # words
		"$work/bin/gpu-ferry" $arguments --root "$tree" >/dev/full
		echo "[$?]"
	done 2>&1
}

# ---- the hookscript's arguments (its work needs the live host)

case_hookscript_usage() {
	call hookscript
	call hookscript 104
	call hookscript 104 pre-start extra
	for vmid in 99 0104 1e3 1000000000 "" "104 " " 104" 104x -104; do
		call hookscript "$vmid" pre-start
	done
	for phase in "" start PRE-START "pre-start " migrate; do
		call hookscript 104 "$phase"
	done
}

case_hookscript_without_a_config() {
	if [ -e /etc/pve ] || [ -e /run/gpu-ferry ]; then
		skip "this is a Proxmox VE host"
		return
	fi
	call hookscript 987654321 pre-start 2>&1 | sed "s|nodes/[^/]*/|nodes/NODE/|g"
	call hookscript 987654321 pre-stop
	call hookscript 987654321 post-start
	call hookscript 987654321 post-stop
}

# ---- the programs run each other: beside them in a build folder, else as installed

# A folder with copies of the programs; anything called assistant says that it ran.
programs_beside() { # PROGRAM…
	mkdir "$work/beside"
	cp "${@/#/$work/bin/}" "$work/beside/"
}

call_beside() { # PROGRAM ARGUMENT…
	timeout 20 "$work/beside/$1" "${@:2}" 2>&1 | sed 's|/usr/local/|/usr/|'
	rm -rf "$work/beside"
}

case_assistant_is_not_just_any_file() {
	if [ -e /usr/sbin/gpu-ferry ] || [ -e /usr/local/sbin/gpu-ferry ] || [ "$(id -u)" != 0 ]; then
		skip "needs root, and gpu-ferry not installed"
		return
	fi
	echo "-- none"
	programs_beside gpu-ferry
	call_beside gpu-ferry doctor 1
	echo "-- the build's"
	programs_beside gpu-ferry assistant
	call_beside gpu-ferry doctor 1
	echo "-- somebody else's"
	programs_beside gpu-ferry assistant
	chown 65534 "$work/beside/assistant"
	call_beside gpu-ferry doctor 1
	echo "-- writable by all"
	programs_beside gpu-ferry assistant
	chmod 777 "$work/beside/assistant"
	call_beside gpu-ferry doctor 1
	echo "-- a link to the build's"
	programs_beside gpu-ferry
	ln -s "$work/bin/assistant" "$work/beside/assistant"
	call_beside gpu-ferry doctor 1
	echo "-- gpu-ferry itself"
	programs_beside gpu-ferry
	ln "$work/beside/gpu-ferry" "$work/beside/assistant"
	call_beside gpu-ferry doctor 1
	echo "-- under another name"
	programs_beside gpu-ferry assistant
	mv "$work/beside/gpu-ferry" "$work/beside/ferry"
	call_beside ferry doctor 1
}

# ---- attach: what it would do

# What depends on the folders of this build.
same_everywhere() {
	sed 's|/usr/local/libexec/|/usr/libexec/|g; s|/usr/local/sbin/|/usr/sbin/|g'
}

case_attach_dry_run() {
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	ferry attach 104 2b:00 --dry-run
	ferry attach 104 0000:2B:00.1 --dry-run
	ferry attach 104 2b:00 2c:00 --primary-gpu --dry-run
	ferry attach 104 2b:00 --dry-run --output-format json-pretty
	show etc/pve/nodes/pve1/qemu-server/104.conf var/lib/gpu-ferry
}

case_attach_takes_the_next_free_entry() {
	installed
	config 104 "machine: pc-q35-9.2" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hostpci0: 03:00" "hostpci2: 2c:00.1" "[PENDING]" "hostpci1: 0000:2c:00.2" \
		"delete: hostpci0"
	ferry attach 104 2b:00.0 2b:00.1 --dry-run
}

# What we cannot read a newer Proxmox may: it is neither overwritten nor lost.
case_attach_keeps_what_it_does_not_know_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "bios: ovmf" "cpu: host,flags=+of-tomorrow" "efidisk0: local:1" \
		"hostpci0: 2b:00,of-tomorrow=1" "machine: pc,of-tomorrow=1" "ostype: win11"
	live gpu-ferry attach 104 2c:00 --tune --machine q35
	live gpu-ferry detach 104
	show $vm_conf $record
}

case_attach_mapping() {
	installed
	mapping gpu "$(map_of 0000:2b:00 15)" "$(map_of 0000:2c:00 16)"
	mapping other "$(map_of 0000:2b:00 99)"
	mapping elsewhere "$(map_of 0000:2b:00 15 pve2)"
	printf 'vgpu\n\tmap %s\n\tmdev 1\n\n' "$(map_of 0000:2b:00 15)" >>"$tree/etc/pve/mapping/pci.cfg"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	ferry attach 104 gpu --dry-run
	ferry attach 104 other --dry-run
	ferry attach 104 elsewhere --dry-run
	ferry attach 104 vgpu --dry-run
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hostpci0: mapping=gpu" "hookscript: local:snippets/gpu-ferry"
	ferry attach 104 gpu --dry-run
	echo "-- the other alternative is left, or none"
	ferry attach 104 2b:00 --dry-run
	mapping one "$(map_of 0000:2b:00 15)"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" "hostpci0: mapping=one"
	ferry attach 104 2b:00 --dry-run
	ferry attach 104 gpu --dry-run
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" "hostpci0: 2b:00"
	ferry attach 104 gpu --dry-run
	ferry attach 104 one --dry-run
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" "hostpci0: 2b:00.1"
	ferry attach 104 gpu --dry-run
	ferry attach 104 one --dry-run
	echo "-- several at once"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	ferry attach 104 gpu 2b:00 --dry-run
	ferry attach 104 2b:00 gpu --dry-run
	ferry attach 104 2c:00 one --dry-run
	ferry attach 104 gpu one --dry-run
	ferry attach 104 one 2b:00 --dry-run
	ferry attach 104 2b:00.0 one --dry-run
	ferry attach 104 gpu gpu --dry-run
}

# As a person wrote it, it stays.
case_attach_what_the_config_has() {
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hostpci3: 2b:00,rombar=0"
	ferry attach 104 2b:00 --dry-run
	ferry attach 104 2b:00 --primary-gpu --dry-run
	ferry attach 104 2b:00.1 --dry-run
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hostpci3: host=2b:00,x-vga=0,pcie=1"
	ferry attach 104 2b:00 --primary-gpu --dry-run
	config 104 "hostpci3: 2b:00.1"
	ferry attach 104 2b:00 --dry-run
	echo "-- the guide's way, function by function"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hostpci0: 2b:00.1;2b:00.2" "hostpci1: 2c:00.0" "hostpci2: 2b:00.3" "hostpci4: 2b:00.0"
	ferry attach 104 2b:00 --primary-gpu --dry-run
	ferry attach 104 2c:00 --dry-run
	config 104 "hostpci3: 2b:00.0,mdev=nvidia-47"
	ferry attach 104 2b:00.0 --dry-run
}

case_attach_says_who_else_has_it() {
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	config 105 "hostpci0: 2b:00.1"
	config 106 "hostpci0: 2c:00"
	config 107 "hostpci0: mapping=gpu"
	mapping gpu "$(map_of 0000:2b:00 15)" "$(map_of 0000:2c:00 16)"
	write etc/pve/nodes/pve1/qemu-server/108.conf "$(printf 'name: \001')"
	config 109 "memory: 1" "[PENDING]" "hostpci0: 2b:00" "[before]" "hostpci0: 2b:00"
	config 110 "hostpci0: 2b:00" "[PENDING]" "delete: hostpci0"
	config 111 "hostpci0: 2b:00" "template: 1"
	ferry attach 104 2b:00 --dry-run
}

case_attach_advises() {
	installed
	config 104 "memory: 2048"
	ferry attach 104 2b:00 --dry-run
	ferry attach 104 2b:00 --machine q35 --bios ovmf --dry-run
	config 104 "ostype: win11" "machine: pc-i440fx-9.2" "bios: ovmf" "efidisk0: local:1"
	ferry attach 104 2b:00 --dry-run
	config 105 "ostype: l26" "machine: q35" "bios: ovmf" "efidisk0: local:1" \
		"ide2: local:iso/Win10_22H2_Korean_x64.iso,media=cdrom"
	ferry attach 105 2b:00 --dry-run | grep ostype
	config 105 "machine: q35" "bios: ovmf" "efidisk0: local:1" "tpmstate0: local:1"
	ferry attach 105 2b:00 --dry-run | grep ostype
	ferry attach 104 2b:00 --machine pc --dry-run
	ferry attach 104 2b:00 --bios seabios --dry-run
}

case_attach_tune() {
	installed
	local quiet=("machine: q35" "bios: ovmf" "efidisk0: local:1" "hostpci0: 2b:00,pcie=1"
		"hookscript: local:snippets/gpu-ferry")
	say() {
		echo "-- $1"
		config 104 "${quiet[@]}" "${@:2}"
		ferry attach 104 2b:00 --tune --dry-run
	}
	say "Linux needs nothing but the agent" "ostype: l26" "cpu: x86-64-v3"
	say "Windows, nothing set" "ostype: win11"
	say "the guide's lines" "ostype: win10" "cpu: host,hidden=1,flags=+pcid" \
		"args: -cpu 'host,kvm=off,hv_vendor_id=proxmox'"
	say "other words stay" "ostype: win10" "cpu: host" "agent: 0" \
		"args: -device x -cpu host,kvm=off,hv-vendor-id=mine -smbios y"
	say "what cpu cannot say stays" "ostype: win10" "args: -cpu host,-hypervisor"
	say "another model stays" "ostype: win10" "args: -cpu EPYC,kvm=off"
	say "hidden, as args says" "ostype: win10" "cpu: host,hidden=0" "args: -cpu host,kvm=off"
	say "a -cpu of a Linux guest" "ostype: l26" "agent: 1" "args: -cpu host,hv_relaxed,+aes"
	say "a name that Proxmox would refuse" "ostype: win10" "args: -cpu host,hv_vendor_id=has-a-dash"
	say "no -cpu of its own" "ostype: win10" "args: -foo-cpu host" "agent: 1"
	say "a type that was chosen stays" "ostype: win11" "cpu: x86-64-v2-AES,flags=+aes"
	say "all there" "ostype: win11" "cpu: host,hidden=1,hv-vendor-id=other" "agent: 1"
	say "seen on purpose" "ostype: win11" "cpu: host,hidden=0" "agent: 1"
}

case_attach_chains_a_hookscript() {
	installed
	snippet other
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hookscript: local:snippets/other"
	ferry attach 104 2b:00 --dry-run
	chmod 644 "$tree/var/lib/vz/snippets/other"
	ferry attach 104 2b:00 --dry-run
	rm "$tree/var/lib/vz/snippets/other"
	ferry attach 104 2b:00 --dry-run
	config 104 "hookscript: gone:snippets/other"
	ferry attach 104 2b:00 --dry-run
}

# ---- attach: the hookscript's file and the storage

case_attach_checks_the_hookscript() {
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hostpci0: 2b:00" "hookscript: local:snippets/gpu-ferry"
	{
		link var/lib/vz/snippets/gpu-ferry /nowhere
		ferry attach 104 2b:00 --dry-run
		write usr/old "an older version"
		link var/lib/vz/snippets/gpu-ferry /usr/old
		ferry attach 104 2b:00 --dry-run
		chmod +x "$tree/usr/old"
		ferry attach 104 2b:00 --dry-run
		rm "$tree/var/lib/vz/snippets/gpu-ferry"
		mkdir "$tree/var/lib/vz/snippets/gpu-ferry"
		ferry attach 104 2b:00 --dry-run
		echo "-- a copy is as good as a link"
		rmdir "$tree/var/lib/vz/snippets/gpu-ferry"
		cp "$work/bin/hookscript" "$tree/var/lib/vz/snippets/gpu-ferry"
		ferry attach 104 2b:00 --dry-run
	} 2>&1 | same_everywhere
}

case_attach_reads_storages_as_proxmox_does() {
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hostpci0: 2b:00" "hookscript: local:snippets/gpu-ferry"
	{
		echo "-- snippets are in another folder"
		write etc/pve/storage.cfg "dir: local" "	path /var/lib/vz" "	content iso" \
			"	content-dirs iso=a,snippets=other/scripts" ""
		ferry attach 104 2b:00 --dry-run
		mkdir -p "$tree/var/lib/vz/other/scripts"
		mv "$tree/var/lib/vz/snippets/gpu-ferry" "$tree/var/lib/vz/other/scripts/"
		ferry attach 104 2b:00 --dry-run
		mv "$tree/var/lib/vz/other/scripts/gpu-ferry" "$tree/var/lib/vz/snippets/"
		echo "-- local is /var/lib/vz, and on every node, whatever is said"
		write etc/pve/storage.cfg "dir: local" "	path /mnt/other" "	content iso" \
			"	nodes pve2" "	disable" ""
		ferry attach 104 2b:00 --dry-run
		echo "-- not listed in the web page"
		write etc/pve/storage.cfg "dir: local" "	path /var/lib/vz" "	content iso,vztmpl" ""
		ferry attach 104 2b:00 --dry-run
		ferry attach 104 2b:00 --enable-snippets --dry-run
		echo "-- a shared storage"
		mkdir -p "$tree/mnt/pve/nas/snippets"
		cp "$work/bin/hookscript" "$tree/mnt/pve/nas/snippets/gpu-ferry"
		write etc/pve/storage.cfg "nfs: nas" "	export /x" "	path /mnt/pve/nas" \
			"	server 10.0.0.1" "	content snippets" "" "lvmthin: thin" "	vgname pve" ""
		config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
			"hostpci0: 2b:00" "hookscript: nas:snippets/gpu-ferry"
		ferry attach 104 2b:00 --dry-run
		config 104 "hookscript: thin:snippets/gpu-ferry"
		ferry attach 104 2b:00 --dry-run
	} 2>&1 | same_everywhere
}

# ---- attach: what it refuses, nothing changed

case_attach_refusals() {
	installed
	local index
	ferry attach
	ferry attach 104
	ferry attach 99 2b:00
	ferry attach 104 2b:00 --dry-run
	write etc/pve/nodes/pve2/qemu-server/111.conf "memory: 1"
	ferry attach 111 2b:00 --dry-run
	config 112 "template: 1"
	ferry attach 112 2b:00 --dry-run
	config 104 "memory: 1"
	ferry attach 104 41:00 --dry-run
	ferry attach 104 2b:00.7 --dry-run
	ferry attach 104 00:01 --dry-run
	ferry attach 104 nonsense --dry-run
	ferry attach 104 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 --dry-run
	ferry attach 104 2b:00 2b:00.1 --dry-run
	ferry attach 104 2b:00
	for index in {0..15}; do
		echo "hostpci$index: 2c:00.1" >>"$tree/etc/pve/nodes/pve1/qemu-server/104.conf"
	done
	ferry attach 104 2b:00 --dry-run
	ferry detach
	ferry detach 99
	ferry detach 104 105
	ferry detach 104 --all
	ferry detach 104
	ferry detach 104 --dry-run
	ferry detach 111 --dry-run
	ferry detach 113 --dry-run
	ferry detach --all --dry-run
	config 104 "hookscript: local:snippets/gpu-ferry"
	ferry detach 104 --dry-run
	show etc/pve/nodes/pve1/qemu-server/104.conf var/lib/gpu-ferry
}

# ---- attach: containers, which get a card's device nodes

container() { # CTID LINE…
	write "etc/pve/nodes/pve1/lxc/$1.conf" "arch: amd64" "${@:2}"
	link etc/pve/lxc nodes/pve1/lxc
}

drm_node() { # ADDRESS MINOR NAME
	local path
	path=$(function_path "$1")/drm/$3
	mkdir -p "$tree/$path"
	link "sys/dev/char/226:$2" "../../${path#sys/}"
	write "dev/dri/$3" node
}

geforce_nodes() { # NUMBER ADDRESS: of NVIDIA's own driver
	local name
	driver nvidia nvidia
	bound "$2" nvidia
	write "proc/driver/nvidia/gpus/$2/information" "Device Minor: 	 $1"
	write proc/devices "Character devices:" "195 nvidia" "508 nvidia-uvm"
	for name in "$1" ctl -uvm -uvm-tools; do write "dev/nvidia$name" node; done
}

case_attach_gives_a_container_the_nodes_of_a_card() {
	installed
	container 105
	drm_node 0000:2b:00.0 1 card1
	drm_node 0000:2b:00.0 129 renderD129
	drm_node 0000:00:02.0 0 card0
	config 104 "hostpci0: 2b:00"
	settings 'make_room = ( { container = 105; unit = "ollama.service"; } );'
	echo "-- DRM's"
	ferry attach 105 2b:00 --dry-run
	ferry attach 105 2b:00 --dry-run --output-format json-pretty
	echo "-- AMD's kfd, and nobody makes room yet"
	settings 'make_room = ( { container = 106; } );'
	driver amdgpu amdgpu
	bound 0000:2b:00.0 amdgpu
	write dev/kfd node
	ferry attach 105 2b:00.0 --dry-run
	settings 'busy = "stop"; containers = "any";'
	echo "-- NVIDIA's, of two cards"
	rm -r "$tree/dev/dri" "$tree/sys/dev/char/226:"*
	geforce_nodes 0 0000:2b:00.0
	geforce_nodes 1 0000:2c:00.0
	ferry attach 105 2b:00 2c:00 --dry-run
	write dev/nvidia-modeset node
	ferry attach 105 2c:00 --dry-run
	show etc/pve/nodes/pve1/lxc/105.conf var/lib/gpu-ferry
}

case_attach_leaves_what_a_container_has() {
	installed
	drm_node 0000:2b:00.0 1 card1
	drm_node 0000:2b:00.0 129 renderD129
	settings 'busy = "stop"; containers = "any";'
	container 105 "dev0: /dev/dri/card10" "dev2: mode=0660,path=/dev/dri/renderD129" \
		"hookscript: local:snippets/gpu-ferry" "[before]" "dev1: /dev/dri/card1"
	ferry attach 105 2b:00 --dry-run
	container 106 "lxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir" \
		"hookscript: local:snippets/gpu-ferry" "[before]" "hookscript: local:snippets/gpu-ferry"
	ferry attach 106 2b:00 --dry-run
	container 107 "lxc.mount.entry = /dev/dri/card1 dev/dri/card1 none bind" "ostype: debian"
	ferry attach 107 2b:00 --dry-run
	snippet other
	container 108 "hookscript: local:snippets/other"
	ferry attach 108 2b:00 --dry-run
	echo "-- what all cards of NVIDIA's have is said once"
	rm -r "$tree/sys/dev/char/226:"*
	geforce_nodes 0 0000:2b:00.0
	geforce_nodes 1 0000:2c:00.0
	container 109 "dev0: /dev/nvidiactl"
	ferry attach 109 2b:00 2c:00 --dry-run
}

case_attach_refuses_for_a_container() {
	installed
	settings 'busy = "stop"; containers = "any";'
	container 105
	drm_node 0000:2b:00.0 1 card1
	ferry attach 105 2b:00 --tune --dry-run
	ferry attach 105 2b:00 --primary-gpu --dry-run
	ferry attach 105 2b:00.1 --dry-run
	ferry attach 105 2c:00 --dry-run
	bound 0000:2c:00.0
	ferry attach 105 2c:00 --dry-run
	on_vfio 0000:2c:00
	ferry attach 105 2c:00 --dry-run
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2c:00 16 taken)"
	ferry attach 105 2c:00 --dry-run
	rm "$tree/dev/dri/card1"
	ferry attach 105 2b:00 --dry-run
	geforce_nodes 0 0000:2b:00.0
	rm "$tree/dev/nvidia-uvm"
	rm -r "$tree/sys/dev/char/226:1"
	ferry attach 105 2b:00 --dry-run
	write proc/devices "Character devices:" "195 nvidia"
	ferry attach 105 2b:00 --dry-run
	container 106 "template: 1"
	ferry attach 106 2b:00 --dry-run
	write etc/pve/nodes/pve2/lxc/107.conf "arch: amd64"
	ferry attach 107 2b:00 --dry-run
	ferry detach 105 --dry-run
	container 105 "hookscript: local:snippets/gpu-ferry"
	ferry detach 105 --dry-run
}

case_attach_and_detach_a_container_with_the_stand_in_pct() {
	cannot_enter && return
	installed
	settings 'busy = "stop"; containers = "any";'
	container 105 "dev1: /dev/net/tun" "lxc.idmap: u 0 100000 65536"
	drm_node 0000:2b:00.0 1 card1
	drm_node 0000:2b:00.0 129 renderD129
	live gpu-ferry attach 105 2b:00
	show $ct_conf $ct_record
	live gpu-ferry attach 105 2b:00
	live gpu-ferry detach 105 --dry-run
	echo "-- a node was changed by hand"
	sed -i 's|^dev2: .*|dev2: /dev/dri/renderD129,gid=993|' "$tree/$ct_conf"
	live gpu-ferry detach 105
	show $ct_conf $ct_record
	live gpu-ferry detach 105
}

case_attach_chains_a_containers_hookscript_with_the_stand_in_pct() {
	cannot_enter && return
	installed
	settings 'busy = "stop"; containers = "any";'
	snippet other
	container 105 "hookscript: local:snippets/other"
	drm_node 0000:2b:00.0 129 renderD129
	live gpu-ferry attach 105 2b:00
	live /var/lib/vz/snippets/gpu-ferry-chain 105 pre-start
	live /var/lib/vz/snippets/gpu-ferry-chain 105 post-stop
	mv "$tree/$ct_record" "$tree/away"
	live /var/lib/vz/snippets/gpu-ferry-chain 105 pre-start
	mv "$tree/away" "$tree/$ct_record"
	live gpu-ferry detach 105
	show $ct_conf
}

# What is taken from it waits; a second attach takes that back.
case_attach_a_running_container_with_the_stand_in_pct() {
	cannot_enter && return
	installed
	settings 'busy = "stop"; containers = "any";'
	container 105
	write run/lxc/105 running
	drm_node 0000:2b:00.0 129 renderD129
	live gpu-ferry attach 105 2b:00
	show $ct_conf
	live gpu-ferry detach 105
	show $ct_conf $ct_record
	live gpu-ferry attach 105 2b:00
	show $ct_conf
}

case_attach_undoes_what_a_failing_stand_in_pct_did() {
	cannot_enter && return
	installed
	settings 'busy = "stop"; containers = "any";'
	drm_node 0000:2b:00.0 129 renderD129
	local fault
	for fault in no-quorum half silent edited; do
		container 105
		echo "-- $fault"
		write etc/qm-fault $fault
		live gpu-ferry attach 105 2b:00
		show $ct_conf $ct_record
	done
	rm -f "$tree/etc/qm-fault" "$tree/usr/sbin/pct"
	live gpu-ferry attach 105 2b:00
}

case_undo_detaches_containers_too_with_the_stand_in_pct() {
	cannot_enter && return
	installed
	settings 'busy = "stop"; containers = "any";'
	drm_node 0000:2b:00.0 129 renderD129
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	container 105
	container 106
	local vmid
	for vmid in 104 105 106; do
		live gpu-ferry attach "$vmid" 2b:00 >/dev/null
	done
	rm "$tree/etc/pve/lxc/106.conf"
	live gpu-ferry undo
	live gpu-ferry detach --all
	show $vm_conf $ct_conf
	ls "$tree/var/lib/gpu-ferry/attachments"
}

# ---- attach and detach for real: the tree is the root itself, and a stand-in plays qm

record=var/lib/gpu-ferry/attachments/vm-104.json
vm_conf=etc/pve/nodes/pve1/qemu-server/104.conf
ct_record=var/lib/gpu-ferry/attachments/vm-105.json
ct_conf=etc/pve/nodes/pve1/lxc/105.conf

case_attach_and_detach_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "bios: ovmf" "efidisk0: local:1" "machine: q35" "ostype: l26"
	live gpu-ferry attach 104 2b:00
	show $vm_conf $record
	stat -c '%a %n' "$tree"/var/lib/gpu-ferry "$tree"/var/lib/gpu-ferry/* "$tree/$record" | sed "s|$tree|ROOT|"
	live gpu-ferry attach 104 2b:00
	live gpu-ferry detach 104 --dry-run
	live gpu-ferry detach 104
	show $vm_conf $record
	live gpu-ferry detach 104
}

# Another device, tuning, machine and bios: all that is taken back at once, in whatever order it came.
case_attach_twice_and_detach_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "args: -cpu host,kvm=off" "ostype: win10"
	live gpu-ferry attach 104 2b:00
	live gpu-ferry attach 104 2c:00 --tune --machine q35 --bios ovmf
	show $vm_conf
	live gpu-ferry detach 104
	show $vm_conf $record
}

# Somebody has set it by hand, as gpu-ferry(8) says: it is not detach's to take off.
case_detach_keeps_a_hookscript_of_before_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hookscript: local:snippets/gpu-ferry"
	live gpu-ferry attach 104 2b:00
	live gpu-ferry detach 104
	show $vm_conf $record
}

# The same entry, changed twice by us: what stood there first counts.
case_attach_changes_its_own_entry_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	live gpu-ferry attach 104 2b:00
	live gpu-ferry attach 104 2b:00 --primary-gpu
	live gpu-ferry detach 104
	show $vm_conf $record
}

# There is room for the record of what is asked for, and none for what qm makes of it.
case_attach_on_a_full_file_system_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	local full='mount -t tmpfs -o mode=0700,nr_inodes=$0 tmpfs /var/lib/gpu-ferry
		gpu-ferry attach 104 2b:00
		code=$?
		ls /var/lib/gpu-ferry/attachments 2>/dev/null
		exit $code'
	mkdir -p "$tree/var/lib/gpu-ferry"
	echo "-- none for either"
	live sh -c "$full" 2 | tail -n +6
	show $vm_conf
	echo "-- one is enough when qm does what it was asked"
	live sh -c "$full" 3 | tail -n +6
	echo "-- but not when it makes something else of it"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	write etc/qm-fault own-form
	live sh -c "$full" 3 | tail -n +6
	show $vm_conf
}

case_detach_leaves_what_others_changed_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: win11" "memory: 1024"
	live gpu-ferry attach 104 2b:00 2c:00 --tune
	sed -i 's/^cpu: .*/cpu: host/; s/^memory: .*/memory: 4096/; /^hostpci1/d' "$tree/$vm_conf"
	printf '\n[before]\nhookscript: local:snippets/gpu-ferry\n\n[older]\nmemory: 512\n' >>"$tree/$vm_conf"
	live gpu-ferry detach 104
	show $vm_conf $record
}

case_detach_all_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	config 105 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	config 106 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	config 107 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	local vmid
	for vmid in 104 105 106 107; do
		live gpu-ferry attach "$vmid" 2b:00 >/dev/null
	done
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 taken)"
	rm "$tree/etc/pve/nodes/pve1/qemu-server/106.conf"
	mv "$tree/etc/pve/nodes/pve1/qemu-server/107.conf" "$tree/etc/pve/nodes/pve2/qemu-server/"
	live gpu-ferry detach --all
	show $vm_conf etc/pve/nodes/pve1/qemu-server/105.conf
	ls "$tree/var/lib/gpu-ferry/attachments"
	rm "$tree/run/gpu-ferry/loans/vm-104.json"
	mv "$tree/etc/pve/nodes/pve2/qemu-server/107.conf" "$tree/etc/pve/nodes/pve1/qemu-server/"
	live gpu-ferry detach --all --output-format json
	ls "$tree/var/lib/gpu-ferry/attachments"
	live gpu-ferry detach --all
	live gpu-ferry detach --all --output-format json
}

# /etc/pve is an empty folder then, which is no sign that the VMs were destroyed.
case_detach_while_pmxcfs_does_not_run_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	live gpu-ferry attach 104 2b:00 >/dev/null
	mv "$tree/etc/pve" "$tree/etc/pve.away"
	mkdir "$tree/etc/pve"
	live gpu-ferry detach 104
	live gpu-ferry detach --all
	live gpu-ferry undo --apply
	rmdir "$tree/etc/pve"
	mv "$tree/etc/pve.away" "$tree/etc/pve"
	live gpu-ferry detach 104
}

case_undo_detaches_too_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	live gpu-ferry attach 104 2b:00 >/dev/null
	live gpu-ferry undo
	show $vm_conf
	write etc/qm-fault no-quorum
	live gpu-ferry undo --apply
	rm "$tree/etc/qm-fault"
	live gpu-ferry undo --apply
	show $vm_conf $record
	live gpu-ferry undo --apply
	[ ! -e "$tree/var/lib/gpu-ferry" ] && echo "nothing is left in /var/lib/gpu-ferry"
}

# What it cannot get at once waits in [PENDING].
case_attach_a_running_vm_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: win11"
	running 104 4242
	live gpu-ferry attach 104 2b:00 --tune
	show $vm_conf
	live gpu-ferry attach 104 2b:00 --tune
	live gpu-ferry attach 104 2c:00 --output-format json
	live gpu-ferry detach 104
	show $vm_conf $record
}

# qm dies, does nothing, does half: what was there is there again, and no record is left.
case_attach_undoes_what_a_failing_stand_in_qm_did() {
	cannot_enter && return
	installed
	local fault
	for fault in no-quorum half silent half-twice; do
		config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
		echo "-- $fault"
		write etc/qm-fault $fault
		live gpu-ferry attach 104 2b:00
		show $vm_conf $record
	done
	rm -f "$tree/etc/qm-fault"
	live gpu-ferry detach 104
	show $vm_conf $record
	echo "-- locked by a backup"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" "lock: backup"
	live gpu-ferry attach 104 2b:00
	echo "-- no qm"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	rm "$tree/usr/sbin/qm"
	live gpu-ferry attach 104 2b:00
	show $record
}

# A second attach that fails leaves the first one's record.
case_attach_keeps_the_record_of_before_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	live gpu-ferry attach 104 2b:00
	write etc/qm-fault no-quorum
	live gpu-ferry attach 104 2c:00
	live gpu-ferry detach 104
	show $record
	rm "$tree/etc/qm-fault"
	live gpu-ferry detach 104
	show $vm_conf $record
}

# What counts is what qm made of it.
case_attach_reads_back_what_the_stand_in_qm_wrote() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	write etc/qm-fault own-form
	live gpu-ferry attach 104 2b:00
	show $vm_conf
	live gpu-ferry detach 104
	show $vm_conf $record
}

# In the web page, between our reading and qm's writing: another device comes to the same entry.
case_attach_does_not_overwrite_a_change_meanwhile_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	write etc/qm-fault edited
	live gpu-ferry attach 104 2b:00
	show $vm_conf $record
	live gpu-ferry attach 104 2b:00
	sed -i '/^hostpci0/d' "$tree/$vm_conf"
	write etc/qm-fault edited
	live gpu-ferry detach 104
	live gpu-ferry detach 104
	show $vm_conf $record
}

# What it says last is how to call it.
case_attach_tells_what_the_stand_in_qm_refused() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	mkdir "$tree/usr/sbin/real"
	mv "$tree/usr/sbin/qm" "$tree/usr/sbin/real/"
	printf '#!/bin/sh\nexec /usr/sbin/real/qm "$@" --of_tomorrow 1\n' >"$tree/usr/sbin/qm"
	chmod 755 "$tree/usr/sbin/qm"
	live gpu-ferry attach 104 2b:00
	show $record
}

case_two_attaches_at_once_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	write etc/qm-fault slow
	./enter "$tree" # so that the two need not make its folders, both at once
	./enter "$tree" /usr/sbin/gpu-ferry attach 104 2b:00 >/dev/null &
	./enter "$tree" /usr/sbin/gpu-ferry attach 104 2c:00 >/dev/null
	echo "[$?]"
	wait $!
	echo "[$?]"
	echo "each device once, each with an entry of its own:"
	sed -n 's/^hostpci[01]: //p' "$tree/$vm_conf" | sort
	live gpu-ferry detach 104 >/dev/null
	show $vm_conf $record
}

case_attach_enables_snippets_with_the_stand_in_pvesm() {
	cannot_enter && return
	installed
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	config 105 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	write etc/pve/storage.cfg "dir: local" "	path /var/lib/vz" "	content iso,vztmpl,backup" ""
	live gpu-ferry attach 104 2b:00 --enable-snippets
	live gpu-ferry attach 105 2b:00 --enable-snippets
	show etc/pve/storage.cfg
	echo "-- as long as a VM is attached it stays"
	live gpu-ferry detach 104
	show etc/pve/storage.cfg
	live gpu-ferry detach 105
	show etc/pve/storage.cfg
	echo "-- what others changed since is left alone"
	live gpu-ferry attach 104 2b:00 --enable-snippets >/dev/null
	sed -i 's/content .*/content snippets/' "$tree/etc/pve/storage.cfg"
	live gpu-ferry detach 104
	show etc/pve/storage.cfg
	ls "$tree/var/lib/gpu-ferry/attachments"
}

# A pvesm that fails, before or after it did its work, or says that it did.
broken_pvesm() { # LINE…
	{
		echo '#!/bin/sh'
		printf '%s\n' "$@"
	} >"$tree/usr/sbin/pvesm"
	chmod 755 "$tree/usr/sbin/pvesm"
}

case_snippets_are_taken_back_in_the_end_with_the_stand_in_pvesm() {
	cannot_enter && return
	installed
	local works='/usr/sbin/real/pvesm "$@"'
	mkdir "$tree/usr/sbin/real"
	mv "$tree/usr/sbin/pvesm" "$tree/usr/sbin/real/"
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26"
	write etc/pve/storage.cfg "dir: local" "	path /var/lib/vz" "	content iso" ""
	echo "-- nothing done at attach: nothing to be taken back"
	broken_pvesm 'echo "cluster not ready" >&2' 'exit 1'
	live gpu-ferry attach 104 2b:00 --enable-snippets
	broken_pvesm 'exit 0'
	live gpu-ferry attach 104 2b:00 --enable-snippets
	ls "$tree/var/lib/gpu-ferry/attachments"
	echo "-- done all the same"
	broken_pvesm "$works" 'exit 1'
	live gpu-ferry attach 104 2b:00 --enable-snippets
	show etc/pve/storage.cfg
	ls "$tree/var/lib/gpu-ferry/attachments"
	echo "-- not done at detach: another detach does it"
	broken_pvesm 'exit 1'
	live gpu-ferry detach 104
	broken_pvesm "$works"
	live gpu-ferry detach 104
	show etc/pve/storage.cfg
	ls "$tree/var/lib/gpu-ferry/attachments"
	live gpu-ferry detach 104
}

# ---- the VM's own hookscript

case_chained_hookscript_runs_in_every_phase_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	snippet other
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hookscript: local:snippets/other"
	live gpu-ferry attach 104 2b:00
	# no devices here, so that ours has nothing to do
	sed -i '/^hostpci/d' "$tree/$vm_conf"
	local phase
	for phase in pre-start post-start pre-stop post-stop; do
		live env PVE_MIGRATED_FROM= LC_ALL=C /var/lib/vz/snippets/gpu-ferry-chain 104 $phase
	done
	echo "-- by our plain name nothing is chained"
	live /var/lib/vz/snippets/gpu-ferry 104 pre-start
	echo "-- its failure is handed on"
	snippet other 3
	for phase in pre-start post-start pre-stop post-stop; do
		live /var/lib/vz/snippets/gpu-ferry-chain 104 $phase
	done
	echo "-- without a first line of #! it is the shell's, as it is to Proxmox"
	sed -i 1d "$tree/var/lib/vz/snippets/other"
	live /var/lib/vz/snippets/gpu-ferry-chain 104 post-start
	echo "-- and so is that it is gone"
	rm "$tree/var/lib/vz/snippets/other"
	live /var/lib/vz/snippets/gpu-ferry-chain 104 pre-start
	live /var/lib/vz/snippets/gpu-ferry-chain 104 post-stop
	echo "-- detach does not put back what Proxmox would refuse"
	live gpu-ferry detach 104
	show $vm_conf
}

# As on a storage that all nodes share: a copy of the file, not a link. It must find the program that
# is installed, and never take itself, or another copy beside it, for that.
case_copied_hookscript_runs_the_installed_program() {
	cannot_enter && return
	installed
	config 104 "hostpci0: 2b:00"
	local folder name
	for folder in usr usr/local; do
		printf '#!/bin/sh\necho "the installed program: $*"\n' >"$tree/$folder/sbin/gpu-ferry"
	done
	mkdir -p "$tree/mnt/pve/shared/snippets" "$tree/usr/local/bin"
	for name in gpu-ferry gpu-ferry-chain hookscript; do
		cp "$work/bin/hookscript" "$tree/mnt/pve/shared/snippets/$name"
	done
	link mnt/pve/shared/snippets/linked /mnt/pve/shared/snippets/gpu-ferry
	# where a program reads which file it is
	export PROC=1
	for name in gpu-ferry gpu-ferry-chain hookscript linked; do
		live /mnt/pve/shared/snippets/$name 104 pre-start
	done
	echo "-- without the program"
	rm "$tree"/usr/sbin/gpu-ferry "$tree"/usr/local/sbin/gpu-ferry
	for name in gpu-ferry gpu-ferry-chain linked; do
		live /mnt/pve/shared/snippets/$name 104 pre-start | sed 's|/usr/local/sbin|/usr/sbin|'
	done
	unset PROC
}

case_chained_hookscript_is_put_back_with_the_stand_in_qm() {
	cannot_enter && return
	installed
	snippet other
	config 104 "machine: q35" "bios: ovmf" "efidisk0: local:1" "ostype: l26" \
		"hookscript: local:snippets/other"
	live gpu-ferry attach 104 2b:00
	live gpu-ferry detach 104
	show $vm_conf $record
}

# After a migration: the name in the config came along, the record did not.
case_chained_hookscript_without_a_record() {
	cannot_enter && return
	installed
	config 104 "hookscript: local:snippets/gpu-ferry-chain"
	local phase
	for phase in pre-start post-start pre-stop post-stop; do
		live /var/lib/vz/snippets/gpu-ferry-chain 104 $phase
	done
	write $record "{"
	live /var/lib/vz/snippets/gpu-ferry-chain 104 pre-start
	live /var/lib/vz/snippets/gpu-ferry-chain 104 post-stop
}

# ---- identity

attachment() { # FUNCTION_JSON…
	local IFS=,
	write $record "{\"schema\":1,\"vmid\":104,\"since\":\"2026-01-02T03:04:05Z\",\"keys\":[]," \
		"\"functions\":[$*]}"
	chmod 600 "$tree/$record"
}

identity() { # ADDRESS IDS SUBSYSTEM
	printf '{"address":"%s","vendor_id":"%s","device_id":"%s",' "$1" "${2%:*}" "${2#*:}"
	printf '"subsystem_vendor_id":"%s","subsystem_device_id":"%s"}' "${3%:*}" "${3#*:}"
}

case_plan_identity() {
	config 104 "hostpci0: 2b:00"
	attachment "$(identity 0000:2b:00.0 10de:1e07 1458:37a9)" "$(identity 0000:2c:00.0 1234:5678 0001:0001)"
	ferry plan 104 | head -n 3
	echo "-- device"
	attachment "$(identity 0000:2b:00.0 10de:2704 1458:37a9)"
	ferry plan 104 | tail -n 4
	echo "-- vendor, of another function"
	attachment "$(identity 0000:2b:00.2 1002:1ad6 1458:37a9)"
	ferry plan 104 | tail -n 4
	echo "-- subsystem"
	attachment "$(identity 0000:2b:00.0 10de:1e07 1043:37a9)"
	ferry plan 104 --output-format json-pretty | tail -n 8
	attachment "$(identity 0000:2b:00.0 10de:1e07 1458:0001)"
	ferry plan 104 | tail -n 4
	echo "-- only root's word counts"
	chmod 666 "$tree/$record"
	ferry plan 104 | tail -n 4
}

case_container_starts_when_its_card_is_home() {
	local lent phase
	cannot_enter && return
	installed
	lent=$(loan_function 0000:2b:00.0 15 nouveau taken |
		sed 's/}$/,"nodes":"card0=226:0 renderD128=226:128"}/')
	loan vm-104 "$vm_104" lent "$lent" \
		'{"operation":"override","subject":"0000:2b:00.0","argument":"vfio-pci","original":"","state":"done"}'
	running 104 4242
	write proc/4242/status "Name:	kvm" "Uid:	0	0	0	0"
	container 105 "hookscript: local:snippets/gpu-ferry" "dev0: /dev/dri/renderD128,gid=104"
	live /var/lib/vz/snippets/gpu-ferry 105 pre-start
	for phase in post-start pre-stop post-stop; do
		live /var/lib/vz/snippets/gpu-ferry 105 $phase
	done
	container 106 "hookscript: local:snippets/gpu-ferry" "dev0: /dev/dri/card1" "lxc.cgroup2.devices.allow: c 226:1 rwm" "[before]" "dev1: /dev/dri/card0"
	live /var/lib/vz/snippets/gpu-ferry 106 pre-start
	container 107 "hookscript: local:snippets/gpu-ferry" "lxc.cgroup2.devices.allow: c 226:128 rwm"
	settings 'container_start = "wait"; busy_wait_seconds = 1;'
	live /var/lib/vz/snippets/gpu-ferry 107 pre-start
	container 108 "hookscript: local:snippets/gpu-ferry" "lxc.mount.entry: /dev/dri dev/dri none bind,optional,create=dir"
	settings 'vms = ( { vmid = 108; container_start = "later"; } );'
	live /var/lib/vz/snippets/gpu-ferry 108 pre-start
	live /var/lib/vz/snippets/gpu-ferry 108 pre-start
	ferry status --output-format json-pretty | grep -A 5 stopped
	ferry status
	settings 'container_start = "never";'
	live /var/lib/vz/snippets/gpu-ferry 105 pre-start
}

# What is at home is not lent: of a return that failed in part, or another card of NVIDIA's, whose nodes
# nobody has made yet. And no setting is asked for.
case_container_starts_when_it_needs_no_card_that_is_lent() {
	local audio gpu nvidia start=(live /var/lib/vz/snippets/gpu-ferry)
	cannot_enter && return
	installed
	settings 'no_such_setting = 1;'
	gpu=$(loan_function 0000:2b:00.0 15 nouveau taken | sed 's/}$/,"nodes":"card0=226:0 renderD128=226:128"}/')
	audio=$(loan_function 0000:2b:00.1 15 snd_hda_intel taken)
	container 105 "hookscript: local:snippets/gpu-ferry" "dev0: /dev/dri/renderD128,gid=104"
	loan vm-104 "$vm_104" owed "$gpu,$audio" "$(bind_steps "$audio")"
	"${start[@]}" 105 pre-start
	loan vm-104 "$vm_104" owed "$gpu,$audio"
	"${start[@]}" 105 pre-start
	rm "$tree/etc/gpu-ferry/gpu-ferry.conf"
	"${start[@]}" 105 pre-start
	: "by udev's links, of the lent card and of another one"
	container 106 "hookscript: local:snippets/gpu-ferry" "dev0: /dev/dri/by-path/pci-0000:2b:00.0-render"
	"${start[@]}" 106 pre-start
	container 106 "hookscript: local:snippets/gpu-ferry" "dev0: /dev/dri/by-path/pci-0000:2c:00.0-render"
	"${start[@]}" 106 pre-start
	: "/dev/nvidia1 is lent"
	nvidia=$(loan_function 0000:2b:00.0 15 nvidia taken | sed 's/}$/,"nodes":"nvidia1=195:1"}/')
	loan vm-104 "$vm_104" lent "$nvidia"
	running 104 4242
	write proc/4242/status "Name:	kvm" "Uid:	0	0	0	0"
	container 107 "hookscript: local:snippets/gpu-ferry" "dev0: /dev/nvidia0" "dev1: /dev/nvidiactl"
	"${start[@]}" 107 pre-start
	write proc/driver/nvidia/gpus/0000:2c:00.0/information "Device Minor: 	 0"
	"${start[@]}" 107 pre-start
}

# A container that does not answer is asked again and again: nothing of it may be left each time.
case_container_that_does_not_answer_leaves_no_process() {
	cannot_enter && return
	installed
	write usr/sbin/pct '#!/bin/sh' '[ "$1" != status ] || exec echo status: running' 'sleep 86399'
	loan vm-105 "$vm_105" owed "" \
		'{"operation":"stop-container-unit","subject":"105/ollama.service","argument":"1","original":"","state":"done"}'
	live gpu-ferry reconcile | grep -v 'still running'
	grep -lszx '8639[9]' /proc/[0-9]*/cmdline
}

# pmxcfs is there, and never answers.
stuck() { # PROGRAM ARGUMENT…
	local mount="mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none /etc/pve"
	live sh -c "$mount && exec timeout -s KILL 18 \"\$@\"" - "$@" 9<>/dev/fuse | sed '1 s/.* - /# /'
}

# What goes home needs nothing of /etc/pve, and neither does the message about what does not.
case_return_that_fails_while_pmxcfs_does_not_answer() {
	cannot_enter && return
	installed
	stuck true 2>/dev/null | grep -qx '\[0\]' || { skip "cannot mount FUSE" && return; }
	loan vm-104 "$vm_104" lent "$(card_functions 0000:2b:00 15 taken)"
	on_vfio 0000:2b:00
	stuck /var/lib/vz/snippets/gpu-ferry 104 post-stop
}

# It comes home in a moment, but the container may not wait for ever: by itself (the lock), or by the watch.
case_container_starts_when_its_card_is_on_its_way_home() {
	local lent script=/var/lib/vz/snippets/gpu-ferry
	cannot_enter && return
	installed
	export PROC=1
	lent=$(loan_function 0000:2b:00.0 15 nouveau taken | sed 's/}$/,"nodes":"card0=226:0"}/')
	container 105 "hookscript: local:snippets/gpu-ferry" "dev0: /dev/dri/card0"
	settings 'busy_wait_seconds = 1;'
	: "VM 104 is gone, and nobody has returned its card yet"
	loan vm-104 "$vm_104" lent "$lent" ''
	live $script 105 pre-start
	settings 'busy_wait_seconds = 9;'
	(sleep 2 && rm "$tree/run/gpu-ferry/loans/vm-104.json") &
	live $script 105 pre-start
	: "it is being returned, for longer than the container waits"
	settings 'busy_wait_seconds = 1; container_start = "later";'
	loan vm-104 "$vm_104" returning "$lent" ''
	mkdir -p "$tree/run/gpu-ferry/locks"
	live sh -c "flock /run/gpu-ferry/locks/vm-104 sleep 4 & sleep 0.5; exec $script 105 pre-start"
	ferry status --output-format json-pretty | grep -A 5 stopped
	wait
}

# pct and qm, for one guest each: /GUEST says whether it runs, /answer what a start comes to.
guests_by_stand_ins() {
	cat >"$tree/usr/sbin/pct" <<-'SCRIPT'
		#!/bin/sh
		[ "$1" = status ] || echo "${0##*/} $*" >>/told
		case $1 in
		status) echo "status: $(cat "/$2")" ;;
		start) . /answer ;;
		esac
	SCRIPT
	cp "$tree/usr/sbin/pct" "$tree/usr/sbin/qm"
	write 105 stopped
	write 106 stopped
	# shellcheck disable=SC2016 # for the stand-in
	write answer 'echo running >"/$2"'
}

owed_start() { # OPERATION GUEST STATE [ORIGINAL]
	rm -f "$tree/told"
	loan vm-104 "$vm_104" owed "" \
		"{\"operation\":\"$1\",\"subject\":\"$2\",\"argument\":\"5\",\"original\":\"${4-}\",\"state\":\"$3\"}"
}

reconcile_guests() { # [PROGRAM ARGUMENT…]: in front of it
	live "$@" gpu-ferry reconcile | sed 's/ ([0-9]* ms)$//'
	[ ! -e "$tree/told" ] || cat "$tree/told"
	[ ! -e "$tree/run/gpu-ferry/loans/vm-104.json" ] || echo "still owed"
}

# Once, and not when somebody else has started it, nor while a shutdown of ours still goes on in it.
case_guests_that_made_room_are_started_once() {
	local now
	cannot_enter && return
	installed
	export PROC=1
	now=$(cut -d ' ' -f 1 /proc/uptime | tr -d .)0
	guests_by_stand_ins
	echo "-- it has stopped"
	owed_start stop-container 105 "done" "$now"
	reconcile_guests
	echo "-- a person was faster"
	write 105 stopped
	# shellcheck disable=SC2016 # for the stand-in
	write answer 'echo running >"/$2"; echo "CT $2 already running"; exit 255'
	owed_start stop-container 105 "done" "$now"
	reconcile_guests
	echo "-- it does not start; then a person starts it"
	write 105 stopped
	write answer 'echo "no memory"; exit 255'
	owed_start stop-container 105 "done" "$now"
	reconcile_guests
	write 105 running
	reconcile_guests
	echo "-- it is still shutting down; then it has stopped"
	# shellcheck disable=SC2016 # for the stand-in
	write answer 'echo running >"/$2"'
	owed_start stop-container 105 started "$now"
	reconcile_guests
	write 105 stopped
	reconcile_guests
	echo "-- a VM that itself owes something"
	loan vm-106 '{"kind":"vm","vmid":106}' owed "" ""
	owed_start stop-vm 106 "done" "$now"
	reconcile_guests
	echo "-- VM 106 starts, and wants the card"
	owed_start stop-container 105 "done" "$now 0000:2b:00.0"
	write 105 stopped
	write run/gpu-ferry/locks/start-15
	reconcile_guests flock /run/gpu-ferry/locks/start-15
	echo "-- it has it"
	write var/lock/qemu-server/lock-106.conf
	loan vm-106 '{"kind":"vm","vmid":106}' lent "$(card_functions 0000:2b:00 15 taken)" ""
	reconcile_guests flock /var/lock/qemu-server/lock-106.conf
	ferry status 106 --output-format json-pretty | grep -A 5 stopped
	echo "-- it has made room itself before"
	owed_start stop-vm 106 "done" "$now 0000:2b:00.0"
	reconcile_guests flock /var/lock/qemu-server/lock-106.conf
	echo "-- it takes the card while the container starts, which fails then"
	loan vm-106 '{"kind":"vm","vmid":106}' lent "$(card_functions 0000:2b:00 15 taken)" ""
	mv "$tree/run/gpu-ferry/loans/vm-106.json" "$tree/taken"
	write answer 'mv /taken /run/gpu-ferry/loans/vm-106.json; echo "no card"; exit 255'
	owed_start stop-container 105 "done" "$now 0000:2b:00.0"
	reconcile_guests flock /var/lock/qemu-server/lock-106.conf
}

# Ours has a card to take at pre-start, and a loan to give back at post-stop: who is first?
case_chained_hookscript_goes_first_at_start_and_last_at_stop() {
	cannot_enter && return
	installed
	config 104 "hookscript: local:snippets/gpu-ferry-chain" "hostpci0: 41:00"
	write $record '{"schema":1,"vmid":104,"since":"2026-01-02T03:04:05Z","functions":[],"keys":[' \
		'{"key":"hookscript","before":"local:snippets/other","after":"local:snippets/gpu-ferry-chain"}]}'
	snippet other
	cat >"$tree/var/lib/vz/snippets/other" <<-'SCRIPT'
		#!/bin/sh
		[ -e /run/gpu-ferry/loans/vm-104.json ] && echo "$2: a loan" || echo "$2: no loan"
		[ "$2" != pre-start ] || exit 3
	SCRIPT
	loan vm-104 "$vm_104" lent ""
	live /var/lib/vz/snippets/gpu-ferry-chain 104 pre-start
	live /var/lib/vz/snippets/gpu-ferry-chain 104 pre-stop
	live /var/lib/vz/snippets/gpu-ferry-chain 104 post-stop
}
