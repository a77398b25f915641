# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Nobody else's disk, nobody else's keyboard.

refused_for() {
	assert_exit 1 gpu-ferry bind "$1"
	assert_match "$err" "$1 is in use by the host: $2"
	assert_eq "$(loans)" '' "loans after"
}

test_disks_and_keyboards_of_the_host_are_refused() {
	local disk pid
	disk=$(basename "$(readlink -f /sys/block/vda/../../..)")
	[ -e "$pci/$disk" ] || disk=$(basename "$(readlink -f /sys/block/vda/device/..)")
	say "the root disk, virtio"
	refused_for "$disk" 'disk vda is mounted'
	say "a keyboard"
	refused_for "$usb_host" 'keyboard "QEMU QEMU USB Keyboard" is plugged into it'
	assert_match "$(json list --all | jq -r ".[] | select(.address == \"$usb_host\").host_use")" '^keyboard'
	say "an NVMe disk: mounted, and mounted where we do not see it"
	mkdir -p "$scratch/mnt"
	mount -o ro /dev/nvme0n1 "$scratch/mnt"
	refused_for "$nvme" 'disk nvme0n1 is mounted'
	umount "$scratch/mnt"
	unshare -m sh -c "mount -o ro /dev/nvme0n1 '$scratch/mnt' && echo in >'$scratch/in' && exec sleep 60" &
	pid=$!
	for _ in {1..50}; do
		[ ! -e "$scratch/in" ] || break
		sleep 0.1
	done
	refused_for "$nvme" 'disk nvme0n1 is in use by the kernel \(ext4\)'
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
