# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Power and reset as the settings say, and as they were; a card that answers no more; ids of vfio-pci.

power_of() {
	echo "$(cat "$pci/$1/power/control") $(cat "$pci/$1/d3cold_allowed") $(cat "$pci/$1/reset_method" 2>/dev/null)"
}

test_power_settings_hold_while_lent_and_are_put_back() {
	local before
	vm_with_card 104 "$short1"
	# as powertop and its like do it
	echo auto >"$pci/$card1.0/power/control"
	echo auto >"$pci/$card1.1/power/control"
	before=$(power_of "$card1.0")
	assert_match "$before" '^auto 0'
	echo "devices = ( { address = \"$card1.0\"; power_control = \"on\"; d3cold_allowed = true; } );" >"$settings"
	start 104 --holder
	assert_match "$(power_of "$card1.0")" '^on 1' "while it is lent"
	assert_eq "$(cat "$pci/$card1.2/d3cold_allowed")" 0 "another function's"
	stop 104
	assert_eq "$(power_of "$card1.0")" "$before"
	assert_eq "$(cat "$pci/$card1.1/power/control")" auto "what nobody set, and vfio-pci loses"
	say "put back after a start that failed, too"
	modprobe probefail
	assert_exit 1 gpu-ferry bind "$short1" --driver probefail
	rmmod probefail
	assert_eq "$(power_of "$card1.0")" "$before"
	: >"$settings"
	assert_card_home "$card1"
	echo on >"$pci/$card1.0/power/control"
	echo on >"$pci/$card1.1/power/control"
}

test_reset_method_holds_while_lent_and_is_put_back() {
	assert_eq "$(cat "$pci/$nvme/reset_method")" flr "what the test needs"
	say "none at all"
	echo "devices = ( { address = \"$nvme\"; reset_method = \"\"; } );" >"$settings"
	assert_exit 0 gpu-ferry bind "$nvme"
	assert_eq "$(cat "$pci/$nvme/reset_method")" '' "while it is lent"
	: >"$settings"
	assert_exit 0 gpu-ferry unbind "$nvme"
	assert_eq "$(cat "$pci/$nvme/reset_method")" flr "after the return"
	say "one that the device does not offer: nothing is changed"
	echo "devices = ( { address = \"$nvme\"; d3cold_allowed = false; reset_method = \"bus\"; } );" >"$settings"
	assert_exit 1 gpu-ferry bind "$nvme"
	assert_match "$err" "write 'bus' to /sys/bus/pci/devices/$nvme/reset_method"
	assert_eq "$(power_of "$nvme")" 'on 1 flr'
	assert_driver "$nvme" nvme
	assert_eq "$(loans)" '' "loans after"
	say "a file that the device does not have"
	echo "devices = ( { address = \"$card1.2\"; reset_method = \"bus\"; } );" >"$settings"
	[ ! -e "$pci/$card1.2/reset_method" ] || fail "this test tests nothing"
	assert_exit 1 gpu-ferry bind "$short1"
	assert_match "$err" "reset_method of $card1.2, which the device does not have"
	assert_card_home "$card1"
}

# All that the kernel keeps of a card is made anew, its power and reset among that.
card_found_again() {
	local n
	for n in 0 1 2; do
		echo 1 >"$pci/$1.$n/remove"
	done
	echo 1 >/sys/bus/pci/rescan
	vga_hide
	udevadm settle
	state_wait_settled
	assert_eq "$(readlink "$pci/$1.2/iommu_group")" "$(readlink "$pci/$1.0/iommu_group")" "the card's group"
}

# Function 0 had "bus" before the others were found; since then the kernel takes it no more.
test_reset_method_that_is_offered_no_more_is_owed_to_nobody() {
	assert_eq "$(cat "$pci/$card1.0/reset_method")" bus "what the test needs"
	vm_with_card 104 "$short1"
	echo "devices = ( { address = \"$card1.0\"; reset_method = \"\"; } );" >"$settings"
	start 104 --holder
	assert_eq "$(cat "$pci/$card1.0/reset_method")" ''
	stop 104
	assert_match "$(task_log 104)" "$card1.0: the kernel no longer accepts 'bus' as its reset_method: it has '' until"
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	card_found_again "$card1"
	assert_eq "$(cat "$pci/$card1.0/reset_method")" bus
}

