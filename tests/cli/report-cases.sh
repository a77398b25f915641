# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Fault reports: what is in them, what is not, and that they replay. Sourced by run.

# Writes a report of the tree and unpacks it into $work/report/gpu-ferry-report.
unpack_report() {
	rm -rf "$work/report"
	mkdir "$work/report"
	"$work/bin/gpu-ferry" report --root "$tree" "$work/report/a.tar.gz" >/dev/null &&
		tar -C "$work/report" -xf "$work/report/a.tar.gz"
}

# What the commands that look say of a tree; the names that a report leaves out are made alike.
look_at() { # TREE
	local vmid
	{
		"$work/bin/gpu-ferry" list --all --root "$1"
		"$work/bin/gpu-ferry" status --root "$1"
		"$work/bin/gpu-ferry" doctor -v --root "$1"
		"$work/bin/gpu-ferry" doctor -v 104 --root "$1"
		for vmid in 104 105 106; do
			"$work/bin/gpu-ferry" plan "$vmid" --root "$1"
		done
	} 2>&1 | sed "s|$1|ROOT|g; s/\bpve\([0-9]\)\b/node\1/g"
}

# The same over the tree and over its report.
replays() { # NAME
	unpack_report || echo "$1: no report"
	# a report has no names of devices: they are the reader's
	rm "$tree/usr/share/misc/pci.ids"
	look_at "$tree" >"$work/before"
	look_at "$work/report/gpu-ferry-report" >"$work/after"
	if [ "$(wc -l <"$work/before")" -lt 40 ]; then
		echo "$1: the commands said next to nothing"
	elif diff -u0 "$work/before" "$work/after" >"$work/difference"; then
		echo "$1: the same"
	else
		echo "$1:"
		tail -n +3 "$work/difference"
	fi
}

case_report_replays() {
	local machine
	for machine in $(declare -F | sed -n 's/^declare -f case_machine_//p'); do
		tree=$work/trees/$machine
		mkdir -p "$tree"
		(
			# only the machine
			# shellcheck disable=SC2317
			ferry() { :; }
			"case_machine_$machine"
			config 105 "machine: q35" "ostype: l26" "scsi0: local-lvm:vm-105-disk-0"
		) >/dev/null 2>&1
		replays "$machine"
		rm -rf "${tree:?}"
	done
}

# A host with something private in each of its files: each has "secret" in it, or one of $private_numbers.
private_numbers='5e:c2:e7:51:52:53|5ec2e7515253|5ec2e751-0001-0002-0003-5ec2e7515253|198[.]51[.]100|5EC2-E751'

