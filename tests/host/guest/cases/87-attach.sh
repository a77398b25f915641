# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# attach and detach on the real host. A stand-in plays qm: Proxmox's own cannot be had here.

record=/var/lib/gpu-ferry/attachments/vm-104.json
config=/etc/pve/qemu-server/104.conf

qm_install() {
	install -m 0755 /tests/qm /usr/sbin/qm
	trap 'rm -rf "$scratch" /usr/sbin/qm /var/lib/gpu-ferry/attachments /run/test-chain' EXIT
}

# The VM's own hookscript: notes each phase, and who has the card then. It fails where it is told to.
own_hookscript() { # [PHASE-TO-FAIL]
	cat >/var/lib/vz/snippets/test-own <<-SCRIPT
		#!/bin/sh
		driver=\$(readlink $pci/$card1.0/driver)
		echo "\$1 \$2 \${driver##*/}" >>/run/test-chain
		[ "\$2" != "${1:-}" ] || exit 3
	SCRIPT
	chmod 0755 /var/lib/vz/snippets/test-own
	hookscript=test-own vm_config 104 <<-END
		machine: q35
		ostype: l26
	END
}

test_attached_vm_runs_its_own_hookscript_too_with_the_stand_in_qm() {
	qm_install
	own_hookscript
	cp "$config" "$scratch/before"
	assert_exit 0 gpu-ferry attach 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	assert_exit 1 gpu-ferry detach 104
	assert_one_line "$err"
	assert_match "$err" "$card1"
	stop 104
	assert_card_home "$card1"
	assert_eq "$(cat /run/test-chain)" "$(printf '104 %s\n' 'pre-start bochs-drm' \
		'post-start vfio-pci' 'pre-stop vfio-pci' 'post-stop bochs-drm')" "its phases"
	assert_exit 0 gpu-ferry detach 104
	assert_eq "$(sort "$config")" "$(sort "$scratch/before")" "the config"
	[ ! -e "$record" ] || fail "the record is still there"
}

test_own_hookscript_that_refuses_a_start_leaves_the_card_at_home_with_the_stand_in_qm() {
	qm_install
	own_hookscript pre-start
	assert_exit 0 gpu-ferry attach 104 "$short1"
	assert_exit 255 pve-vm start 104 --holder
	assert_match "$out" 'test-own failed: exit code 3'
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans"
}

test_card_that_was_replaced_is_refused_until_attached_again_with_the_stand_in_qm() {
	qm_install
	vm_config 104 <<-END
		machine: q35
	END
	assert_exit 0 gpu-ferry attach 104 "$short1"
	# As if another card's audio function had been there when it was attached.
	jq '(.functions[] | select(.address == $address)).device_id = "ffff"' \
		--arg address "$card1.1" "$record" >"$scratch/record"
	cat "$scratch/record" >"$record"
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$card1.1 is .*:ffff"
	assert_eq "$(json plan 104 | jq -r '.blockers[].code')" identity
	assert_card_home "$card1"
	assert_eq "$(loans)" '' "loans"
	assert_exit 0 gpu-ferry attach 104 "$short1"
	start 104 --holder
	stop 104
	assert_card_home "$card1"
}