# With another bus number behind the port nothing answers any more: configuration space reads ff.
test_card_that_fell_off_the_bus_is_told() {
	local port
	port=$(basename "$(dirname "$(readlink -f "$pci/$card1.0")")")
	vm_with_card 104 "$short1"
	setpci -s "$port" SECONDARY_BUS=0x80
	assert_exit 1 gpu-ferry plan 104 --output-format json
	assert_eq "$(jq -r '.blockers | map(.code) | unique | join(" ")' <<<"$out")" dead
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "$card1.0 does not answer \(its configuration space reads ff\)"
	setpci -s "$port" SECONDARY_BUS=0x01
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans after"
	say "while it is lent"
	start 104 --holder
	setpci -s "$port" SECONDARY_BUS=0x80
	task stop 104 || true
	setpci -s "$port" SECONDARY_BUS=0x01
	assert_match "$(task_log 104)" "$card1.0 came back, but does not answer \(its configuration space reads ff\): it fell off the bus"
	gpu-ferry reconcile || true
	card_found_again "$card1"
	assert_exit 0 gpu-ferry reconcile
	assert_eq "$(loans)" '' "loans after"
	assert_card_home "$card1"
}

id_of() { # FUNCTION: "1234 1111", as new_id and remove_id take it
	echo "$(sed s/0x// "$pci/$1/vendor") $(sed s/0x// "$pci/$1/device")"
}

# Proxmox's own bind of a card that it chose and we did not.
proxmox_binds() {
	local n
	for n in 0 1 2; do
		id_of "$1.$n" >/sys/bus/pci/drivers/vfio-pci/new_id || true
		[ "$(driver_of "$1.$n")" = none ] || echo "$1.$n" >"$pci/$1.$n/driver/unbind"
		[ "$(driver_of "$1.$n")" = vfio-pci ] || echo "$1.$n" >/sys/bus/pci/drivers/vfio-pci/bind
	done
}

has_id() {
	# removing what is there succeeds
	id_of "$1" 2>/dev/null >/sys/bus/pci/drivers/vfio-pci/remove_id
}

# Proxmox's bind adds ids to vfio-pci, which the return removes: but not those that the boot set-up
# gave it, by a file of modprobe.d or on the kernel command line.
ids_of_the_boot_stay() {
	mapping gpus "$card1" "$card2"
	vm_config 104 <<-END
		machine: q35
		hostpci0: mapping=gpus,pcie=1
	END
	# a VM that starts is not gone: the watch leaves it alone
	exec 8>>/var/lock/qemu-server/lock-104.conf
	flock 8
	"$hook" 104 pre-start 8>&-
	assert_card_lent "$card1"
	say "Proxmox takes the other one"
	proxmox_binds "$card2"
	"$hook" 104 post-stop 8>&-
	exec 8>&-
	assert_card_home "$card1"
	assert_card_home "$card2"
	has_id "$card2.0" || fail "the boot's id is gone"
	! has_id "$card2.1" || fail "Proxmox's id was left behind"
	! has_id "$card2.2" || fail "Proxmox's id was left behind"
	modprobe -r vfio-pci
}

test_ids_that_modprobe_gave_vfio_pci_stay() {
	vfio_unload
	echo "options vfio-pci ids=10de:ffff,$(id_of "$card2.0" | tr ' ' :)" >/etc/modprobe.d/test-ids.conf
	modprobe vfio-pci
	ids_of_the_boot_stay
}

test_ids_of_the_kernel_command_line_stay() {
	vfio_unload
	{
		tr -d '\n' </proc/cmdline
		echo " vfio-pci.ids=$(id_of "$card2.0" | tr ' ' :)"
	} >"$scratch/cmdline"
	mount --bind "$scratch/cmdline" /proc/cmdline
	modprobe vfio-pci
	ids_of_the_boot_stay
	umount /proc/cmdline
}