plant() {
	local node=etc/pve/nodes/pve1 path
	amd_workstation
	by_the_guide
	sed -i 's/^name: .*/name: secret-vm/' "$tree/$node/qemu-server/104.conf"
	sed -i 's/^args: .*/args: -smbios type=1,serial=secret-serial -cpu "host,kvm=off" -object secret,id=a -device vfio-pci,host=01:00.0/' \
		"$tree/$node/qemu-server/104.conf"
	sed -i 's/Win10_22H2/secret-disc_Win10_22H2/; s/vm-104-disk-0/vm-104-secret-disk/' "$tree/$node/qemu-server/104.conf"
	{
		echo "#secret description"
		echo "cipassword: secret"
		echo "sshkeys: ssh-ed25519%20secret"
		echo "smbios1: uuid=5ec2e751-0001-0002-0003-5ec2e7515253,serial=secret"
		echo "net1: virtio=5e:c2:e7:51:52:53,bridge=vmbr0"
		echo "tags: secret"
		echo "lock: backup"
		echo "[secret-snapshot]"
		echo "hostpci0: 0000:2b:00"
		echo "description: secret"
	} >>"$tree/$node/qemu-server/104.conf"
	write "$node/lxc/200.conf" "hostname: secret-container" "dev0: /dev/dri/renderD128" \
		"lxc.mount.entry: /srv/secret srv none bind" "lxc.mount.entry: /dev/dri dev/dri none bind" \
		"lxc.environment: secret" "net0: name=eth0,hwaddr=5e:c2:e7:51:52:53"
	write etc/pve/nodes/secret-node/qemu-server/300.conf "name: secret"
	write etc/hostname secret-node.secret.example
	rm "$tree/etc/pve/local" "$tree/etc/pve/lxc" "$tree/etc/pve/qemu-server"
	mv "$tree/etc/pve/nodes/pve1" "$tree/etc/pve/nodes/secret-own-node"
	link etc/pve/local nodes/secret-own-node
	link etc/pve/qemu-server nodes/secret-own-node/qemu-server
	link etc/pve/lxc nodes/secret-own-node/lxc
	write etc/pve/mapping/pci.cfg gpu $'\tdescription secret' \
		$'\tmap id=10de:2704,node=secret-own-node,path=0000:2b:00,description=secret' ""
	write etc/pve/storage.cfg "dir: local" $'\tpath /var/lib/vz' $'\tcontent snippets,iso' \
		$'\tnodes secret-own-node,secret-node' "" "cifs: share" $'\tserver 198.51.100.7' \
		$'\tusername secret' $'\tpath /mnt/pve/share' "" "# secret"
	write etc/pve/priv/storage/share.pw secret
	write etc/pve/user.cfg "user:secret@pam:1:0"
	running_command_line "amd_iommu=on root=UUID=5ec2e751-0001-0002-0003-5ec2e7515253 luks.key=secret" \
		'dyndbg="secret +p" nouveau.modeset=0 ip=198.51.100.7'
	write etc/default/grub "# secret" "GRUB_TIMEOUT=5" 'export SECRET=secret' \
		'GRUB_CMDLINE_LINUX_DEFAULT="quiet luks.key=secret amd_iommu=on"' \
		'GRUB_CMDLINE_LINUX="root=secret iommu=pt"'
	modprobe_file secrets.conf "# secret" "options secret_module key=secret" "install wifi /usr/bin/echo secret" \
		"blacklist nouveau"
	mv "$tree/etc/modprobe.d/secrets.conf" "$tree/etc/modprobe.d/own.conf"
	write etc/modules "# secret" "vfio-pci ids=10de:2704" "wifi key=secret"
	settings "# secret" 'boot_display = "allow"; // secret' '/* secret' 'secret */ busy = "fail";' \
		'stop_units = [ "a#b.service" ]; # secret'
	write etc/kernel/proxmox-boot-uuids 5EC2-E751
	write var/lib/gpu-ferry/attachments/vm-104.json \
		'{"schema":1,"vmid":104,"since":"2026-01-02T03:04:05Z","keys":[{"key":"args","before":"-object secret","after":""},' \
		'{"key":"machine","before":null,"after":"q35"}],"functions":[]}'
	write var/lib/gpu-ferry/manifest.json '{"secret":1}'
	running 104 4242
	write proc/4242/environ secret
	printf '/usr/bin/kvm\0-id\000104\0-name\0secret-vm,debug-threads=on\0-smbios\0type=1,uuid=secret\0' \
		>"$tree/proc/4242/cmdline"
	printf -- '-pidfile\0/var/run/qemu-server/104.pid\0-netdev\0mac=5e:c2:e7:51:52:53\0' >>"$tree/proc/4242/cmdline"
	write proc/1/comm secret
	write proc/net/route $'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask' \
		$'enx5ec2e7515253\t00000000\t076433C6\t0003\t0\t0\t0\t00000000' \
		$'vmbr0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF'
	write proc/77/mountinfo "36 35 8:1 / /srv/secret rw - ext4 /dev/sda1 rw" "37 35 0:50 / /mnt rw - nfs secret:/secret rw"
	link proc/self 77
	write proc/swaps "Filename Type Size Used Priority" "/dev/sda2 partition 1 0 -2" "/srv/secret file 1 0 -3"
	path=$(function_path 0000:29:00.0)
	write "$path/net/enx5ec2e7515253/flags" 0x1003
	write "$path/net/enx5ec2e7515253/address" 5e:c2:e7:51:52:53
	write "$path/serial" secret
	write "$path/uevent" secret
	head -c 4096 /dev/zero | tr '\0' S | sed 's/SSSSSS/secret/g' | sed 's/^.\{64\}/\x86\x80                                                              /' >"$tree/$path/config"
	write sys/class/dmi/id/product_serial secret
	write sys/class/dmi/id/chassis_type 3
	write proc/driver/nvidia/gpus/0000:2b:00.0/information "Model: NVIDIA GeForce" "Device Minor: 	 0" \
		"GPU UUID: GPU-5ec2e751-0001-0002-0003-5ec2e7515253"
	write root/secret secret
}

case_report_leaves_out_what_is_private() {
	local root=$work/report/gpu-ferry-report path
	plant
	rm -rf "$work/report"
	mkdir "$work/report"
	call gpu-ferry report --root "$tree" "$work/report/a.tar.gz" | sed "s|$work|WORK|g"
	stat -c 'mode %a' "$work/report/a.tar.gz"
	tar -C "$work/report" -xf "$work/report/a.tar.gz"
	echo "= what was planted, and is there"
	(cd "$work/report" && grep -rEil "secret|$private_numbers" . ; find . | grep -Ei "secret|$private_numbers")
	tar -tf "$work/report/a.tar.gz" | grep -Ei "secret|$private_numbers"
	echo "= what is there"
	(cd "$root" && find . -type f ! -path './sys/*' ! -path './lib/*' | sort)
	for path in etc/pve/qemu-server/104.conf etc/pve/lxc/200.conf etc/pve/mapping/pci.cfg etc/pve/storage.cfg \
		etc/hostname etc/default/grub etc/modprobe.d/own.conf etc/modules etc/gpu-ferry/gpu-ferry.conf \
		etc/kernel/proxmox-boot-uuids proc/cmdline proc/net/route proc/self/mountinfo proc/swaps \
		proc/driver/nvidia/gpus/0000:2b:00.0/information var/lib/gpu-ferry/attachments/vm-104.json; do
		echo "== $path"
		cat "$root/$path"
	done
	tr '\0' ' ' <"$root/proc/4242/cmdline"
	echo
	stat -c '%s bytes of config space' "$root/$(function_path 0000:29:00.0)/config"
}

case_report_refuses() {
	write report.tar.gz mine
	ferry report "$tree/report.tar.gz"
	cat "$tree/report.tar.gz"
	ferry report "$tree/no-such-folder/a.tar.gz"
	ferry report a b
	ferry report "$tree/a.tar.gz" --output-format json | sed 's/"files":.*quirks.conf"/"files":[…/'
	: "a host without anything"
	rm -rf "${tree:?}"/*
	ferry report "$tree/b.tar.gz"
}
