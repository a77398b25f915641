# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The hookscript on its own: what it is called with, and what it finds.

test_snippet_is_what_proxmox_accepts() {
	[ -L "$hook" ] || fail "no symlink"
	[ -f "$hook" ] || fail "no file behind the link"
	[ -x "$hook" ] || fail "not executable"
}

usage_error() {
	assert_exit 2 "$hook" "$@"
	assert_one_line "$err"
	assert_eq "$out" '' stdout
}

test_wrong_arguments_are_usage_errors() {
	usage_error
	usage_error 104
	usage_error 104 pre-start more
	for vmid in '' 0 1 99 099 0104 abc 104x ' 104' -104 1234567890 ../104 "104
"; do
		usage_error "$vmid" pre-start
	done
	for phase in '' prestart pre-start- PRE-START stop 'pre-start '; do
		usage_error 104 "$phase"
	done
}

config_error() {
	assert_exit 1 timeout 20 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_card_home "$card1"
}

test_config_that_is_not_there() {
	config_error
	# Nothing was lent: there is nothing to fail.
	assert_exit 0 "$hook" 104 post-stop
}

test_refusal_is_in_the_journal_too() {
	vm_with_card 104 99:00
	config_error
	journalctl --sync
	assert_eq "$(journalctl -q -o cat -t gpu-ferry -n 1)" "$(sed -n '$s/^gpu-ferry: //p' <<<"$err")" "the journal's last line"
}

test_config_that_is_no_file() {
	local path=/etc/pve/nodes/pve/qemu-server/104.conf
	mkdir "$path"
	config_error
	rmdir "$path"
	mkfifo "$path"
	config_error
	rm "$path"
	ln -s /dev/zero "$path"
	config_error
	rm "$path"
}

test_config_of_ten_megabytes() {
	{
		echo "hostpci0: $short1"
		head -c 10485760 /dev/zero | tr '\0' x
	} >/etc/pve/qemu-server/104.conf
	config_error
}

test_config_of_bytes_that_are_no_text() {
	{
		echo "hostpci0: $short1"
		head -c 4096 /dev/urandom
		printf '\0\0\0'
	} >/etc/pve/qemu-server/104.conf
	config_error
}

test_no_hostpci_is_no_business_of_ours() {
	vm_config 104 <<-END
		machine: q35
		[snapshot]
		hostpci0: $short1
	END
	# Not even broken settings matter.
	echo 'broken = {' >"$settings"
	local phase
	for phase in pre-start post-start pre-stop post-stop; do
		assert_exit 0 "$hook" 104 $phase
		assert_eq "$out$err" '' output
	done
	assert_card_home "$card1"
}

test_template_is_left_alone() {
	vm_config 104 <<-END
		template: 1
		hostpci0: $short1
	END
	assert_exit 0 "$hook" 104 pre-start
	assert_card_home "$card1"
}

test_mediated_devices_are_left_alone() {
	vm_config 104 <<-END
		hostpci0: $short1.0,mdev=nvidia-47
	END
	assert_exit 0 "$hook" 104 pre-start
	assert_card_home "$card1"
}

test_broken_settings_stop_a_start() {
	vm_with_card 104 "$short1"
	printf 'ok_so_far = 1;\nbroken = {\n' >"$settings"
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$settings:[0-9]+"
	assert_card_home "$card1"
}

test_settings_that_others_may_write_stop_a_start() {
	vm_with_card 104 "$short1"
	chmod 0666 "$settings"
	assert_exit 1 "$hook" 104 pre-start
	assert_one_line "$err"
	assert_match "$err" "$settings"
	assert_card_home "$card1"
}

test_second_pre_start_bounces_nothing() {
	vm_with_card 104 "$short1"
	start 104 --holder
	local before
	before=$(json status | jq -cS '.loans[0].functions')
	local marker
	marker=$(dmesg | wc -l)
	assert_exit 0 "$hook" 104 pre-start
	assert_card_lent "$card1"
	assert_eq "$(json status | jq -cS '.loans[0].functions')" "$before" "the loan"
	! dmesg | tail -n "+$((marker + 1))" | grep "$card1" || fail "the card was touched"
	stop 104
	assert_card_home "$card1"
}

