# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Whole machines for doctor to look at, below $tree in place of what make_tree made. Sourced by run.

processor() { # VENDOR FLAG…
	local vendor=$1
	shift
	write proc/cpuinfo "processor	: 0" "vendor_id	: $vendor" "flags		: fpu vme $* npx" "" \
		"processor	: 1" "vendor_id	: $vendor" "flags		: fpu vme $* npx"
	mkdir -p "$tree/sys/class/misc/kvm"
}

firmware() { # TABLE…: the ACPI tables
	local table
	for table in APIC FACP MCFG "$@"; do write "sys/firmware/acpi/tables/$table" ""; done
	mkdir -p "$tree/sys/firmware/efi"
}

# The running kernel, with its modules, its configuration and an initramfs of January 2nd.
kernel() { # RELEASE CONFIG MODULE…: below kernel/drivers, or updates/…; MODULE:OTHER needs the other one
	local release=$1 config=$2 module
	shift 2
	write proc/sys/kernel/osrelease "$release"
	write "boot/config-$release" "CONFIG_INTEL_IOMMU=y" "$config"
	write "boot/vmlinuz-$release" ""
	write "boot/initrd.img-$release" ""
	touch -d 2026-01-02 "$tree/boot/initrd.img-$release"
	write "lib/modules/$release/modules.builtin" kernel/fs/binfmt_script.ko
	: >"$tree/lib/modules/$release/modules.dep"
	for module; do
		case $module in
		updates/*:*) echo "${module%:*}.ko.zst: ${module#*:}.ko.zst" ;;
		updates/*) echo "$module.ko.zst:" ;;
		*) echo "kernel/drivers/$module.ko.zst:" ;;
		esac >>"$tree/lib/modules/$release/modules.dep"
	done
}

running_command_line() { # ARGUMENTS
	write proc/cmdline "BOOT_IMAGE=/boot/vmlinuz root=/dev/mapper/pve-root ro quiet $*"
}

grub() { # ARGUMENTS
	write etc/default/grub "GRUB_DEFAULT=0" "GRUB_TIMEOUT=5" "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet $*\"" \
		'GRUB_CMDLINE_LINUX=""'
}

modprobe_file() { # NAME LINE…: of January 1st, so older than the initramfs
	local name=$1
	shift
	write "etc/modprobe.d/$name" "$@"
	touch -d 2026-01-01 "$tree/etc/modprobe.d/$name"
}

window() { # START END FLAGS
	printf '0x%016x 0x%016x 0x%016x\n' "$1" "$2" "$3"
}

# The windows of a card with 16 GiB, BAR 1 of 256 MiB, and its ROM.
windows() { # ADDRESS [shadowed|unset]
	local flags=$((0x14220c))
	[ "${2:-}" != unset ] || flags=$((0x2014220c))
	{
		window $((0xfb000000)) $((0xfbffffff)) $((0x40200))
		window $((0xd0000000)) $((0xdfffffff)) "$flags"
		window 0 0 0
		window $((0xe0000000)) $((0xe1ffffff)) $((0x14220c))
		window 0 0 0
		window $((0xe000)) $((0xe07f)) $((0x40101))
		if [ "${2:-}" = shadowed ]; then
			window $((0xc0000)) $((0xdffff)) $((0x212))
		else
			window $((0xfc000000)) $((0xfc07ffff)) $((0x46200))
		fi
	} >"$tree/$(function_path "$1")/resource"
}

# A card with a display and an audio function, as the guide's.
geforce() { # SLOT GROUP [BOOT_VGA [WINDOWS]]
	device "$1.0" 10de:2704 1458:40bc 0300 "$2" nouveau
	device "$1.1" 10de:22bb 1458:40bc 0403 "$2" snd_hda_intel
	write "$(function_path "$1.0")/boot_vga" "${3:-0}"
	write "$(function_path "$1.0")/reset_method" "flr bus"
	windows "$1.0" "${4:-}"
}

# What every machine here has; the tree is empty before.
proxmox() {
	local prefix
	rm -rf "${tree:?}"/*
	shared_files
	write etc/hostname pve1
	mkdir -p "$tree/etc/pve/nodes/pve1/qemu-server" "$tree/etc/pve/nodes/pve1/lxc" \
		"$tree/run/qemu-server"
	link etc/pve/local nodes/pve1
	link etc/pve/qemu-server nodes/pve1/qemu-server
	link etc/pve/lxc nodes/pve1/lxc
	for prefix in usr usr/local; do # /usr/local is where a build without the package has it
		write "$prefix/libexec/gpu-ferry/hookscript" hookscript
		chmod 755 "$tree/$prefix/libexec/gpu-ferry/hookscript"
	done
	link var/lib/vz/snippets/gpu-ferry /usr/libexec/gpu-ferry/hookscript
	link var/lib/vz/snippets/gpu-ferry-chain /usr/libexec/gpu-ferry/hookscript
	link etc/systemd/system/multi-user.target.wants/gpu-ferry-watch.path \
		/usr/lib/systemd/system/gpu-ferry-watch.path
	modprobe_file pve-blacklist.conf "# This file contains a list of modules which are not supported" \
		"" "# nvidiafb see bugreport" "blacklist nvidiafb"
	driver pcieport
	driver nouveau nouveau
	driver snd_hda_intel snd_hda_intel
	driver i915 i915
	driver e1000e e1000e
}

# The guide's: one GeForce RTX 4080 in an AMD machine, by GRUB.
amd_workstation() {
	proxmox
	processor AuthenticAMD svm
	firmware IVRS
	kernel 6.8.12-4-pve "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set" vfio/pci/vfio-pci gpu/drm/nouveau
	running_command_line
	grub
	device 0000:00:01.1 1022:1483 1022:1453 0604 0 pcieport
	geforce 0000:2b:00 15 1 shadowed
	device 0000:29:00.0 8086:10d3 8086:a01f 0200 17 e1000e
}

# An Intel machine with its own graphics and a GeForce.
intel_desktop() { # [KERNEL]
	proxmox
	processor GenuineIntel vmx
	firmware DMAR
	if [ "${1:-new}" = old ]; then
		kernel 6.5.13-6-pve "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set" \
			vfio/pci/vfio-pci gpu/drm/nouveau gpu/drm/i915
	else
		kernel 6.8.12-4-pve "CONFIG_INTEL_IOMMU_DEFAULT_ON=y" \
			vfio/pci/vfio-pci gpu/drm/nouveau gpu/drm/i915
	fi
	running_command_line
	grub
	device 0000:00:02.0 8086:3e92 1458:d000 0300 1 i915
	write "$(function_path 0000:00:02.0)/boot_vga" 1
	write "$(function_path 0000:00:02.0)/reset_method" flr
	windows 0000:00:02.0 shadowed
	geforce 0000:01:00 15
}

iommu_is_off() {
	local function
	rm -r "$tree/sys/kernel/iommu_groups"
	for function in "$tree"/sys/devices/pci0000:00/*; do rm "$function/iommu_group"; done
}

# Both functions of the card of $1, as a boot by the guide leaves them.
on_vfio_since_boot() { # SLOT
	driver vfio-pci vfio_pci
	bound "$1.0" vfio-pci
	bound "$1.1" vfio-pci
}

by_the_guide() {
	modprobe_file vfio.conf "options vfio-pci ids=10de:2704,10de:22bb"
	modprobe_file pve-blacklist.conf "# This file contains a list of modules which are not supported" \
		"" "# nvidiafb see bugreport" "blacklist nvidiafb" "blacklist nouveau" "blacklist nvidia"
	grub amd_iommu=on iommu=pt
	running_command_line amd_iommu=on iommu=pt
	on_vfio_since_boot 0000:2b:00
	config 104 "args: -cpu 'host,kvm=off,hv_vendor_id=proxmox'" "boot: order=scsi0;ide2;net0;ide0" \
		"cores: 8" "cpu: host,hidden=1,flags=+pcid" "hostpci0: 0000:2b:00,pcie=1" \
		"ide0: local:iso/virtio-win-0.1.285.iso,media=cdrom,size=771138K" \
		"ide2: local:iso/Win10_22H2_Korean_x64v1.iso,media=cdrom,size=5683458K" "machine: q35" \
		"memory: 24576" "name: window-vdi" "net0: virtio=BC:24:11:42:06:61,bridge=vmbr0,firewall=1" \
		"numa: 0" "ostype: win10" "scsi0: local-lvm:vm-104-disk-0,iothread=1,size=256G" \
		"scsihw: virtio-scsi-single" "sockets: 1" "vga: std"
}
