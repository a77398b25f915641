# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The host's own screen: lent when nobody uses it, and back afterwards.

# The framebuffer that the first text console is shown on (FBIOGET_CON2FBMAP), as a PCI address.
console_display() {
	local number
	number=$(perl -e '
		for my $node (glob("/dev/fb*")) {
			open(my $file, "<", $node) or next;
			my $map = pack("LL", 1, 0);
			ioctl($file, 0x460F, $map) or next;
			print +(unpack("LL", $map))[1];
			last;
		}')
	basename "$(dirname "$(dirname "$(readlink -f "/sys/class/graphics/fb$number")")")"
}

# Puts all text consoles on a function's framebuffer (FBIOPUT_CON2FBMAP), where they are after a boot. A
# display that comes later has them on Linux 6.12, but not on 7.3.
console_show() { # FUNCTION
	perl -e '
		my ($node) = glob("$ARGV[0]/graphics/fb*");
		my ($number) = $node =~ /(\d+)$/;
		open(my $file, "+<", "/dev/fb$number") or die "$!\n";
		ioctl($file, 0x4610, pack("LL", $_, $number)) or die "console $_: $!\n" for 1 .. 63;
	' "$pci/$1"
}

# Is the text console on the framebuffers at all?
console_is_shown() {
	local console
	for console in /sys/class/vtconsole/*; do
		if grep -q 'frame buffer' "$console/name"; then
			[ "$(cat "$console/bind")" = 1 ]
			return
		fi
	done
	return 1
}

test_boot_display_is_lent_and_has_its_console_back() {
	vga_show
	vm_config 104 <<-END
		hostpci0: ${vga#0000:}
	END
	assert_eq "$(cat "$pci/$vga/boot_vga")" 1
	console_show "$vga"
	assert_eq "$(console_display)" "$vga" "the console's display before"
	say "a session on it is a holder like any other"
	sleep 60 9<"/dev/dri/$(basename "$pci/$vga"/drm/card*)" &
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" "in use by sleep \(PID $!"
	kill $!
	wait $! || true
	assert_driver "$vga" bochs-drm
	say "on wish it stays here"
	echo 'boot_display = "refuse";' >"$settings"
	assert_exit 1 "$hook" 104 pre-start
	assert_match "$err" 'display that this host booted with'
	: >"$settings"
	say "lent"
	assert_exit 0 gpu-ferry plan 104
	assert_match "$out" "$vga is the display that this host booted with"
	start 104 --holder
	assert_match "$(task_log 104)" "NOTICE: $vga is the display that this host booted with"
	assert_driver "$vga" vfio-pci
	stop 104
	assert_driver "$vga" bochs-drm
	console_is_shown || fail "the text console did not come back"
	assert_eq "$(console_display)" "$vga" "the console's display after"
	vga_hide
}

test_firmware_framebuffer_leaves_with_the_card_and_comes_back() {
	echo "$card1.0" >"$pci/$card1.0/driver/unbind"
	modprobe bootfb "address=$card1.0"
	grep -q simple /proc/fb || fail "this test tests nothing: $(cat /proc/fb)"
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_match "$(task_log 104)" 'unbind simple-framebuffer.0 from simple-framebuffer'
	! grep simple /proc/fb || fail "the framebuffer is still on the card"
	assert_card_lent "$card1"
	stop 104
	assert_match "$(task_log 104)" 'bind simple-framebuffer.0 to simple-framebuffer'
	grep -q simple /proc/fb || fail "the framebuffer did not come back: $(cat /proc/fb)"
	assert_driver "$card1.0" none
	rmmod bootfb
	echo "$card1.0" >/sys/bus/pci/drivers_probe
	assert_card_home "$card1"
}
