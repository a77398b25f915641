# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The return goes by what was recorded when the card left, whatever the files say by now.

lend() {
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
}

returns_all() {
	stop 104
	assert_card_home "$card1"
	assert_card_home "$card2"
	assert_eq "$(loans)" '' "loans after"
}

test_hostpci_taken_out_while_running() {
	lend
	vm_config 104 <<-END
		machine: q35
	END
	returns_all
}

test_other_card_named_while_running() {
	lend
	vm_with_card 104 "$short2"
	returns_all
}

test_config_of_another_kind_while_running() {
	lend
	printf '\377\376 no text\n' | cat - /etc/pve/qemu-server/104.conf >"$scratch/conf"
	cp "$scratch/conf" /etc/pve/qemu-server/104.conf
	returns_all
}

# `qm destroy` of a stopped VM: its post-stop, run late, finds no config.
test_config_gone_at_post_stop() {
	lend
	task kill 104 --no-post-stop
	rm /etc/pve/qemu-server/104.conf
	assert_exit 0 "$hook" 104 post-stop
	assert_card_home "$card1"
}

test_settings_broken_while_running() {
	lend
	echo 'windows = { this is no setting' >"$settings"
	returns_all
}

test_settings_gone_while_running() {
	lend
	rm "$settings"
	returns_all
}

test_settings_unsafe_while_running() {
	lend
	chmod 0666 "$settings"
	returns_all
}

test_mappings_gone_while_running() {
	mapping gpu "$card1" "$card2"
	vm_config 104 <<-END
		machine: q35
		hostpci0: mapping=gpu,pcie=1
	END
	start 104 --holder
	rm /etc/pve/mapping/pci.cfg
	returns_all
}
