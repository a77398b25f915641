# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Nobody else's disk, keyboard, network; nobody else's card.

# The name of the only NVMe disk: which controller is the first one depends on the kernel.
nvme_disk() {
	basename /sys/block/nvme*n1
}

refused_for() {
	assert_exit 1 gpu-ferry bind "$1"
	assert_match "$err" "$1 is in use by the host: $2"
	assert_eq "$(loans)" '' "loans after"
}

test_disks_and_keyboards_of_the_host_are_refused() {
	local disk pid name
	name=$(nvme_disk)
	disk=$(basename "$(readlink -f /sys/block/vda/../../..)")
	[ -e "$pci/$disk" ] || disk=$(basename "$(readlink -f /sys/block/vda/device/..)")
	say "the root disk, virtio"
	refused_for "$disk" 'disk vda is mounted'
	say "a keyboard"
	refused_for "$usb_host" 'keyboard "QEMU QEMU USB Keyboard" is plugged into it'
	assert_match "$(json list --all | jq -r ".[] | select(.address == \"$usb_host\").host_use")" '^keyboard'
	say "an NVMe disk: mounted, and mounted where we do not see it"
	mkdir -p "$scratch/mnt"
	mount -o ro "/dev/$name" "$scratch/mnt"
	refused_for "$nvme" "disk $name is mounted"
	umount "$scratch/mnt"
	unshare -m sh -c "mount -o ro /dev/$name '$scratch/mnt' && echo in >'$scratch/in' && exec sleep 60" &
	pid=$!
	for _ in {1..50}; do
		[ ! -e "$scratch/in" ] || break
		sleep 0.1
	done
	refused_for "$nvme" "disk $name is in use by the kernel .ext4."
	assert_driver "$nvme" nvme
	say "on wish all the same"
	echo "allow = [ \"$nvme\" ];" >"$settings"
	assert_exit 0 gpu-ferry bind --dry-run "$nvme"
	: >"$settings"
	kill $pid
	wait $pid || true
	say "idle it may go"
	assert_exit 0 gpu-ferry bind "$nvme"
	assert_exit 0 gpu-ferry unbind "$nvme"
	assert_driver "$nvme" nvme
}

test_swap_and_volume_members_and_sticks_are_refused() {
	local stick keyboard name raid=/sys/block/md_test/md
	name=$(nvme_disk)
	head -c 65536 "/dev/$name" >"$scratch/begin"
	say "swapped to"
	mkswap "/dev/$name" >/dev/null
	swapon "/dev/$name"
	refused_for "$nvme" "disk $name is used for swap"
	swapoff "/dev/$name"
	dd if="$scratch/begin" of="/dev/$name" conv=notrunc,fsync 2>/dev/null
	say "member of a RAID, made by the files of Documentation/admin-guide/md.rst"
	modprobe -a raid1 md-mod
	echo md_test >/sys/module/md_mod/parameters/new_array
	echo none >$raid/metadata_version
	echo raid1 >$raid/level
	echo 1 >$raid/raid_disks
	cat "/sys/block/$name/dev" >$raid/new_dev
	refused_for "$nvme" "disk $name is part of a volume"
	echo clear >$raid/array_state
	say "under a logical volume of LVM's"
	modprobe dm-mod
	logical-volume "/dev/$name"
	refused_for "$nvme" "disk $name is part of a volume"
	# udev looks into it
	udevadm settle
	logical-volume gone
	say "a stick behind a USB controller"
	stick=$(find "$(readlink -f "$pci/$usb_host")" -path '*/block/sd*' -name 'sd?' -printf '%f\n')
	# it would be found first
	keyboard=$(dirname "$(find "$(readlink -f "$pci/$usb_host")" -name idVendor -exec grep -l 0627 {} +)")
	echo 0 >"$keyboard/authorized"
	mkdir -p "$scratch/mnt"
	mount -o ro "/dev/$stick" "$scratch/mnt"
	refused_for "$usb_host" "disk $stick is mounted"
	umount "$scratch/mnt"
	echo 1 >"$keyboard/authorized"
	udevadm settle
	assert_driver "$usb_host" xhci_hcd
}

test_network_card_of_the_host_is_refused() {
	local interface
	interface=$(ls "$pci/$nic/net")
	vm_config 104 <<-END
		hostpci0: ${nic#0000:}
	END
	ip link set "$interface" up
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$nic is in use by the host: network interface $interface is up"
	ip link set "$interface" down
	ip link add test-bridge type bridge
	ip link set "$interface" master test-bridge
	refused_for "$nic" "network interface $interface belongs to a bridge"
	assert_eq "$(json plan 104 | jq -r '.blockers[].code')" held
	ip link del test-bridge
	assert_driver "$nic" e1000e
	assert_exit 0 gpu-ferry plan 104
}

# What Proxmox itself has promised to another VM, whether or not that has our hookscript.
test_card_that_another_vm_has_reserved_is_refused() {
	local file=/run/qemu-server/pci-id-reservations
	vm_with_card 104 "$short1"
	echo "$card1.0 105 time:$(($(date +%s) + 300))" >$file
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$card1.0 is reserved by VM 105"
	assert_eq "$(json plan 104 | jq -r '.blockers[].code')" reserved
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	say "that is over, or our own"
	echo "$card1.0 105 time:$(($(date +%s) - 1))" >$file
	assert_exit 0 gpu-ferry plan 104
	echo "$card1.0 104 time:$(($(date +%s) + 300))" >$file
	assert_exit 0 gpu-ferry plan 104
}
