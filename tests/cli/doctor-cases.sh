# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The cases of doctor, over the machines of machines.sh. Sourced by run.

# Every check.
doctor() { # ARGUMENT…
	letter -v "$@"
}

# What doctor shows by itself; says so where a WARN or a FAIL comes without what mends it.
letter() { # ARGUMENT…
	ferry doctor "$@"
	awk '/^(WARN|FAIL): / { bad = bad ? bad : $0; next }
		bad { if ($0 !~ /^      fix: ./) print "NO FIX: " bad; bad = "" }
		END { if (bad) print "NO FIX: " bad }' "$work/stdout"
}

linux_vm() { # VMID LINE…: a VM that has everything as it should be
	local vmid=$1
	shift
	config "$vmid" "agent: 1" "bios: ovmf" "cpu: host" "efidisk0: local-lvm:vm-$vmid-disk-1,size=4M" \
		"hookscript: local:snippets/gpu-ferry" "machine: q35" "ostype: l26" "scsi0: local-lvm:vm-$vmid-disk-0" "$@"
}

case_doctor_amd_workstation() {
	amd_workstation
	linux_vm 104 "hostpci0: 0000:2b:00,pcie=1,romfile=gpu.rom"
	doctor
	doctor 104
}

case_doctor_intel_off_in_firmware() {
	intel_desktop
	iommu_is_off
	rm "$tree/sys/firmware/acpi/tables/DMAR"
	processor GenuineIntel
	doctor
}

# The guide's first line: SVM and IOMMU, as AMD's firmware calls them.
case_doctor_amd_off_in_firmware() {
	amd_workstation
	iommu_is_off
	rm "$tree/sys/firmware/acpi/tables/IVRS"
	processor AuthenticAMD
	checks 'firmware'
	echo "-- on in the firmware, off by hand"
	firmware IVRS
	processor AuthenticAMD svm
	grub amd_iommu=off
	running_command_line amd_iommu=off
	checks 'IOMMU is off'
	echo "-- and by a BIOS"
	rm -r "$tree/sys/firmware/efi"
	rm "$tree/sys/firmware/acpi/tables/IVRS"
	checks 'firmware'
}

case_doctor_intel_not_on_the_command_line() {
	intel_desktop old
	iommu_is_off
	doctor
}

case_doctor_intel_reboot_pending() {
	intel_desktop old
	iommu_is_off
	grub intel_iommu=on iommu=pt
	doctor
}

case_doctor_intel_set() {
	intel_desktop old
	grub intel_iommu=on,sm_on
	running_command_line intel_iommu=on,sm_on
	doctor
}

case_doctor_intel_no_longer_set() {
	intel_desktop old
	running_command_line intel_iommu=on
	doctor
}

# The guide's argument on a kernel that does without.
case_doctor_intel_not_needed() {
	intel_desktop
	grub intel_iommu=on
	running_command_line intel_iommu=on
	doctor
}

case_doctor_switched_off() {
	intel_desktop
	iommu_is_off
	grub intel_iommu=off
	running_command_line intel_iommu=off
	doctor
	running_command_line
	group 0000:01:00.0 15
	doctor
}

case_doctor_by_the_guide() {
	amd_workstation
	by_the_guide
	doctor 104
}

case_doctor_twins() {
	intel_desktop
	geforce 0000:02:00 16
	modprobe_file vfio.conf "# the card for the VM" "options vfio-pci ids=10de:2704 disable_vga=1"
	on_vfio_since_boot 0000:01:00
	on_vfio_since_boot 0000:02:00
	running_command_line vfio-pci.ids=10de:22bb
	doctor
}

# ZFS, systemd-boot, its boot partitions kept by proxmox-boot-tool; no GRUB.
case_doctor_systemd_boot() {
	intel_desktop old
	rm "$tree/etc/default/grub"
	write etc/kernel/proxmox-boot-uuids AAAA-BBBB
	write etc/kernel/cmdline "root=ZFS=rpool/ROOT/pve-1 boot=zfs intel_iommu=on"
	mkdir -p "$tree/sys/firmware/efi/efivars"
	{
		printf '\x06\0\0\0'
		printf 's\0y\0s\0t\0e\0m\0d\0-\0b\0o\0o\0t\0 \0002\0005\0002\0\0\0'
	} >"$tree/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
	iommu_is_off
	doctor
}

case_doctor_cluster() {
	amd_workstation
	mkdir -p "$tree/etc/pve/nodes/pve2/qemu-server"
	linux_vm 104 "hostpci0: 0000:2b:00,pcie=1,romfile=gpu.rom"
	mapping gpu "id=10de:2704,iommugroup=15,node=pve1,path=0000:2b:00,subsystem-id=1458:40bc"
	linux_vm 105 "hostpci0: mapping=gpu,pcie=1,romfile=gpu.rom"
	linux_vm 106 "hostpci0: mapping=other,pcie=1"
	mapping old "id=10de:2204,iommugroup=15,node=pve1,path=0000:2b:00,subsystem-id=1458:40bc"
	linux_vm 107 "hostpci0: mapping=old,pcie=1"
	doctor 104
	ferry doctor 105 --output-format json-pretty
	doctor 106
	doctor 107
}

case_doctor_nothing_found() {
	rm -rf "${tree:?}"/*
	doctor
	ferry doctor --output-format json
	ferry doctor 104 2>&1 | sed 's|nodes/[^/]*/|nodes/NODE/|' # the kernel's word for the node
}