test_second_post_stop_is_no_harm() {
	vm_with_card 104 "$short1"
	start 104 --holder
	stop 104
	assert_exit 0 "$hook" 104 post-stop
	assert_card_home "$card1"
}

# What is left behind with the task's pipes open would block the VM's task, and its lock.
test_nothing_is_left_behind_by_the_hook() {
	vm_with_card 104 "$short1"
	task start 104 --holder
	! pgrep -a hookscript || fail "a hookscript is still there"
	! pgrep -fa 'gpu-ferry hook' || fail "a hook is still there"
	stop 104
}

# Which way the hook is called on a node that was never prepared: /run/gpu-ferry does not exist.
test_works_without_run_folder() {
	rm -rf /run/gpu-ferry
	vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
}

# What a traced program did to files, one line each: read, write, run or connect, and the path. Paths
# below a folder that it has open are whole, those of its own temporary files end with ".new".
touched() { # FILE of strace -f -y
	sed -nE '
		/ = -1 /d
		s/^[0-9]+ +//
		s/^execve\("([^"]*)".*/run \1/p
		s/^(connect|sendto)\(.*sun_path="([^"]*)".*/connect \2/p
		s/^openat2?\([^"<]*(<([^>]*)>)?, "([^"]*)", (\{flags=)?([A-Z_|0-9]*).*/open \2 \3 \5/p
		s/^(mkdirat|unlinkat|utimensat|mknodat|fchmodat|fchownat)\([^"<]*(<([^>]*)>)?, "([^"]*)".*/open \3 \4 O_WRONLY/p
		s/^(mkdir|rmdir|unlink|mknod|chmod|chown|truncate)\("([^"]*)".*/open  \2 O_WRONLY/p
		s/^(renameat2?|linkat|symlinkat)\(.*<([^>]*)>, "([^"]*)".*/open \2 \3 O_WRONLY/p
	' "$1" | awk -F' ' '
		$1 != "open" { print; next }
		{
			folder = NF == 4 ? $2 : ""; path = NF == 4 ? $3 : $2; flags = $NF
			if (path !~ /^\//) path = (folder == "/" ? "" : folder) "/" path
			sub(/\/\.$/, "", path)
			if (path == "") path = "/"
			print (flags ~ /O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)/ ? "write" : "read"), path
		}' | sort -u
}

# The lists of SECURITY in gpu-ferry(8): kind and pattern.
listed() {
	zcat /usr/share/man/man8/gpu-ferry.8.gz | sed -nE '
		/^\.\\" touches: /{ s///; h }
		/^\.El/{ s/.*//; h }
		/^\.Pa /{ s///; G; s/(.*)\n(.+)/\2 \1/p }'
}

test_the_hook_touches_only_what_the_manual_lists() {
	local kind path pattern unknown='' rest
	cat >/var/lib/vz/snippets/test-traced <<-END
		#!/bin/sh
		exec strace -f -y -qq --seccomp-bpf -s 4096 -o $scratch/touched.\$2 -e trace=%file,connect,sendto $hook "\$@"
	END
	chmod +x /var/lib/vz/snippets/test-traced
	hookscript=test-traced vm_with_card 104 "$short1"
	start 104 --holder
	assert_card_lent "$card1"
	stop 104
	assert_card_home "$card1"
	listed >"$scratch/listed"
	cat "$scratch"/touched.* >"$scratch/all"
	while read -r kind path; do
		while read -r rest pattern; do
			# shellcheck disable=SC2053
			[[ $rest != "$kind" || $path != $pattern ]] || continue 2
		done <"$scratch/listed"
		unknown+="$kind $path"$'\n'
	done < <(touched "$scratch/all")
	assert_eq "$unknown" '' "what SECURITY in gpu-ferry(8) does not list"
	for kind in read write run connect; do
		grep -q "^$kind " "$scratch/listed" || fail "SECURITY has no list of '$kind'"
	done
}