case_doctor_modules_in_the_way() {
	amd_workstation
	modprobe_file vfio-off.conf "blacklist vfio-pci" "install vfio_iommu_type1 /bin/false"
	modprobe_file no-usb.conf "blacklist xhci_hcd" "blacklist snd-hda-intel" "install nouveau \\" "/bin/true"
	touch -d 2026-01-03 "$tree/etc/modprobe.d/no-usb.conf"
	write usr/lib/modprobe.d/nvidia.conf "blacklist nouveau"
	write etc/modules "# /etc/modules" vfio vfio_iommu_type1 vfio_pci vfio_virqfd
	doctor
	running_command_line modprobe.blacklist=nouveau,pcspkr
	rm "$tree/etc/modprobe.d/no-usb.conf" "$tree/usr/lib/modprobe.d/nvidia.conf"
	rm "$tree/lib/modules/6.8.12-4-pve/modules.dep"
	doctor
	: >"$tree/lib/modules/6.8.12-4-pve/modules.dep"
	doctor
}

# The first command of each fix that edits a file, as doctor prints it, on the files of the tree.
mend() {
	ferry doctor | sed -n "s|^ *fix: \\(sed -i .*/d' \\)/\\([^ ]*\\).*|\\1$tree/\\2|p" >"$work/fixes"
	bash -eu "$work/fixes"
}

case_doctor_fixes_leave_the_lines_of_others() {
	amd_workstation
	modprobe_file vfio-off.conf "# blacklist vfio-pci" "  blacklist	vfio-pci  " "blacklist vfio-pci-core" \
		"blacklist iTCO_wdt" "install vfio_iommu_type1  /bin/sh -c 'exec /bin/false'"
	modprobe_file no-usb.conf "blacklist snd-hda-intel # said a.guide" "blacklist snd_hda_intel" "blacklist snd-hda-intel*"
	mend
	cat "$tree/etc/modprobe.d/vfio-off.conf" "$tree/etc/modprobe.d/no-usb.conf"
	checks '(vfio|snd)[-_].* (keeps|blocks)'
}

# NVIDIA's own driver is the host's: a blacklist of nouveau is right then.
case_doctor_nvidia_on_the_host() {
	amd_workstation
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau updates/dkms/nvidia
	driver nvidia nvidia
	bound 0000:2b:00.0 nvidia
	write usr/lib/modprobe.d/nvidia-blacklists-nouveau.conf "blacklist nouveau"
	doctor
	running_command_line modprobe.blacklist=nouveau nouveau.modeset=0 nomodeset
	checks 'command line: '
	running_command_line modprobe.blacklist=nouveau,nvidia
	checks 'command line: '
	running_command_line
	: "and then the kernel was updated, and the module was not"
	kernel 6.14.0-1-pve "" vfio/pci/vfio-pci gpu/drm/nouveau
	bound 0000:2b:00.0
	doctor
}

# Debian's NVIDIA driver in one of its flavours, its files behind the links of update-alternatives; and a
# guide's line on the kernel command line.
debian_nvidia() { # FLAVOUR
	local flavour=$1 name
	local module=updates/dkms/nvidia-$flavour
	intel_desktop
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau platform/x86/nvidia-wmi-ec-backlight \
		"$module" "$module-modeset:$module" "$module-drm:$module-modeset" "$module-uvm:$module" "$module-peermem:$module"
	write "etc/nvidia/$flavour/nvidia-modprobe.conf" "install nvidia modprobe -i nvidia-$flavour \$CMDLINE_OPTS"
	write "etc/nvidia/$flavour/nvidia-blacklists-nouveau.conf" "# You need to run \"update-initramfs -u\" after editing this file." \
		"blacklist nouveau"
	link etc/alternatives/glx--nvidia-modprobe.conf "/etc/nvidia/$flavour/nvidia-modprobe.conf"
	link etc/alternatives/glx--nvidia-blacklists-nouveau.conf "/etc/nvidia/$flavour/nvidia-blacklists-nouveau.conf"
	link etc/modprobe.d/nvidia.conf /etc/alternatives/glx--nvidia-modprobe.conf
	link etc/modprobe.d/nvidia-blacklists-nouveau.conf /etc/alternatives/glx--nvidia-blacklists-nouveau.conf
	for name in nvidia.conf nvidia-blacklists-nouveau.conf; do touch -h -d 2026-01-01 "$tree/etc/modprobe.d/$name"; done
	touch -d 2026-01-01 "$tree/etc/nvidia/$flavour"/*
}

case_doctor_and_setup_with_nvidias_driver_of_a_flavour() {
	local flavour
	for flavour in current current-open tesla-535 open; do
		: "$flavour"
		debian_nvidia "$flavour"
		driver nvidia nvidia
		bound 0000:01:00.0 nvidia
		grub modprobe.blacklist=nouveau
		running_command_line modprobe.blacklist=nouveau
		checks 'nouveau|card_module|driver is loaded|card_kernel'
		ferry setup | grep -E '^Note|^-[^-]|^\+[^+#]'
	done
	: "dedicated to Windows guests: the flavour is named too"
	ferry setup --mode dedicated --windows 01:00 | grep -E '^\+blacklist'
	: "of NVIDIA's installer"
	intel_desktop
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau video/nvidia
	write usr/lib/modprobe.d/nvidia-installer-disable-nouveau.conf "blacklist nouveau" "options nouveau modeset=0"
	checks 'nouveau'
	ferry setup | grep -E '^Note|^-[^-]'
	: "of CUDA's repository"
	intel_desktop
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau updates/dkms/nvidia updates/dkms/nvidia-uvm:updates/dkms/nvidia
	modprobe_file nvidia-graphics-drivers.conf "blacklist nouveau" "alias nouveau off"
	checks 'nouveau'
	ferry setup | grep -E '^Note|^-[^-]'
	: "built for no kernel"
	debian_nvidia current-open
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau platform/x86/nvidia-wmi-ec-backlight
	checks 'nouveau|card_module'
	ferry setup | grep -E '^Note|^-[^-]'
}

# The kernels that are installed but not running: which of them lacks the driver's module.
case_doctor_other_kernels() {
	amd_workstation
	kernel 6.17.4-1-pve "" vfio/pci/vfio-pci gpu/drm/nouveau
	kernel 6.17.9-1-pve "" vfio/pci/vfio-pci gpu/drm/nouveau updates/dkms/nvidia
	mkdir -p "$tree/lib/modules/6.14.0-1-pve/updates"
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau updates/dkms/nvidia
	driver nvidia nvidia
	bound 0000:2b:00.0 nvidia
	checks 'module|the kernel'
	: "lent"
	on_vfio 0000:2b:00
	loan vm-104 '{"kind":"vm","vmid":104}' lent "$(card_functions 0000:2b:00 15 taken | sed 's/nouveau/nvidia/g')"
	checks 'module|the kernel'
	rm "$tree/run/gpu-ferry/loans/vm-104.json"
	: "by Debian's name"
	kernel 6.17.9-1-pve "" vfio/pci/vfio-pci gpu/drm/nouveau updates/dkms/nvidia-current
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau updates/dkms/nvidia-current
	bound 0000:2b:00.0 nvidia
	checks 'module|the kernel'
	: "a driver of the kernel's own"
	kernel 6.17.4-1-pve "" vfio/pci/vfio-pci
	kernel 6.17.9-1-pve "" vfio/pci/vfio-pci gpu/drm/nouveau
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau
	bound 0000:2b:00.0 nouveau
	checks 'module|the kernel'
}

case_doctor_quirks() {
	amd_workstation
	driver amdgpu amdgpu
	device 0000:2b:00.0 1002:731f 1458:37a9 0300 15 amdgpu
	write proc/sys/kernel/osrelease 7.0.14-2-pve
	checks 'Navi|amdgpu of'
	driver nvidia nvidia
	device 0000:2b:00.0 10de:2c05 1458:37a9 0300 15 nvidia
	write sys/module/nvidia/version 570.124.04
	write sys/module/nvidia_drm/parameters/modeset Y
	checks 'RTX|nvidia_drm'
	quirks broken 'quirks = (' '  { name = "typo"; drivers = "amdgpu"; } );'
	quirks others 'quirks = ( );'
	chmod 666 "$tree/etc/gpu-ferry/quirks.d/others.conf"
	rm "$tree/usr/share/gpu-ferry/quirks.conf"
	doctor | sed -n '/GPU-FERRY/,/PROCESSOR/p'
}

case_doctor_card_in_trouble() {
	intel_desktop
	geforce 0000:02:00 16
	geforce 0000:03:00 17 0 unset
	device 0000:05:00.0 8086:10d3 8086:a01f 0200 15 e1000e
	write "$(function_path 0000:01:00.0)/driver_override" vfio-pci
	write etc/driverctl.d/pci-0000:01:00.1 vfio-pci
	write "$(function_path 0000:01:00.0)/reset_method" ""
	truncate -s 0 "$tree/$(function_path 0000:01:00.0)/reset_method"
	rm "$tree/$(function_path 0000:02:00.0)/reset_method"
	head -c 64 /dev/zero | tr '\0' '\377' >"$tree/$(function_path 0000:02:00.0)/config"
	write "$(function_path 0000:03:00.0)/power_state" D3cold
	bound 0000:03:00.0
	settings 'boot_display = "refuse";'
	doctor
	settings 'allow = [ "0000:05:00.0" ];' 'boot_dispaly = "allow";'
	doctor
}

# What is allowed already stays so; sed only where it can.
case_doctor_mends_a_list_of_the_settings() {
	intel_desktop
	device 0000:05:00.0 8086:10d3 8086:a01f 0200 15 e1000e
	device 0000:06:00.0 8086:10d3 8086:a01f 0200 15 e1000e
	device 0000:07:00.0 8086:10d3 8086:a01f 0200 15 e1000e
	for text in 'allow = [ "0000:05:00.0", "06:00.0" ];' 'allow=["0000:05:00.0"];' 'allow =
	[ "0000:05:00.0" ];' 'return_wait_seconds = 3;' 'allow = [ "06:00.0" ]; nonsense' \
		'allow = [ ];
vms = ( { vmid = 104;
allow = [ "06:00.0" ]; } );'; do
		settings "$text"
		ferry doctor | grep -A1 'other devices, which go'
	done
	linux_vm 104 "hostpci0: 0000:01:00,pcie=1"
	settings 'allow = [ "05:00.0" ];' 'vms = ( { vmid = 104; allow = [ "06:00.0" ]; } );'
	ferry doctor 104 | grep -A1 'IOMMU group 15'
	settings 'allow = [ "0000:05:00.0", "06:00.0" ];'
	bash -c "$(ferry doctor | sed -n "s|^ *fix: \\(sed .*allow.*\\) /etc/|\\1 $tree/etc/|p")"
	cat "$tree/etc/gpu-ferry/gpu-ferry.conf"
	ferry doctor | grep -A1 'group 15'
}

case_doctor_lent_owed_and_overdue() {
	intel_desktop
	geforce 0000:02:00 16
	geforce 0000:03:00 17
	on_vfio_since_boot 0000:01:00
	on_vfio_since_boot 0000:02:00
	loan vm-104 '{"kind":"vm","vmid":104}' lent "$(loan_function 0000:01:00.0 15 nouveau taken)"
	loan vm-105 '{"kind":"vm","vmid":105}' owed "$(loan_function 0000:02:00.0 16 gone_module taken)"
	loan hand-17 '{"kind":"hand","iommu_group":17}' overdue "$(loan_function 0000:03:00.0 17 nouveau taken)" \
		"$(stuck_step 0000:03:00.0 nouveau)"
	running 104 4242
	doctor
}

# Whose card it is, nobody knows: so nothing is advised about it.
case_doctor_loan_that_cannot_be_read() {
	local loan
	amd_workstation
	on_vfio_since_boot 0000:2b:00
	write "$(function_path 0000:2b:00.0)/driver_override" vfio-pci
	for loan in '{"schema":9}' '{' '{"schema":1}'; do
		write run/gpu-ferry/loans/vm-104.json "$loan"
		checks 'loan|2b:00.0.*(lent|gpu-ferry)'
	done
	chmod 666 "$tree/run/gpu-ferry/loans/vm-104.json"
	checks 'loan'
}

case_doctor_vm_in_trouble() {
	intel_desktop
	device 0000:06:00.0 10de:1180 1458:353c 0300 18 nouveau
	device 0000:07:00.0 10de:1080 1458:353c 0300 19 nouveau
	config 104 "ostype: l26" "hostpci0: 0000:01:00,pcie=1" "hostpci1: 99:00" "hostpci2: 06:00.0" \
		"ide0: local:iso/virtio-win-0.1.285.iso,media=cdrom" "virtio0: tank:vm-104-disk-0" "cpu: x86-64-v2" \
		"args: -device 'usb-mouse,id=it''s' -cpu host,-hypervisor,+aes,hv_relaxed -smbios type=1"
	config 105 "memory: 2048" "hostpci16: 01:00" "nonsense"
	config 106 "ostype: win11" "hostpci0: 0000:07:00.0,pcie=1" "machine: pc-q35-8.1" "hostpci1: 07:00.0"
	config 107 "template: 1" "hostpci0: 00:02.0"
	mkdir -p "$tree/etc/pve/nodes/pve1/lxc"
	write etc/pve/nodes/pve1/lxc/108.conf "arch: amd64"
	doctor 104
	doctor 105
	doctor 106
	doctor 107
	doctor 108
	doctor 109
	write sys/class/dmi/id/chassis_type 10
	linux_vm 110 "hostpci0: 0000:01:00,pcie=1"
	settings 'windows_blacklist = "off";'
	doctor 110
	ferry doctor 106 --output-format json-pretty
	settings 'windows_blacklist = "permanent";'
	doctor 106
	settings 'vms = ( { vmid = 106; windows_blacklist = "permanent"; } );'
	checks 'permanent' 106
}

# What Proxmox asks of legacy-igd: the fix is the entry without it.
case_doctor_vm_legacy_igd() {
	intel_desktop
	linux_vm 104 "hostpci0: 0000:00:02,legacy-igd=1,pcie=1"
	linux_vm 105 "hostpci0: legacy-igd=1,host=00:02"
	letter 104 | grep -A1 '^FAIL: '
	letter 105 | grep -A1 '^FAIL: '
}

# Hookscripts of others, guests that share a card, and snippets that Proxmox would not run.
case_doctor_guests() {
	intel_desktop
	geforce 0000:02:00 16
	mkdir -p "$tree/$(function_path 0000:02:00.0)/drm/card1" "$tree/$(function_path 0000:02:00.0)/drm/renderD129"
	linux_vm 104 "hostpci0: 0000:01:00,pcie=1" "onboot: 1"
	config 105 "hostpci0: 01:00.0" "hookscript: local:snippets/mine.pl" "onboot: 1"
	mapping gpu "id=10de:2704,iommugroup=15,node=pve1,path=0000:01:00,subsystem-id=1458:40bc" \
		"id=10de:2704,iommugroup=16,node=pve1,path=0000:02:00,subsystem-id=1458:40bc"
	config 106 "hostpci0: mapping=gpu"
	config 107 "memory: 2048"
	config 108 "template: 1" "hostpci0: 0000:01:00"
	linux_vm 109 "hostpci0: 0000:02:00,pcie=1"
	write etc/pve/nodes/pve1/lxc/120.conf "dev0: /dev/nvidia0"
	write etc/pve/nodes/pve1/lxc/121.conf "lxc.mount.entry: /dev/dri/renderD129 dev/dri/renderD129 none bind"
	write etc/pve/nodes/pve1/lxc/122.conf "dev0: /dev/dri/card7" "lxc.mount.entry: /dev/fuse dev/fuse none bind"
	doctor
	doctor 104
	doctor 105
	doctor 109
	linux_vm 110 "hostpci0: 0000:02:00,pcie=1"
	sed -i 's/snippets.gpu-ferry/&-chain/' "$tree/etc/pve/nodes/pve1/qemu-server/110.conf"
	doctor 110
	rm "$tree/var/lib/vz/snippets/gpu-ferry"
	doctor 104
	write var/lib/vz/snippets/gpu-ferry "#!/bin/sh"
	doctor 104
	chmod 755 "$tree/var/lib/vz/snippets/gpu-ferry"
	doctor 104
}

case_doctor_as_nobody() {
	if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
		skip "needs root and setpriv"
		return
	fi
	amd_workstation
	linux_vm 104 "hostpci0: 0000:2b:00,pcie=1,romfile=gpu.rom"
	chmod 750 "$tree/etc/pve" "$tree/etc/pve/nodes"
	chmod 000 "$tree/boot/config-6.8.12-4-pve" "$tree/etc/modprobe.d/pve-blacklist.conf"
	call as=nobody gpu-ferry doctor 104 --root "$tree"
	echo "-- a hookscript that runs with it stands in a record for root alone"
	sed -i 's/snippets.gpu-ferry/&-chain/' "$tree/etc/pve/nodes/pve1/qemu-server/104.conf"
	write var/lib/gpu-ferry/attachments/vm-104.json '{"schema":1,"vmid":104,"since":"2026-01-02T03:04:05Z",' \
		'"keys":[{"key":"hookscript","before":"local:snippets/mine","after":"local:snippets/gpu-ferry-chain"}],"functions":[]}'
	chmod 700 "$tree/var/lib/gpu-ferry"
	chmod 755 "$tree/etc/pve" "$tree/etc/pve/nodes"
	call as=nobody gpu-ferry doctor 104 --root "$tree" | grep 'hookscript runs'
	checks 'hookscript' 104
}

# Its package was removed, or an upgrade has replaced it: then nothing more can be loaded.
case_doctor_of_a_kernel_that_is_gone() {
	if cannot_enter; then return; fi
	amd_workstation
	rm -r "${tree:?}/lib" # its modules; /lib is the machine's then
	write proc/sys/kernel/osrelease 6.8.12-4-gone
	installed
	live gpu-ferry doctor | grep -A1 /lib/modules
	checks /lib/modules
}

case_doctor_writes_nothing() {
	amd_workstation
	by_the_guide
	find "$tree" -printf '%p %s %T@ %m\n' | sort >"$work/before"
	ferry doctor 104 --output-format json >/dev/null
	find "$tree" -printf '%p %s %T@ %m\n' | sort | diff "$work/before" - && echo untouched
}

case_doctor_usage() {
	call gpu-ferry doctor 104 105
	call gpu-ferry doctor nonsense
	call gpu-ferry doctor --help
}

# ---- what a check must not say, or says seldom: the lines of single checks

# checks PATTERN [VMID]: doctor's lines of that kind, each with what mends it.
checks() {
	ferry doctor -v "${@:2}" | sed '/^= WHAT TO DO/,$d' | grep -E -A1 "^(PASS|INFO|SKIP|NOTICE|WARN|FAIL): .*($1)" | grep -vE '^(--|= .*|)$' |
		grep -E "^      fix|$1"
}

case_doctor_kernel_arguments() {
	amd_workstation
	running_command_line iommu=pt
	checks 'iommu=pt'
	echo "-- words that only begin alike"
	intel_desktop old
	grub intel_iommu=xx,onx
	running_command_line intel_iommu=xx,onx
	checks 'intel_iommu=on'
	echo "-- what only a shell could tell"
	write etc/default/grub 'GRUB_CMDLINE_LINUX_DEFAULT="$(cat /etc/arguments)"'
	checks 'of the next boot'
	echo "-- switched off by nothing that is configured"
	intel_desktop
	iommu_is_off
	running_command_line intel_iommu=off
	checks 'IOMMU is off'
	echo "-- asked for, and off all the same"
	running_command_line intel_iommu=on
	grub intel_iommu=on
	checks 'IOMMU is off'
	echo "-- an initramfs that is none"
	intel_desktop
	rm "$tree/boot/initrd.img-6.8.12-4-pve"
	mkdir "$tree/boot/initrd.img-6.8.12-4-pve"
	checks 'initrd'
	echo "-- made in the same second as the configuration, and before it"
	intel_desktop
	touch -d '2026-01-02 00:00:00.500' "$tree/boot/initrd.img-6.8.12-4-pve"
	touch -d '2026-01-02 00:00:00.501' "$tree/etc/modprobe.d/pve-blacklist.conf"
	checks 'initrd'
	touch -d '2026-01-02 00:00:00.501' "$tree/boot/initrd.img-6.8.12-4-pve"
	checks 'initrd'
}

case_doctor_processors() {
	amd_workstation
	rm -r "$tree/sys/class/misc/kvm"
	checks 'KVM'
	intel_desktop
	rm -r "$tree/sys/class/misc/kvm"
	checks 'KVM'
	processor GenuineIntel vmx hypervisor
	iommu_is_off
	rm "$tree/sys/firmware/acpi/tables/DMAR"
	checks 'itself a VM|IOMMU is off'
}

case_doctor_cards_of_all_kinds() {
	intel_desktop
	geforce 0000:02:00 16
	geforce 0000:03:00 17
	device 0000:00:01.0 8086:1901 8086:1901 0604 15 pcieport
	checks 'group 15'
	echo "-- Proxmox's own hand has it"
	on_vfio_since_boot 0000:02:00
	running 105 4242
	write run/qemu-server/pci-id-reservations "0000:02:00.0 105 pid:4242"
	checks '0000:02:00.0: .*(VM 105|vfio-pci)'
	echo "-- lent, with an override that is ours; and its home is no module"
	write "$(function_path 0000:01:00.0)/driver_override" vfio-pci
	on_vfio_since_boot 0000:01:00
	loan vm-104 '{"kind":"vm","vmid":104}' lent \
		"$(loan_function 0000:01:00.0 15 nouveau taken | sed 's/"home_module":"nouveau"/"home_module":""/')"
	running 104 4243
	checks '0000:01:00.0.*(driver|override)'
	echo "-- asleep, and then nothing is read of it; a state that is not told; a reset that cannot be read"
	write "$(function_path 0000:03:00.0)/power_state" D3cold
	head -c 64 /dev/zero | tr '\0' '\377' >"$tree/$(function_path 0000:03:00.0)/config"
	checks '0000:03:00.0.*(power|bus)'
	rm "$tree/$(function_path 0000:03:00.0)/power_state" "$tree/$(function_path 0000:03:00.0)/reset_method"
	mkdir "$tree/$(function_path 0000:03:00.0)/reset_method"
	checks '0000:03:00.0.*(power|reset)'
}

# What the eight-card machine of an office may have: four cards with one cause, one that sleeps.
case_doctor_reads_like_a_letter() {
	intel_desktop
	geforce 0000:02:00 16
	geforce 0000:03:00 17
	geforce 0000:04:00 18
	on_vfio_since_boot 0000:01:00
	on_vfio_since_boot 0000:02:00
	on_vfio_since_boot 0000:03:00
	write "$(function_path 0000:04:00.0)/reset_method" ""
	linux_vm 104 "hostpci0: 0000:04:00,pcie=1"
	linux_vm 105 "hostpci0: 0000:01:00"
	config 110 "template: 1" "hostpci0: 0000:09:00"
	letter
	ferry doctor -q
	letter 104
	ferry doctor 104 -v | sed -n '/^= VM/,/^= SUMMARY/p'
	ferry doctor -q 104
	ferry doctor 110 -q
	ferry doctor --output-format json | sed 's/.*"totals"/"totals"/'
	rm "$tree/etc/systemd/system/multi-user.target.wants/gpu-ferry-watch.path"
	checks 'watch'
}

# Arguments and options that people take from guides, and what each means.
case_doctor_advice_of_guides() {
	intel_desktop
	grub 'pcie_acs_override=downstream,multifunction video=vesafb:off,efifb:off initcall_blacklist=sysfb_init'
	running_command_line 'pcie_acs_override=downstream,multifunction video=efifb:off'
	modprobe_file unsafe.conf 'options vfio_iommu_type1 allow_unsafe_interrupts=1'
	checks 'acs|efifb|vesafb|sysfb|unsafe'
	echo "-- in effect alone"
	grub ""
	running_command_line 'vfio_iommu_type1.allow_unsafe_interrupts=1 video=simplefb:off'
	modprobe_file unsafe.conf 'options vfio_iommu_type1 allow_unsafe_interrupts=0'
	write sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts Y
	checks 'acs|simplefb|unsafe'
	echo "-- nothing of it"
	running_command_line
	write sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts N
	checks 'acs|efifb|simplefb|unsafe'
	echo "-- a laptop's card, and one in a box beside it"
	write sys/class/dmi/id/chassis_type 10
	linux_vm 104 "hostpci0: 0000:01:00,pcie=1"
	checks 'hidden=1|laptop' 104
	write "$(function_path 0000:01:00.0)/removable" removable
	checks 'hidden=1|laptop' 104
	echo "-- and by its name"
	rm "$tree/sys/class/dmi/id/chassis_type"
	device 0000:05:00.0 10de:25a2 1458:40bc 0300 19 nouveau
	linux_vm 104 "hostpci0: 0000:05:00,pcie=1"
	checks 'hidden=1|laptop' 104
}

# What Proxmox VE, QEMU or the kernel would refuse is a blocker, each beside the others.
case_plan_is_the_whole_truth() {
	intel_desktop
	mkdir -p "$tree/usr/share/kvm"
	linux_vm 104 "hostpci0: 0000:01:00;pcie=1"
	linux_vm 105 "hostpci0: 0000:01:00,pcie=1,romfile=none.rom"
	config 106 "hookscript: local:snippets/gpu-ferry" "hostpci0: 0000:01:00,pcie=1" "hostpci1: 0000:99:00"
	linux_vm 107 "hostpci0: 0000:01:00,pcie=1"
	for vmid in 104 105 106 107; do ferry plan "$vmid" | grep -v '^  [0-9]'; done
	checks 'romfile' 105
	write usr/share/kvm/none.rom ""
	ferry plan 105 | grep blockers
	ferry plan 106 --output-format json | sed 's/.*"blockers"/"blockers"/'
	sed -i '/vfio/d' "$tree/lib/modules/6.8.12-4-pve/modules.dep"
	ferry plan 107 | sed -n '/^blockers/,$p'
	ferry bind 01:00 --driver nvidiaa --dry-run | sed -n '/^blockers/,$p'
}

# Each sign of Windows in a VM whose ostype is another; and what is none.
case_doctor_windows_with_the_wrong_ostype() {
	intel_desktop
	say_of() { # LINE…
		config 104 "hookscript: local:snippets/gpu-ferry" "hostpci0: 0000:01:00" "$@"
		checks 'ostype|win10: ' 104
	}
	say_of "ostype: l26" "ide2: local:iso/Win11_24H2_Korean_x64.iso,media=cdrom,size=5G"
	say_of "ostype: l26" "sata1: local:iso/20348.169.210806_SERVER_EVAL_x64FRE_en-us.iso,media=cdrom"
	say_of "ostype: l26" "args: -cpu host,kvm=off,hv_vendor_id=null"
	say_of "ostype: other" "tpmstate0: local-lvm:vm-104-disk-1,version=v2.0" "efidisk0: local-lvm:vm-104-disk-0"
	say_of "bios: ovmf" "tpmstate0: local-lvm:vm-104-disk-1,version=v2.0" "efidisk0: local-lvm:vm-104-disk-0"
	echo "-- no sign"
	say_of "ostype: l26" "ide2: local:iso/debian-13.iso,media=cdrom" "scsi0: local-lvm:windows-disk" \
		"tpmstate0: local-lvm:vm-104-disk-1" "efidisk0: local-lvm:vm-104-disk-0"
	say_of "ostype: other"
	say_of "ostype: win10" "ide2: local:iso/Win10_22H2.iso,media=cdrom"
}

# attach tells what may not have been meant, and what is next; NVIDIA's needs are NVIDIA's.
case_attach_says_what_happens() {
	intel_desktop
	device 0000:05:00.0 10de:22a3 10de:1796 0680 19 nouveau
	device 0000:06:00.0 1002:744c 1002:0e3b 0300 20 amdgpu
	config 104 "ostype: win11" "machine: q35" "bios: ovmf" "efidisk0: local-lvm:vm-104-disk-1"
	ferry attach 104 05:00 --dry-run
	ferry attach 104 06:00 --dry-run
	ferry attach 104 06:00 --tune --dry-run
	ferry attach 104 01:00 --tune --dry-run
	iommu_is_off
	ferry attach 104 06:00 --dry-run -q
}

# The way back, before a start and while the VM has the card.
case_plan_return() {
	intel_desktop
	linux_vm 104 "hostpci0: 0000:01:00,pcie=1"
	ferry plan 104 --return
	ferry plan 104 --return --output-format json
	linux_vm 105
	ferry plan 105 --return
	: "and while it has the card"
	loan vm-104 '{"kind":"vm","vmid":104}' lent "$(loan_function 0000:01:00.0 15 nouveau taken)"
	ferry plan 104 --return
}

case_doctor_ids_at_boot() {
	intel_desktop
	geforce 0000:02:00 16
	modprobe_file a.conf "options vfio-pci ids=10de-2704,10de2704,10de:27045,10de:27g4" "options other ids=10de:2704" \
		"blacklist vfio_other"
	checks 'ids='
	modprobe_file a.conf "options vfio-pci ids=8086:2704,10de:22bc"
	checks 'ids='
	echo "-- not yet: another card is on vfio-pci"
	modprobe_file a.conf "options vfio-pci ids=10de:22bb disable_vga=1"
	driver vfio-pci vfio_pci
	bound 0000:01:00.0 vfio-pci
	checks 'ids=|0000:01:00.0 .10de'
	echo "-- by setup"
	rm "$tree/etc/modprobe.d/a.conf"
	modprobe_file gpu-ferry.conf "options vfio-pci ids=10de:2704"
	checks 'ids=|0000:01:00.0 .10de'
	echo "-- by the next boot's command line"
	rm "$tree/etc/modprobe.d/gpu-ferry.conf"
	running_command_line vfio-pci.ids=
	checks 'ids='
	grub vfio-pci.ids=10de:2704
	checks 'ids=|0000:01:00.0 .10de'
	grub vfio-pci.ids=1002:2704
	checks 'ids=|0000:01:00.0 .10de'
}

case_doctor_blacklists_of_all_kinds() {
	intel_desktop
	device 0000:08:00.1 1002:ab38 1458:40bc 0403 18 snd_hda_intel
	modprobe_file a.conf "blacklist amdgpu" "options nouveau modeset=0" "blacklist vfio_other"
	checks 'modprobe.d|blacklist'
	echo "-- nouveau, and what would be in its place is kept away as well"
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau gpu/drm/i915 updates/dkms/nvidia
	modprobe_file a.conf "blacklist nouveau" "install nvidia /bin/false"
	checks 'modprobe.d|blacklist'
	echo "-- a Windows guest has the card; somebody's file of that folder; a line over two lines"
	rm "$tree/etc/modprobe.d/a.conf"
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau gpu/drm/i915
	write run/modprobe.d/gpu-ferry-104.conf "blacklist nouveau"
	write run/modprobe.d/other.conf "blacklist nouveau"
	modprobe_file b.conf "blacklist \\" "vfio_pci"
	write usr/lib/modprobe.d/package.conf "blacklist xhci_pci"
	checks 'modprobe.d|blacklist'
	echo "-- by the command line; modules at boot"
	rm "$tree/etc/modprobe.d/b.conf"
	running_command_line modprobe.blacklist=snd-hda-intel,nvme
	write etc/modules-load.d/modules.conf vfio_virqfd
	write etc/modules-load.d/gpu-ferry.conf vfio_virqfd
	write etc/modules-load.d/mine.conf vfio_virqfd
	checks 'command line: |modules'
	echo "-- set, and not in effect yet"
	grub modprobe.blacklist=nouveau
	running_command_line
	checks 'blacklist='
}

# What doctor warns of is what setup takes out, and what doctor finds right is left alone.
case_doctor_and_setup_agree() {
	intel_desktop
	device 0000:08:00.0 1002:744c 1458:40bc 0300 18
	kernel 6.8.12-4-pve "" vfio/pci/vfio-pci gpu/drm/nouveau gpu/drm/amdgpu gpu/drm/radeon updates/dkms/nvidia-current
	modprobe_file package.conf "blacklist nouveau" "blacklist radeon"
	modprobe_file guide.conf "blacklist nouveau" "blacklist nvidia-current" "options amdgpu dc=1 modeset=0"
	checks 'modprobe.d|blacklist'
	ferry setup | grep -E '^Note|^-[^-]|^\+[^+#]'
	echo "-- without the guide's"
	rm "$tree/etc/modprobe.d/guide.conf"
	checks 'modprobe.d|blacklist'
	ferry setup | grep -E '^Note|^-[^-]'
}

# VMs that have no GPU, and containers.
case_doctor_guests_of_all_kinds() {
	intel_desktop
	device 0000:08:00.0 1002:744c 1458:40bc 0300 18 amdgpu
	device 0000:29:00.0 8086:10d3 8086:a01f 0200 17 e1000e
	mkdir -p "$tree/$(function_path 0000:01:00.0)/drm/renderD128"
	config 104 "hostpci0: 0000:29:00.0"
	config 105 "hostpci0: 0000:01:00.1" "onboot: 0"
	linux_vm 106 "hostpci0: 0000:01:00,pcie=1" "onboot: 1"
	config 107 "hostpci0: 0000:01:00.0" "hookscript: local:snippets/gpu-ferry"
	write etc/pve/nodes/pve1/lxc/120.conf "lxc.mount.entry: /dev/dri dev/dri none bind"
	write etc/pve/nodes/pve1/lxc/121.conf "dev0: /dev/kfd"
	write etc/pve/nodes/pve1/lxc/122.conf "dev0: /dev/other/renderD128"
	checks 'VM 1|container'
	checks 'VM 1|container' 106
	checks 'VM 1|container' 105
	rm -r "$tree/etc/pve/nodes/pve1/lxc"
	write etc/pve/nodes/pve1/lxc ""
	checks 'containers'
}

case_doctor_hookscripts_of_all_kinds() {
	intel_desktop
	linux_vm 104 "hostpci0: 0000:01:00,pcie=1"
	sed -i 's/local:snippets.gpu-ferry/gone:snippets\/gpu-ferry/' "$tree/etc/pve/nodes/pve1/qemu-server/104.conf"
	checks 'snippet|hookscript|gone' 104
	linux_vm 104 "hostpci0: 0000:01:00,pcie=1"
	sed -i 's/snippets.gpu-ferry/&-chain/' "$tree/etc/pve/nodes/pve1/qemu-server/104.conf"
	write var/lib/gpu-ferry/attachments/vm-104.json '{"schema":1,"vmid":104,"since":"2026-01-02T03:04:05Z",' \
		'"keys":[{"key":"hookscript","before":"local:snippets/mine","after":"local:snippets/gpu-ferry-chain"}],"functions":[]}'
	checks 'hookscript' 104
	write var/lib/gpu-ferry/attachments/vm-104.json '{"schema":1,"vmid":104,"since":"2026-01-02T03:04:05Z",' \
		'"keys":[{"key":"hookscript","before":null,"after":"local:snippets/gpu-ferry-chain"}],"functions":[]}'
	checks 'hookscript' 104
	echo "-- the device that it names is one that it could be told"
	config 104 "hostpci0: 0000:00:02.0;0000:01:00.0" "hookscript: local:snippets/gpu-ferry-chain"
	checks 'hookscript' 104
	config 104 "hookscript: local:snippets/gpu-ferry-chain"
	checks 'hookscript|hostpci' 104
}

case_doctor_configs_of_all_kinds() {
	intel_desktop
	geforce 0000:02:00 16 0 shadowed
	device 0000:05:00.0 1002:0640 1458:353c 0300 19 amdgpu
	local n=6 id
	for id in 0640 0fbf 0fc0 103f 1040 10ff 1100 113f 1140 1141 11ff 1200 127f 1280 1b80; do
		device "0000:$(printf %02x $n):00.0" "10de:$id" 1458:353c 0300 $((20 + n)) nouveau
		linux_vm 110 "hostpci0: 0000:$(printf %02x $n):00.0,pcie=1"
		echo "10de:$id: $(checks 'code 43|hidden=1 is not' 110 | cut -c 1-80 | head -n 1)"
		n=$((n + 1))
	done
	linux_vm 110 "hostpci0: 0000:05:00,pcie=1"
	checks 'code 43|hidden=1 is not' 110
	linux_vm 110 "hostpci0: 0000:0b:00.0,pcie=1"
	sed -i 's/^cpu: .*/cpu: host,hidden=1/' "$tree/etc/pve/nodes/pve1/qemu-server/110.conf"
	checks 'hidden=1' 110
	echo "-- entries"
	config 111 "machine: q35" "hostpci0: 01:00.0,mdev=nvidia-47" "hostpci1: 0000:02:00,rombar=0" \
		"hostpci2: 0000:05:00.0" "hostpci3: 05:00" "bios: seabios" "scsi0: none,media=cdrom" \
		"virtio0: /dev/sdb" "sata0: tank:iso/x.iso,media=cdrom" "ide0: other:vm-111-disk-0" "ostype: other" \
		"ide2: local:iso/virtio.iso,media=cdrom" "scsi1: local:virtio-win-disk"
	checks 'hostpci|SeaBIOS|ROM|ostype' 111
	linux_vm 112 "hostpci0: 0000:02:00,pcie=1"
	checks 'ROM' 112
	echo "-- a model and a key newer than this program"
	linux_vm 104 "hostpci0: 0000:02:00,pcie=1" "next-years-key: 1"
	sed -i 's/^cpu: .*/cpu: DiamondRapids/' "$tree/etc/pve/nodes/pve1/qemu-server/104.conf"
	checks 'config|DiamondRapids|next-years-key|hidden=1' 104
	echo "-- taken just now"
	running 105 4242
	write run/qemu-server/pci-id-reservations "0000:02:00.0 105 pid:4242"
	checks 'start now|would not' 112
	echo "-- the host uses it"
	rm "$tree/run/qemu-server/pci-id-reservations"
	device 0000:02:00.2 10de:1ad6 1458:40bc 0c03 16 xhci_hcd
	write "$(function_path 0000:02:00.2)/usb3/3-1/3-1:1.0/input/input7/name" "A Keyboard"
	write "$(function_path 0000:02:00.2)/usb3/3-1/3-1:1.0/input/input7/capabilities/key" fffffffffffffffe
	checks 'start now|would not' 112
	echo "-- a VM's own settings"
	settings 'boot_display = "allow";' 'vms = ( { vmid = 113; boot_display = "refuse"; } );'
	linux_vm 113 "hostpci0: 0000:00:02.0,pcie=1,romfile=a"
	checks 'start now|would not' 113
	settings 'boot_display = "refuse";'
	checks 'start now|would not' 113
}
